//! Twin of `shaders/suppress.wgsl`.

/// Keeps the greatest score of each group in each row of n, the first of equals; the others become -infinity.
pub fn suppress(starts: &[usize], scores: &mut [f32], n: usize) {
    for row in scores.chunks_mut(n) {
        for g in starts.windows(2) {
            let group = &mut row[g[0]..g[1]];
            let mut best = 0;
            for i in 1..group.len() {
                if group[i] > group[best] {
                    best = i;
                }
            }
            group.iter_mut().enumerate().filter(|(i, _)| *i != best).for_each(|(_, v)| *v = f32::NEG_INFINITY);
        }
    }
}
