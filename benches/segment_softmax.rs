use super::common::Bench;
use super::message::random_graph;
use crate::Result;
use crate::kernels::segment_softmax::{backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, m, heads) in [(100_000, 1_000_000, 4), (64 * 20, 64 * 20 * 5, 4)] {
        let edges = random_graph(n, m)?.upload(bench.engine)?;
        let (s, w, ds) = (bench.tensor(&[m, heads])?, bench.tensor(&[m, heads])?, bench.tensor(&[m, heads])?);
        bench.time(&format!("segment softmax {m} edges x {heads}"), |p| forward(p, &edges, &s, &w))?;
        bench.time(&format!("segment softmax backward {m} edges x {heads}"), |p| backward(p, &edges, &w, &s, &ds))?;
    }
    Ok(())
}
