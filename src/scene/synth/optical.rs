//! The optical view: sun shading, cast shadows, the sensor's blur and noise.

use super::noise::{hash2, unit};
use rayon::prelude::*;

/// Towards the sun in pixels (azimuth 150 degrees, a late morning), and its rise over that unit step (48 degrees).
const SUN: (f32, f32, f32) = (0.5, 0.866_025_4, 1.11);

/// Renders 8-bit RGB, height-width-channel; no value is 0.
pub(super) fn render(
    width: usize,
    pixel_m: f32,
    albedo: &[[u8; 3]],
    terrain: &[f32],
    object: &[f32],
    stream: u32,
) -> Vec<u8> {
    let height = albedo.len() / width;
    let tallest = object.par_iter().copied().reduce(|| 0.0, f32::max);
    let steps = ((tallest / (SUN.2 * pixel_m)) as usize + 1).min(40);
    let mut out = vec![0u8; albedo.len() * 3];
    out.par_chunks_mut(width * 3).enumerate().for_each(|(y, line)| {
        let (up, down) = (y.saturating_sub(1), (y + 1).min(height - 1));
        for x in 0..width {
            let (west, east) = (x.saturating_sub(1), (x + 1).min(width - 1));
            let at = y * width + x;
            // Lambert's law on the terrain, relative to flat ground.
            let dx = (terrain[y * width + east] - terrain[y * width + west]) / (2.0 * pixel_m);
            let dy = (terrain[down * width + x] - terrain[up * width + x]) / (2.0 * pixel_m);
            let facing = (SUN.2 - SUN.0 * dx - SUN.1 * dy) / (1.0 + dx * dx + dy * dy).sqrt() / SUN.2;
            // The least clearance of the ray to the sun over the surface, as a share of a step.
            let ground = terrain[at] + object[at];
            let mut clear = 1.0f32;
            for k in 1..=steps {
                let px = x as f32 + SUN.0 * k as f32 + 0.5;
                let py = y as f32 + SUN.1 * k as f32 + 0.5;
                if px >= width as f32 || py >= height as f32 {
                    break;
                }
                let there = py as usize * width + px as usize;
                let rise = terrain[there] + object[there] - ground;
                let over = (rise / (pixel_m * SUN.2) - k as f32 + 0.6).clamp(0.0, 1.0);
                clear = clear.min(1.0 - over);
            }
            let light = 0.38 + 0.62 * clear * (0.25 + 0.75 * facing).clamp(0.2, 1.5);
            let noise = |c: u32| {
                let h = hash2(x as i32, y as i32, stream.wrapping_add(c));
                unit(h) + unit(h.wrapping_mul(0x9e37_79b9)) - 1.0
            };
            let common = noise(0);
            for c in 0..3 {
                let of = |i: usize| f32::from(albedo[i][c]);
                let sides = of(y * width + west) + of(y * width + east) + of(up * width + x) + of(down * width + x);
                let colour = 0.60 * of(at) + 0.10 * sides;
                // A little blue haze, and shadows lit by the sky.
                let haze = [3.0, 5.0, 9.0][c];
                let value = haze + colour * light + 2.2 * common + 1.6 * noise(c as u32 + 1);
                line[x * 3 + c] = (value + 0.5).clamp(1.0, 255.0) as u8;
            }
        }
    });
    out
}
