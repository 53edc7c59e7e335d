use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::peaks::{REFINED, TILE, inverse_norm, refine, select, tiles};

pub fn run(e: &Engine) {
    for (q, side, w) in [(1, 413, 2), (1, 413, 16), (4, 413, 8)] {
        let shape = [q, side, side, w];
        let name = shape.map(|v| v.to_string()).join("x");
        let surface = tensor(e, &shape);
        let norm = e.upload_f32("norm", &shape, &vec![1.0; surface.len()]).unwrap();
        let (scale, out) = (e.upload_f32("scale", &[q], &vec![1.0; q]).unwrap(), tensor(e, &shape));
        let t = side.div_ceil(TILE);
        let (best, sums) = (tensor(e, &[q, w, t, t]), tensor(e, &[q, w, 3]));
        let position = e.tensor("position", &[q, w, t, t], DType::U32).unwrap();
        time(e, &format!("peaks inverse norm {name}"), |p| inverse_norm(p, &norm, &norm, &scale, 0.5, 1e-4, &out));
        time(e, &format!("peaks tiles {name}"), |p| tiles(p, &surface, &norm, &scale, &best, &position, &sums));
        for k in [1, 16] {
            let (score, fine) = (tensor(e, &[q, w, k]), tensor(e, &[q, w, k, REFINED]));
            let place = e.tensor("place", &[q, w, k], DType::U32).unwrap();
            time(e, &format!("peaks select {k} {name}"), |p| select(p, &best, &position, side, 10, &score, &place));
            time(e, &format!("peaks refine {k} {name}"), |p| refine(p, &surface, &norm, &scale, &place, &fine));
        }
    }
}
