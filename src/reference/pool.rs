//! Twin of `shaders/pool.wgsl`.

use crate::kernels::pool::{Pool, Window};

/// For each output element in order: the indices of x inside its window, in scan order.
fn windows([n, h, w, c]: [usize; 4], window: &Window) -> Vec<Vec<usize>> {
    let (oh, ow) = window.output(h, w).expect("a window that fits");
    let span = |o: usize, stride: usize, pad: usize, kernel: usize, size: usize| {
        let start = o as i64 * stride as i64 - pad as i64;
        (start..start + kernel as i64).filter(move |i| (0..size as i64).contains(i)).map(|i| i as usize)
    };
    let mut all = Vec::with_capacity(n * oh * ow * c);
    for (b, oy, ox) in (0..n).flat_map(|b| (0..oh).flat_map(move |y| (0..ow).map(move |x| (b, y, x)))) {
        for k in 0..c {
            let rows = span(oy, window.stride.0, window.padding.0, window.kernel.0, h);
            let columns = || span(ox, window.stride.1, window.padding.1, window.kernel.1, w);
            all.push(rows.flat_map(|iy| columns().map(move |ix| ((b * h + iy) * w + ix) * c + k)).collect());
        }
    }
    all
}

fn first_maximum(x: &[f64], places: &[usize]) -> usize {
    places.iter().copied().fold(places[0], |best, i| if x[i] > x[best] { i } else { best })
}

/// Maximum or average of each window.
pub fn forward(pool: Pool, window: &Window, x: &[f64], shape: [usize; 4]) -> Vec<f64> {
    let one = |places: &Vec<usize>| match pool {
        Pool::Max => x[first_maximum(x, places)],
        Pool::Average => places.iter().map(|i| x[*i]).sum::<f64>() / places.len() as f64,
    };
    windows(shape, window).iter().map(one).collect()
}

/// dx: to the first maximum of each window, or to all its elements alike.
pub fn backward(pool: Pool, window: &Window, x: &[f64], shape: [usize; 4], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; x.len()];
    for (places, d) in windows(shape, window).iter().zip(dy) {
        match pool {
            Pool::Max => dx[first_maximum(x, places)] += d,
            Pool::Average => places.iter().for_each(|i| dx[*i] += d / places.len() as f64),
        }
    }
    dx
}

/// (mean of max(x, eps)^p)^(1/p) over the rows of x [n, rows, c].
pub fn generalised_mean(x: &[f64], n: usize, c: usize, p: f64, eps: f64) -> Vec<f64> {
    let size = x.len() / n;
    let mut m = vec![0.0; n * c];
    x.iter().enumerate().for_each(|(i, v)| m[i / size * c + i % c] += v.max(eps).powf(p) / (size / c) as f64);
    m.iter().map(|m| m.powf(1.0 / p)).collect()
}

/// dx and dp of [`generalised_mean`].
pub fn generalised_mean_backward(x: &[f64], n: usize, c: usize, p: f64, eps: f64, dy: &[f64]) -> (Vec<f64>, f64) {
    let y = generalised_mean(x, n, c, p, eps);
    let size = x.len() / n;
    let rows = (size / c) as f64;
    let (mut dx, mut dp) = (vec![0.0; x.len()], 0.0);
    for (i, raw) in x.iter().enumerate() {
        let k = i / size * c + i % c;
        let (v, m) = (raw.max(eps), y[k].powf(p));
        // y = exp(ln m / p): dy/dm = y / (p m); dm/dx = p v^(p-1) / rows; dy/dp directly = -y ln m / p^2.
        if *raw >= eps {
            dx[i] = dy[k] * y[k] / m * v.powf(p - 1.0) / rows;
        }
        dp += dy[k] * y[k] / rows * (v.powf(p) * v.ln() / (p * m) - m.ln() / (p * p));
    }
    (dx, dp)
}
