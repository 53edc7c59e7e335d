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

/// scores [rows, S] of q [queries, dim] and c [rows, dim], each row against the query that owns it; 0 where none does.
pub fn correlate(slide: Slide, q: &[f64], c: &[f64], dim: usize, owners: &[usize]) -> Vec<f64> {
    let (rows, ch) = (c.len() / dim, dim / (slide.side * slide.side));
    let one = |r: usize, s: usize| {
        let Some(a) = q.chunks(dim).nth(owners[r]) else { return 0.0 };
        let b = &c[r * dim..][..dim];
        let mut sum = 0.0;
        overlap(slide, s, |p, o| sum += (0..ch).map(|k| a[p * ch + k] * b[o * ch + k]).sum::<f64>());
        share(slide, s) * sum
    };
    (0..rows).flat_map(|r| (0..slide.shifts()).map(move |s| (r, s))).map(|(r, s)| one(r, s)).collect()
}

/// Calls `f(row of q, row of c, row of y, square p, square p + shift, factor)` for all that lie on each other.
fn pairs(slide: Slide, queries: usize, shifts: &[usize], mut f: impl FnMut([usize; 3], usize, usize, f64)) {
    let top = shifts.len() / queries;
    for (r, s) in shifts.iter().enumerate() {
        let s = if *s < slide.shifts() { *s } else { slide.shifts() / 2 };
        let share = share(slide, s);
        overlap(slide, s, |p, o| f([r / top, r, r + r / top], p, o, share));
    }
}

/// y [queries (top + 1), dim] of q [queries, dim] and c [queries top, dim], each row of c moved by its shift.
pub fn common(slide: Slide, q: &[f64], c: &[f64], shifts: &[usize]) -> Vec<f64> {
    let (dim, ch) = sizes(slide, c, shifts);
    let mut y = vec![0.0; q.len() + c.len()];
    pairs(slide, q.len() / dim, shifts, |[a, b, out], p, o, share| {
        (0..ch).for_each(|k| y[out * dim + p * ch + k] = share * q[a * dim + p * ch + k] * c[b * dim + o * ch + k]);
    });
    y
}

/// dq and dc of dy.
pub fn common_backward(slide: Slide, q: &[f64], c: &[f64], shifts: &[usize], dy: &[f64]) -> [Vec<f64>; 2] {
    let (dim, ch) = sizes(slide, c, shifts);
    let (mut dq, mut dc) = (vec![0.0; q.len()], vec![0.0; c.len()]);
    pairs(slide, q.len() / dim, shifts, |[a, b, out], p, o, share| {
        for k in 0..ch {
            let (a, b, g) = (a * dim + p * ch + k, b * dim + o * ch + k, share * dy[out * dim + p * ch + k]);
            dq[a] += g * c[b];
            dc[b] += g * q[a];
        }
    });
    [dq, dc]
}

/// Values a row, and channels a square.
fn sizes(slide: Slide, c: &[f64], shifts: &[usize]) -> (usize, usize) {
    let dim = c.len() / shifts.len();
    (dim, dim / (slide.side * slide.side))
}
