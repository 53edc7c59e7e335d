//! Twin of `shaders/peaks.wgsl`.

use crate::kernels::peaks::{NONE, NOWHERE, TILE};

/// 1 / sqrt(energy) where enough is valid, else 0.
pub fn inverse_norm(energy: &[f64], valid: &[f64], count: &[f64], min_share: f32, min_energy: f32) -> Vec<f64> {
    let per = energy.len() / count.len();
    let one = |i: usize| {
        let (e, n) = (energy[i], valid[i]);
        let enough = n >= (f64::from(min_share) * count[i / per]).max(0.5) && e > (f64::from(min_energy) * n).max(1e-30);
        if enough { 1.0 / e.sqrt() } else { 0.0 }
    };
    (0..energy.len()).map(one).collect()
}

/// Scores, `None` where not valid. `shape` is [Q, V, U, W]; a shorter norm serves all queries.
pub fn scores(surface: &[f64], norm: &[f64], scale: &[f64], [_, v, u, w]: [usize; 4]) -> Vec<Option<f64>> {
    let one = |i: usize| {
        let (n, s) = (norm[i % norm.len()], surface[i] * norm[i % norm.len()] * scale[i / (v * u * w)]);
        (n > 0.0 && s.abs() < 1e30).then_some(s)
    };
    (0..surface.len()).map(one).collect()
}

/// Best scores and positions of the tiles [Q, W, TY, TX] and sums [Q, W, 3] of scores [Q, V, U, W].
pub fn tiles(scores: &[Option<f64>], [q, v, u, w]: [usize; 4]) -> (Vec<f64>, Vec<u32>, Vec<f64>) {
    let (down, across) = (v.div_ceil(TILE), u.div_ceil(TILE));
    let mut best = vec![f64::from(NONE); q * w * down * across];
    let mut position = vec![NOWHERE; best.len()];
    let mut sums = vec![0.0; q * w * 3];
    for (i, s) in scores.iter().enumerate() {
        let (w_at, place, q_at) = (i % w, i / w % (v * u), i / (w * v * u));
        let row = q_at * w + w_at;
        let tile = (row * down + place / u / TILE) * across + place % u / TILE;
        if let Some(s) = *s {
            // Places come in their order: the first of equals stays.
            if s > best[tile] {
                (best[tile], position[tile]) = (s, place as u32);
            }
            [1.0, s, s * s].iter().zip(&mut sums[3 * row..]).for_each(|(a, sum)| *sum += a);
        }
    }
    (best, position, sums)
}

/// The k best tiles of each of `rows`, apart from each other, of surfaces `u` wide.
pub fn select(best: &[f32], position: &[u32], rows: usize, u: usize, radius: usize, k: usize) -> (Vec<f32>, Vec<u32>) {
    let tiles = best.len() / rows;
    let (mut scores, mut places) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let mut all: Vec<(f32, u32)> =
            (row * tiles..(row + 1) * tiles).map(|t| (best[t], position[t])).filter(|t| t.1 != NOWHERE).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut chosen: Vec<(f32, u32)> = Vec::new();
        let parts = |p: u32| (p as usize / u, p as usize % u);
        for (s, p) in all {
            let ((y, x), near) = (parts(p), radius);
            if chosen.len() < k && chosen.iter().map(|c| parts(c.1)).all(|(cy, cx)| y.abs_diff(cy) > near || x.abs_diff(cx) > near) {
                chosen.push((s, p));
            }
        }
        chosen.resize(k, (NONE, NOWHERE));
        scores.extend(chosen.iter().map(|c| c.0));
        places.extend(chosen.iter().map(|c| c.1));
    }
    (scores, places)
}

/// Offset, what it adds, and second derivative of the parabola through three scores.
fn parabola(low: Option<f64>, here: f64, high: Option<f64>) -> [f64; 3] {
    let (Some(low), Some(high)) = (low, high) else { return [0.0; 3] };
    let (slope, bend) = ((high - low) / 2.0, high - 2.0 * here + low);
    let offset = if bend < 0.0 { (-slope / bend).clamp(-1.0, 1.0) } else { 0.0 };
    [offset, offset * slope + bend / 2.0 * offset * offset, bend]
}

/// Refined peaks [Q, W, K, 5] of places [Q, W, K] on scores [Q, V, U, W].
pub fn refine(scores: &[Option<f64>], [_, v, u, w]: [usize; 4], place: &[u32], k: usize) -> Vec<f64> {
    let one = |(i, p): (usize, &u32)| {
        let (row, p) = (i / k, *p as usize);
        let at = |y: Option<usize>, x: Option<usize>| {
            let (y, x) = (y.filter(|y| *y < v)?, x.filter(|x| *x < u)?);
            scores[((row / w * v + y) * u + x) * w + row % w]
        };
        let (y, x) = (p / u, p % u);
        let Some(here) = at(Some(y), Some(x)) else { return [0.0, 0.0, f64::from(NONE), 0.0, 0.0, 0.0] };
        let down = parabola(at(y.checked_sub(1), Some(x)), here, at(Some(y + 1), Some(x)));
        let across = parabola(at(Some(y), x.checked_sub(1)), here, at(Some(y), Some(x + 1)));
        let corners = [
            at(y.checked_sub(1), x.checked_sub(1)),
            at(y.checked_sub(1), Some(x + 1)),
            at(Some(y + 1), x.checked_sub(1)),
            at(Some(y + 1), Some(x + 1)),
        ];
        let mixed = match corners {
            [Some(a), Some(b), Some(c), Some(d)] => 0.25 * ((a - b) - (c - d)),
            _ => 0.0,
        };
        [down[0], across[0], here + down[1] + across[1], down[2], across[2], mixed]
    };
    place.iter().enumerate().flat_map(one).collect()
}

/// Energy \[P\] less the sum over N of sums [N, P]^2 / max(valid, 1).
pub fn remove_means(sums: &[f64], valid: &[f64], energy: &[f64]) -> Vec<f64> {
    let p = energy.len();
    let squares = |i: usize| sums.chunks(p).map(|s| s[i] * s[i]).sum::<f64>();
    (0..p).map(|i| energy[i] - squares(i) / valid[i].max(1.0)).collect()
}
