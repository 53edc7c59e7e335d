use crate::common::{tensor, time};
use crate::message::random_graph;
use echogrid::gpu::Engine;
use echogrid::kernels::segment_softmax::{backward, forward};

pub fn run(e: &Engine) {
    for (n, m, heads) in [(100_000, 1_000_000, 4), (64 * 20, 64 * 20 * 5, 4)] {
        let edges = random_graph(n, m).upload(e).unwrap();
        let (s, w, ds) = (tensor(e, &[m, heads]), tensor(e, &[m, heads]), tensor(e, &[m, heads]));
        time(e, &format!("segment softmax {m} edges x {heads}"), |p| forward(p, &edges, &s, &w));
        time(e, &format!("segment softmax backward {m} edges x {heads}"), |p| backward(p, &edges, &w, &s, &ds));
    }
}
