use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::edges::{Csr, End};
use crate::kernels::message::{
    AttendBackward, Reduce, attend, attend_backward, backward, edge_sum, edge_sum_backward, forward, gather, gather_backward,
};
use crate::random::splitmix;

/// Edges between nodes drawn at random.
pub fn random_graph(nodes: usize, edges: usize) -> Result<Csr> {
    let node = |i: usize| (splitmix(i as u64) % nodes as u64) as u32;
    let pairs: Vec<_> = (0..edges).map(|i| [node(2 * i), node(2 * i + 1)]).collect();
    Ok(Csr::new(nodes, nodes, &pairs)?)
}

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    // The case of benches/peers/message_passing.py, whose script reads these lines.
    let (n, m, f) = (100_000, 1_000_000, 128);
    let edges = random_graph(n, m)?.upload(bench.engine)?;
    let (x, y) = (bench.tensor(&[n, f])?, bench.tensor(&[n, f])?);
    let winner = bench.engine.tensor("winner", &[n, f], DType::U32)?;
    for kind in [Reduce::Sum, Reduce::Mean, Reduce::Max] {
        let w = (kind == Reduce::Max).then_some(&winner);
        bench.time(&format!("message {kind:?} {m} edges x {f}"), |p| forward(p, kind, &edges, &x, &y, w))?;
        bench.time(&format!("message {kind:?} backward {m} edges x {f}"), |p| backward(p, kind, &edges, &y, w, &x))?;
    }
    let w = bench.tensor(&[m, 4])?;
    bench.time(&format!("message attend {m} edges x 4 heads x {}", f / 4), |p| attend(p, &edges, &x, &w, None, &y))?;

    // A node of every graph takes an edge from all the others: one row of 100,000 edges among rows of 9.
    let star: Vec<[u32; 2]> =
        (0..n as u32).flat_map(|i| (0..10u32).map(move |k| [(i * 7 + k * 13) % n as u32, if k == 0 { 0 } else { i }])).collect();
    let star = Csr::new(n, n, &star)?.upload(bench.engine)?;
    bench.time(&format!("message Sum {m} edges x {f}, a tenth into one row"), |p| forward(p, Reduce::Sum, &star, &x, &y, None))?;

    // 64 queries of 20 candidates with 5 neighbours each: 4 heads of 16.
    let (n, m, f) = (64 * 20, 64 * 20 * 5, 64);
    let edges = random_graph(n, m)?.upload(bench.engine)?;
    let (x, dx, y) = (bench.tensor(&[n, f])?, bench.tensor(&[n, f])?, bench.tensor(&[n, f])?);
    let (w, dw, z, dz) = (bench.tensor(&[m, 4])?, bench.tensor(&[m, 4])?, bench.tensor(&[m, f])?, bench.tensor(&[m, f])?);
    bench.time(&format!("message attend {m} edges x 4 heads x 16, z"), |p| attend(p, &edges, &x, &w, Some(&z), &y))?;
    let io = AttendBackward { x: &x, w: &w, z: Some(&z), dy: &y, dx: Some(&dx), dw: Some(&dw), dz: Some(&dz) };
    bench.time(&format!("message attend backward {m} edges x 4 heads x 16, z"), |p| attend_backward(p, &edges, &io))?;
    let s = bench.tensor(&[m, f])?;
    bench.time(&format!("message edge sum {m} edges x {f}"), |p| edge_sum(p, &edges, &x, &y, &z, 0.2, &s))?;
    bench.time(&format!("message edge sum backward {m} edges x {f}"), |p| edge_sum_backward(p, &edges, &s, &z, 0.2, &dz))?;
    bench.time(&format!("message gather {m} edges x {f}"), |p| gather(p, &edges, End::Source, &x, &z))?;
    bench.time(&format!("message gather backward {m} edges x {f}"), |p| gather_backward(p, &edges, End::Source, &z, &dx))?;
    Ok(())
}
