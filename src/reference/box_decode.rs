//! Twin of `shaders/box_decode.wgsl`; the way back is [`Deltas::encode`] and [`Yolo::encode`].

use crate::kernels::box_decode::{Deltas, MOST_GROWTH, Yolo};

/// By how much sides grow for a logarithm, and the slope.
fn grown(l: f64) -> [f64; 2] {
    let most = f64::from(MOST_GROWTH);
    let g = l.min(most).exp();
    [g, if l >= most { 0.0 } else { g }]
}

/// 1 / (1 + exp(-t)).
fn sigmoid(t: f64) -> f64 {
    1.0 / (1.0 + (-t).exp())
}

/// An axis of a delta: centre and side of the box with their slopes in the two numbers.
fn axis(config: &Deltas, d: &[f64], anchor: &[f64], k: usize) -> [[f64; 2]; 2] {
    let deviation = |k: usize| f64::from(config.deviations[k]);
    let side = anchor[k + 2] - anchor[k];
    let [g, slope] = grown(deviation(k + 2) * d[k + 2]);
    let centre = (anchor[k] + anchor[k + 2]) / 2.0 + side * deviation(k) * d[k];
    [[centre, side * deviation(k)], [side * g, side * slope * deviation(k + 2)]]
}

/// The axes of all rows: `f(row, axis, [[centre, slope], [side, slope]])`.
fn each(config: &Deltas, d: &[f64], anchors: &[f64], mut f: impl FnMut(usize, usize, [[f64; 2]; 2])) {
    for (r, row) in d.chunks(4).enumerate() {
        let a = r / config.classes % (anchors.len() / 4);
        (0..2).for_each(|k| f(r, k, axis(config, row, &anchors[4 * a..][..4], k)));
    }
}

/// Boxes of rows of four.
pub fn deltas(config: &Deltas, d: &[f64], anchors: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; d.len()];
    each(config, d, anchors, |r, k, [[centre, _], [side, _]]| {
        (y[4 * r + k], y[4 * r + k + 2]) = (centre - side / 2.0, centre + side / 2.0);
    });
    y
}

/// dd from dy.
pub fn deltas_backward(config: &Deltas, d: &[f64], anchors: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dd = vec![0.0; d.len()];
    each(config, d, anchors, |r, k, [[_, centre], [_, side]]| {
        let (low, high) = (dy[4 * r + k], dy[4 * r + k + 2]);
        (dd[4 * r + k], dd[4 * r + k + 2]) = ((low + high) * centre, (high - low) / 2.0 * side);
    });
    dd
}

/// The cell of a row, across and down, and its anchor's sides.
fn place(config: &Yolo, r: usize, anchors: &[f64]) -> [[f64; 2]; 2] {
    let m = anchors.len() / 2;
    let [down, across] = config.grid;
    let cell = r / m;
    [[(cell % across) as f64, (cell / across % down) as f64], [anchors[r % m * 2], anchors[r % m * 2 + 1]]]
}

/// Rows with boxes in the first four.
pub fn yolo(config: &Yolo, x: &[f64], anchors: &[f64]) -> Vec<f64> {
    let mut y = x.to_vec();
    for (r, (x, y)) in x.chunks(config.width()).zip(y.chunks_mut(config.width())).enumerate() {
        let [cell, anchor] = place(config, r, anchors);
        for k in 0..2 {
            let (centre, side) = ((sigmoid(x[k]) + cell[k]) * f64::from(config.stride[k]), anchor[k] * grown(x[k + 2])[0]);
            (y[k], y[k + 2]) = (centre - side / 2.0, centre + side / 2.0);
        }
    }
    y
}

/// dx from dy.
pub fn yolo_backward(config: &Yolo, x: &[f64], anchors: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dx = dy.to_vec();
    for (r, (x, dx)) in x.chunks(config.width()).zip(dx.chunks_mut(config.width())).enumerate() {
        let [_, anchor] = place(config, r, anchors);
        for k in 0..2 {
            let (low, high) = (dx[k], dx[k + 2]);
            dx[k] = (low + high) * f64::from(config.stride[k]) * sigmoid(x[k]) * sigmoid(-x[k]);
            dx[k + 2] = (high - low) / 2.0 * anchor[k] * grown(x[k + 2])[1];
        }
    }
    dx
}
