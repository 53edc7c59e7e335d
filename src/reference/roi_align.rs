//! Twin of `shaders/roi_align.wgsl`: sample by sample, as torchvision has it.

use crate::kernels::roi_align::RoiAlign;

/// A region: its box, image and map.
pub type Region = ([f64; 4], usize, usize);

/// What a sample at `at` takes of which pixels of a line of `size`.
fn taps(at: f64, size: usize) -> [(usize, f64); 2] {
    if !(-1.0..=size as f64).contains(&at) {
        return [(0, 0.0); 2];
    }
    let p = at.clamp(0.0, (size - 1) as f64);
    let low = p.floor();
    [(low as usize, 1.0 - (p - low)), ((low as usize + 1).min(size - 1), p - low)]
}

/// What each bin of a region takes of which pixels of a line: start and end in the image's pixels.
fn bins(align: RoiAlign, start: f64, end: f64, scale: f64, size: usize) -> Vec<Vec<(usize, f64)>> {
    let (start, end) = (start * scale - 0.5, end * scale - 0.5);
    let bin = (end - start) / align.bins as f64;
    let samples = align.samples.unwrap_or(bin.ceil().max(0.0) as usize);
    let of_bin = |b: usize| {
        let at = move |i: usize| start + b as f64 * bin + (i as f64 + 0.5) * bin / samples as f64;
        (0..samples).flat_map(|i| taps(at(i), size)).map(|(p, w)| (p, w / samples as f64)).collect()
    };
    (0..align.bins).map(of_bin).collect()
}

/// Calls `f(row of y, row of the map, weight)` for every pair of a bin and a pixel of map `level`, [n, h, w] pixels.
fn each(align: RoiAlign, level: usize, [n, h, w]: [usize; 3], scale: f64, regions: &[Region], mut f: impl FnMut(usize, usize, f64)) {
    let here = |r: &(usize, &Region)| r.1.1 < n && r.1.2 == level;
    for (r, (area, image, _)) in regions.iter().enumerate().filter(here) {
        let (rows, columns) = (bins(align, area[1], area[3], scale, h), bins(align, area[0], area[2], scale, w));
        for (by, ys) in rows.iter().enumerate() {
            for (bx, xs) in columns.iter().enumerate() {
                let row = (r * align.bins + by) * align.bins + bx;
                for ((py, wy), (px, wx)) in ys.iter().flat_map(|y| xs.iter().map(move |x| (y, x))) {
                    f(row, (image * h + py) * w + px, wy * wx);
                }
            }
        }
    }
}

/// y [R, P, P, C] from maps [N, H, W, C], each with its scale.
pub fn forward(align: RoiAlign, maps: &[(&[f64], [usize; 4], f64)], regions: &[Region]) -> Vec<f64> {
    let c = maps[0].1[3];
    let mut y = vec![0.0; regions.len() * align.bins * align.bins * c];
    for (level, (x, [n, h, w, _], scale)) in maps.iter().enumerate() {
        each(align, level, [*n, *h, *w], *scale, regions, |to, from, weight| {
            (0..c).for_each(|k| y[to * c + k] += weight * x[from * c + k]);
        });
    }
    y
}

/// dx of map `level`, [N, H, W, C], from dy.
pub fn backward(align: RoiAlign, level: usize, [n, h, w, c]: [usize; 4], scale: f64, regions: &[Region], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; n * h * w * c];
    each(align, level, [n, h, w], scale, regions, |from, to, weight| {
        (0..c).for_each(|k| dx[to * c + k] += weight * dy[from * c + k]);
    });
    dx
}
