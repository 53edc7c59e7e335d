//! Twin of `shaders/slide.wgsl`.

use crate::kernels::slide::Slide;

/// Calls `f(square p, square p + shift)` for each pair that overlaps.
fn overlap(slide: Slide, s: usize, mut f: impl FnMut(usize, usize)) {
    let (side, [dx, dy]) = (slide.side as i64, slide.shift(s));
    for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
        let (v, u) = (y + dy, x + dx);
        if (0..side).contains(&v) && (0..side).contains(&u) {
            f((y * side + x) as usize, (v * side + u) as usize);
        }
    }
}

/// Squares in all over those that overlap.
fn share(slide: Slide, s: usize) -> f64 {
    let mut n = 0;
    overlap(slide, s, |_, _| n += 1);
    (slide.side * slide.side) as f64 / f64::from(n)
}

/// scores [rows, S] of q [queries, dim] and c [rows, dim], each row against the query that owns it.
pub fn correlate(slide: Slide, q: &[f64], c: &[f64], dim: usize, owners: &[usize]) -> Vec<f64> {
    let (rows, ch) = (c.len() / dim, dim / (slide.side * slide.side));
    let one = |r: usize, s: usize| {
        let (a, b) = (&q[owners[r] * dim..][..dim], &c[r * dim..][..dim]);
        let mut sum = 0.0;
        overlap(slide, s, |p, o| sum += (0..ch).map(|k| a[p * ch + k] * b[o * ch + k]).sum::<f64>());
        share(slide, s) * sum
    };
    (0..rows).flat_map(|r| (0..slide.shifts()).map(move |s| (r, s))).map(|(r, s)| one(r, s)).collect()
}

/// y [rows, dim] of x [rows, dim], each row moved by its shift.
pub fn forward(slide: Slide, x: &[f64], shifts: &[usize]) -> Vec<f64> {
    moved(slide, x, shifts, |p, o| (p, o))
}

/// dx of dy.
pub fn backward(slide: Slide, dy: &[f64], shifts: &[usize]) -> Vec<f64> {
    moved(slide, dy, shifts, |p, o| (o, p))
}

fn moved(slide: Slide, x: &[f64], shifts: &[usize], way: impl Fn(usize, usize) -> (usize, usize)) -> Vec<f64> {
    let dim = x.len() / shifts.len();
    let ch = dim / (slide.side * slide.side);
    let mut y = vec![0.0; x.len()];
    for (r, s) in shifts.iter().enumerate() {
        let s = if *s < slide.shifts() { *s } else { slide.shifts() / 2 };
        overlap(slide, s, |p, o| {
            let (to, from) = way(p, o);
            (0..ch).for_each(|k| y[r * dim + to * ch + k] = share(slide, s) * x[r * dim + from * ch + k]);
        });
    }
    y
}
