use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::edges::{Csr, End};
use echogrid::kernels::message::{
    AttendBackward, Reduce, attend, attend_backward, backward, edge_sum, edge_sum_backward, forward, gather, gather_backward,
};

/// Edges between nodes drawn at random.
pub fn random_graph(nodes: usize, edges: usize) -> Csr {
    let mut s = 1u64;
    let mut next = || {
        s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((s >> 33) % nodes as u64) as u32
    };
    Csr::new(nodes, nodes, &(0..edges).map(|_| [next(), next()]).collect::<Vec<_>>()).unwrap()
}

pub fn run(e: &Engine) {
    // The case of benches/peers/message_passing.py, whose script reads these lines.
    let (n, m, f) = (100_000, 1_000_000, 128);
    let edges = random_graph(n, m).upload(e).unwrap();
    let (x, y) = (tensor(e, &[n, f]), tensor(e, &[n, f]));
    let winner = e.tensor("winner", &[n, f], DType::U32).unwrap();
    for kind in [Reduce::Sum, Reduce::Mean, Reduce::Max] {
        let w = (kind == Reduce::Max).then_some(&winner);
        time(e, &format!("message {kind:?} {m} edges x {f}"), |p| forward(p, kind, &edges, &x, &y, w));
        time(e, &format!("message {kind:?} backward {m} edges x {f}"), |p| backward(p, kind, &edges, &y, w, &x));
    }
    let w = tensor(e, &[m, 4]);
    time(e, &format!("message attend {m} edges x 4 heads x {}", f / 4), |p| attend(p, &edges, &x, &w, None, &y));

    // A node of every graph takes an edge from all the others: one row of 100,000 edges among rows of 9.
    let star: Vec<[u32; 2]> =
        (0..n as u32).flat_map(|i| (0..10u32).map(move |k| [(i * 7 + k * 13) % n as u32, if k == 0 { 0 } else { i }])).collect();
    let star = Csr::new(n, n, &star).unwrap().upload(e).unwrap();
    time(e, &format!("message Sum {m} edges x {f}, a tenth into one row"), |p| forward(p, Reduce::Sum, &star, &x, &y, None));

    // 64 queries of 20 candidates with 5 neighbours each: 4 heads of 16.
    let (n, m, f) = (64 * 20, 64 * 20 * 5, 64);
    let edges = random_graph(n, m).upload(e).unwrap();
    let (x, dx, y) = (tensor(e, &[n, f]), tensor(e, &[n, f]), tensor(e, &[n, f]));
    let (w, dw, z, dz) = (tensor(e, &[m, 4]), tensor(e, &[m, 4]), tensor(e, &[m, f]), tensor(e, &[m, f]));
    time(e, &format!("message attend {m} edges x 4 heads x 16, z"), |p| attend(p, &edges, &x, &w, Some(&z), &y));
    let io = AttendBackward { x: &x, w: &w, z: Some(&z), dy: &y, dx: Some(&dx), dw: Some(&dw), dz: Some(&dz) };
    time(e, &format!("message attend backward {m} edges x 4 heads x 16, z"), |p| attend_backward(p, &edges, &io));
    let s = tensor(e, &[m, f]);
    time(e, &format!("message edge sum {m} edges x {f}"), |p| edge_sum(p, &edges, &x, &y, &z, 0.2, &s));
    time(e, &format!("message edge sum backward {m} edges x {f}"), |p| edge_sum_backward(p, &edges, &s, &z, 0.2, &dz));
    time(e, &format!("message gather {m} edges x {f}"), |p| gather(p, &edges, End::Source, &x, &z));
    time(e, &format!("message gather backward {m} edges x {f}"), |p| gather_backward(p, &edges, End::Source, &z, &dx));
}
