//! Twin of `shaders/knn.wgsl`.

use crate::kernels::edges::Csr;

/// Edges from the `near` nearest nodes of its own graph into each node; graph b's nodes are the first of rows b K .. of positions [B, K, 2], as
/// many as its count says.
pub fn knn(positions: &[f64], counts: &[u32], k: usize, near: usize) -> Csr {
    let mut edges = Vec::new();
    for (b, count) in counts.iter().enumerate() {
        let rows = b * k..b * k + (*count as usize).min(k);
        for i in rows.clone() {
            let distance = |j: usize| {
                let d = [0, 1].map(|axis| positions[2 * j + axis] - positions[2 * i + axis]);
                let squared = d[0] * d[0] + d[1] * d[1];
                if squared.is_nan() { (true, 0.0) } else { (false, squared) }
            };
            let mut others: Vec<usize> = rows.clone().filter(|j| *j != i).collect();
            // Stable: of equals the lower number stays first.
            others.sort_by(|a, b| distance(*a).partial_cmp(&distance(*b)).expect("no NaN is compared"));
            edges.extend(others.iter().take(near).map(|j| [*j as u32, i as u32]));
        }
    }
    let nodes = counts.len() * k;
    Csr::new(nodes, nodes, &edges).expect("numbers in range")
}
