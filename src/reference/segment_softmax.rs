//! Twin of `shaders/segment_softmax.wgsl`. Slots of the device without an edge do not exist here.

use crate::kernels::edges::Csr;

/// Calls `g` with the places in [E, H] of each target's edges, a head at a time.
fn each(csr: &Csr, heads: usize, mut g: impl FnMut(&[usize])) {
    for range in csr.offsets().windows(2) {
        for h in 0..heads {
            let places: Vec<usize> = (range[0]..range[1]).map(|e| e as usize * heads + h).collect();
            g(&places);
        }
    }
}

/// Weights [E, H] from scores [E, H].
pub fn forward(csr: &Csr, s: &[f64], heads: usize) -> Vec<f64> {
    let mut w = vec![0.0; s.len()];
    each(csr, heads, |places| {
        let most = places.iter().fold(f64::MIN, |m, p| m.max(s[*p]));
        let sum: f64 = places.iter().map(|p| (s[*p] - most).exp()).sum();
        places.iter().filter(|_| sum != 0.0).for_each(|p| w[*p] = (s[*p] - most).exp() / sum);
    });
    w
}

/// ds [E, H] from the weights and dw.
pub fn backward(csr: &Csr, w: &[f64], dw: &[f64], heads: usize) -> Vec<f64> {
    let mut ds = vec![0.0; w.len()];
    each(csr, heads, |places| {
        let all: f64 = places.iter().map(|p| w[*p] * dw[*p]).sum();
        places.iter().for_each(|p| ds[*p] = w[*p] * (dw[*p] - all));
    });
    ds
}
