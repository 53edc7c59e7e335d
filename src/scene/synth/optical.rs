//! The optical view: sun shading, cast shadows, the sensor's blur and noise.

use super::noise::{hash2, mix};
use rayon::prelude::*;

/// Towards the sun in pixels (azimuth 150 degrees, a late morning), and its rise over that unit step (48 degrees).
const SUN: (f32, f32, f32) = (0.5, 0.866_025_4, 1.11);

/// Renders 8-bit RGB, height-width-channel; no value is 0.
pub(super) fn render(width: usize, pixel_m: f32, albedo: &[[u8; 3]], terrain: &[f32], object: &[f32], stream: u32) -> Vec<u8> {
    let height = albedo.len() / width;
    let tallest = object.par_iter().copied().reduce(|| 0.0, f32::max);
    let steps = ((tallest / (SUN.2 * pixel_m)) as usize + 1).min(40);
    let mut light = vec![0f32; albedo.len()];
    light.par_chunks_mut(width).enumerate().for_each(|(y, line)| {
        let (up, down) = (y.saturating_sub(1) * width, (y + 1).min(height - 1) * width);
        for (x, light) in line.iter_mut().enumerate() {
            let (west, east) = (y * width + x.saturating_sub(1), y * width + (x + 1).min(width - 1));
            // Lambert's law on the terrain, relative to flat ground.
            let dx = (terrain[east] - terrain[west]) / (2.0 * pixel_m);
            let dy = (terrain[down + x] - terrain[up + x]) / (2.0 * pixel_m);
            let facing = (SUN.2 - SUN.0 * dx - SUN.1 * dy) / (1.0 + dx * dx + dy * dy).sqrt() / SUN.2;
            // The share of the sun that clears the surface on the way.
            let ground = terrain[y * width + x] + object[y * width + x];
            let mut clear = 1.0f32;
            for k in 1..=steps {
                let px = x as f32 + SUN.0 * k as f32 + 0.5;
                let py = y as f32 + SUN.1 * k as f32 + 0.5;
                if px >= width as f32 || py >= height as f32 {
                    break;
                }
                let there = py as usize * width + px as usize;
                let rise = terrain[there] + object[there] - ground;
                let over = (rise / (pixel_m * SUN.2) - k as f32 + 0.5).clamp(0.0, 1.0);
                clear = clear.min(1.0 - over);
            }
            // Shadows are lit by the sky.
            *light = 0.42 + 0.58 * clear * facing.clamp(0.2, 1.6);
        }
    });
    let mut out = vec![0u8; albedo.len() * 3];
    out.par_chunks_mut(width * 3).enumerate().for_each(|(y, line)| {
        let (up, down) = (y.saturating_sub(1) * width, (y + 1).min(height - 1) * width);
        for x in 0..width {
            let (west, east) = (y * width + x.saturating_sub(1), y * width + (x + 1).min(width - 1));
            let taps = [(y * width + x, 0.52), (west, 0.12), (east, 0.12), (up + x, 0.12), (down + x, 0.12)];
            // A little blue haze.
            let mut value = [3.0f32, 5.0, 9.0];
            for (at, weight) in taps {
                let shaded = weight * light[at];
                for c in 0..3 {
                    value[c] += shaded * f32::from(albedo[at][c]);
                }
            }
            let h = hash2(x as i32, y as i32, stream);
            let triangle = |h: u32| ((h & 0xffff) + (h >> 16)) as f32 / 65536.0 - 1.0;
            let common = triangle(h);
            for (c, value) in value.iter().enumerate() {
                let own = triangle(mix(h ^ (c as u32 + 1)));
                line[x * 3 + c] = (value + 2.2 * common + 1.8 * own + 0.5).clamp(1.0, 255.0) as u8;
            }
        }
    });
    out
}
