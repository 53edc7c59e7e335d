//! The side-looking radar: layover, shadow, double bounce, speckle.

use super::noise::gamma_speckle;
use rayon::prelude::*;

/// Reflectivity that reaches 255 in the 8-bit amplitude image.
const SATURATION: f32 = 1.25;
/// Noise floor of the receiver, in reflectivity.
const NOISE_FLOOR: f32 = 0.0022;

/// What the radar needs of the ground, one value a pixel, rows one after the other.
pub(super) struct Surface<'a> {
    pub width: usize,
    pub pixel_m: f32,
    /// Bare-earth height, metres.
    pub terrain: &'a [f32],
    /// Height of buildings and trees above the terrain, metres.
    pub object: &'a [f32],
    /// Backscatter of the horizontal surface.
    pub sigma: &'a [f32],
    /// Strength of the wall-and-ground corner; 0 for trees.
    pub bounce: &'a [f32],
}

/// Cotangent of an angle in degrees, by series, so that it is the same on every machine.
pub(super) fn cotangent(degrees: f64) -> f32 {
    let a = degrees.clamp(5.0, 85.0) * (std::f64::consts::PI / 180.0);
    let (mut sin, mut cos, mut term) = (0.0, 0.0, 1.0);
    for k in 0..24 {
        match k % 4 {
            0 => cos += term,
            1 => sin += term,
            2 => cos -= term,
            _ => sin -= term,
        }
        term *= a / (k + 1) as f64;
    }
    (cos / sin) as f32
}

/// Adds `power` evenly over the interval `a..b` (either order), in pixels along the line.
fn deposit(line: &mut [f32], a: f32, b: f32, power: f32) {
    let (lo, hi) = if a < b { (a, b) } else { (b, a) };
    // A point return still covers a third of a pixel.
    let (lo, hi) = if hi - lo < 0.33 { (0.5 * (lo + hi) - 0.165, 0.5 * (lo + hi) + 0.165) } else { (lo, hi) };
    let density = power / (hi - lo);
    let mut cell = lo.floor();
    while cell < hi {
        if cell >= 0.0 && cell < line.len() as f32 {
            line[cell as usize] += density * (hi.min(cell + 1.0) - lo.max(cell));
        }
        cell += 1.0;
    }
}

/// Reflectivity of one range line. The sensor is at the left, range grows with x.
///
/// A ray of incidence t sinks by cot(t) for each metre of range, so that a point is lit when `height + x cot(t)` is
/// at least that of everything before it, and a return from height h above the reference surface is seen
/// `h cot(t)` nearer to the sensor. The reference is the terrain (a terrain-corrected product): hills keep their
/// place and show only shading and shadow, while buildings and trees lean over.
pub(super) fn range_line(s: &Surface, row: usize, cot: f32, line: &mut [f32]) {
    let w = s.width;
    let at = row * w..(row + 1) * w;
    let (terrain, object) = (&s.terrain[at.clone()], &s.object[at.clone()]);
    let (sigma, bounce) = (&s.sigma[at.clone()], &s.bounce[at]);
    let lean = cot / s.pixel_m; // pixels towards the sensor for a metre of height
    let sink = cot * s.pixel_m; // metres a ray sinks over a pixel
    line.fill(0.0);
    let mut horizon = f32::NEG_INFINITY;
    // The ground goes on past the far edge as it is there, so that what leans over the edge leaves no gap.
    let beyond = (object[w - 1] * lean) as usize + 2;
    for column in 0..w + beyond {
        let i = column.min(w - 1);
        let t = terrain[i];
        let left = 0.5 * (terrain[i.saturating_sub(1)] + t);
        let right = 0.5 * (t + terrain[(i + 1).min(w - 1)]);
        let h = object[i];
        let before = if column > 0 { object[(column - 1).min(w - 1)] } else { h };
        let x = column as f32;
        if h > before + 0.25 {
            // The wall facing the sensor, from the lit part of its foot to its top.
            let foot = before.max(horizon - x * sink - left);
            let seen = h - foot;
            if seen > 0.0 {
                let faces = seen / s.pixel_m;
                let wall = faces * (0.10 + 0.16 * bounce[i]);
                deposit(line, x - foot * lean, x - h * lean, wall);
                let open = seen / (h - before);
                let corner = x - before * lean;
                deposit(line, corner - 0.5, corner + 0.5, open * faces * 0.75 * bounce[i]);
            }
        }
        let near = left + h + x * sink;
        let far = right + h + (x + 1.0) * sink;
        let lit = if near >= horizon - 1e-3 * sink {
            1.0
        } else if far > near {
            ((far - horizon) / (far - near)).clamp(0.0, 1.0)
        } else {
            0.0
        };
        if lit > 0.0 {
            // Slopes towards the sensor fold more ground into a range cell. (tan t / tan(t - a), with slope a.)
            let slope = (right - left) / s.pixel_m;
            let tan = 1.0 / cot;
            let gain = (tan * (1.0 + tan * slope) / (tan - slope).max(0.05)).clamp(0.35, 3.0);
            let (a, b) = (x + 1.0 - lit - h * lean, x + 1.0 - h * lean);
            deposit(line, a, b, lit * gain * sigma[i]);
        }
        horizon = horizon.max(near).max(far);
    }
}

/// Reflectivity of the whole scene, before the sensor's blur, noise and speckle.
pub(super) fn reflectivity(s: &Surface, cot: f32) -> Vec<f32> {
    let mut out = vec![0.0; s.terrain.len()];
    out.par_chunks_mut(s.width).enumerate().for_each(|(row, line)| range_line(s, row, cot, line));
    out
}

/// Blur, noise floor, speckle and 8-bit amplitude; no pixel is 0.
pub(super) fn detect(power: &[f32], width: usize, looks: u32, stream: u32) -> Vec<u8> {
    let height = power.len() / width;
    let mut out = vec![0u8; power.len()];
    let scale = 255.0 / SATURATION.sqrt();
    out.par_chunks_mut(width).enumerate().for_each(|(y, line)| {
        let row = |y: usize| &power[y * width..(y + 1) * width];
        let (up, here, down) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1)));
        let column = |x: usize| 0.64 * here[x] + 0.18 * (up[x] + down[x]);
        for (x, value) in line.iter_mut().enumerate() {
            let clean = 0.64 * column(x) + 0.18 * (column(x.saturating_sub(1)) + column((x + 1).min(width - 1)));
            let speckle = gamma_speckle(x as i32, y as i32, looks, stream);
            let amplitude = ((clean + NOISE_FLOOR) * speckle).sqrt();
            *value = (amplitude * scale + 0.5).clamp(1.0, 255.0) as u8;
        }
    });
    out
}
