use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::edges::Edges;
use echogrid::kernels::knn::knn;

pub fn run(e: &Engine) {
    for (batch, k, near) in [(64, 20, 5), (64, 256, 5), (1, 4096, 5), (1, 4096, 20)] {
        let nodes = batch * k;
        let (positions, delta) = (tensor(e, &[batch, k, 2]), tensor(e, &[nodes * near, 2]));
        let places: Vec<f32> = (0..nodes * 2).map(|i| (i as u32).wrapping_mul(2_654_435_761) as f32 / 1e6).collect();
        e.write(&positions, &places).unwrap();
        let counts = e.upload("counts", &[batch], DType::U32, &vec![k as u32; batch]).unwrap();
        let edges = Edges::new(e, nodes, nodes, nodes * near).unwrap();
        time(e, &format!("knn {batch} graphs x {k} nodes, {near} nearest"), |p| knn(p, &positions, &counts, near, &edges, &delta));
    }
}
