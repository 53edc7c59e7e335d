//! Twin of `shaders/winograd.wgsl`: its transforms as the products of matrices that they are.

/// B' of F(2 x 2, 3 x 3).
const INPUTS: [[f64; 4]; 4] = [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, 1.0, 0.0, -1.0]];
/// G.
const WEIGHTS: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
/// A'.
const OUTPUTS: [[f64; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]];

/// T d T', for a square of numbers.
fn both_sides<const R: usize, const C: usize>(t: &[[f64; C]; R], d: impl Fn(usize, usize) -> f64) -> [[f64; R]; R] {
    let entry = |i: usize, j: usize| (0..C).flat_map(|a| (0..C).map(move |b| (a, b))).map(|(a, b)| t[i][a] * d(a, b) * t[j][b]).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)))
}

/// u [16, I, O] of w [9, CI, CO].
pub fn weights(w: &[f64], ci: usize, co: usize, flip: bool) -> Vec<f64> {
    let mut u = vec![0.0; 16 * ci * co];
    for (k, o) in (0..ci).flat_map(|k| (0..co).map(move |o| (k, o))) {
        let tap = |y: usize, x: usize| if flip { 8 - 3 * y - x } else { 3 * y + x };
        let at = if flip { o * ci + k } else { k * co + o };
        let all = both_sides(&WEIGHTS, |y, x| w[tap(y, x) * ci * co + k * co + o]);
        all.as_flattened().iter().enumerate().for_each(|(p, v)| u[p * ci * co + at] = *v);
    }
    u
}

/// Where the tiles of [N, OH, OW] outputs begin: image, row, column.
fn tiles(n: usize, [oh, ow]: [usize; 2]) -> Vec<[usize; 3]> {
    let rows = (0..n).flat_map(move |b| (0..oh).step_by(2).map(move |y| (b, y)));
    rows.flat_map(|(b, y)| (0..ow).step_by(2).map(move |x| [b, y, x])).collect()
}

/// v [16, T, C] of x [N, H, W, C], all tiles of `out` [OH, OW].
pub fn inputs(x: &[f64], [n, h, w, c]: [usize; 4], pad: [usize; 2], out: [usize; 2]) -> Vec<f64> {
    let tiles = tiles(n, out);
    let mut v = vec![0.0; 16 * tiles.len() * c];
    for (t, [image, top, left]) in tiles.iter().enumerate() {
        for k in 0..c {
            let value = |i: usize, j: usize| match ((top + i).checked_sub(pad[0]), (left + j).checked_sub(pad[1])) {
                (Some(y), Some(q)) if y < h && q < w => x[((image * h + y) * w + q) * c + k],
                _ => 0.0,
            };
            let all = both_sides(&INPUTS, value);
            all.as_flattened().iter().enumerate().for_each(|(p, d)| v[(p * tiles.len() + t) * c + k] = *d);
        }
    }
    v
}

/// y [N, H, W, C] of m [16, T, C].
pub fn outputs(m: &[f64], [n, h, w, c]: [usize; 4], bias: Option<&[f64]>, relu: bool) -> Vec<f64> {
    let tiles = tiles(n, [h, w]);
    let mut y = vec![0.0; n * h * w * c];
    for (t, [image, top, left]) in tiles.iter().enumerate() {
        for k in 0..c {
            let all = both_sides(&OUTPUTS, |i, j| m[((4 * i + j) * tiles.len() + t) * c + k]);
            for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                if top + i < h && left + j < w {
                    let v = all[i][j] + bias.map_or(0.0, |b| b[k]);
                    y[((image * h + top + i) * w + left + j) * c + k] = if relu { v.max(0.0) } else { v };
                }
            }
        }
    }
    y
}
