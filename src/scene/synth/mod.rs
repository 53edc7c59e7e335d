//! A synthetic city and its surroundings, seen by an optical sensor and by a radar.
//!
//! The two images are rendered from one plan, so that the same pixel of both is the same place on the ground, but for
//! what side-looking does to things that stand up: in the radar image buildings and trees lean towards the sensor
//! (layover) and hide what is behind them (shadow). The scene stands in for real imagery in the demo and in tests.
//!
//! A seed gives the same bytes on every machine: numbers come from hashes of coordinates, and only correctly rounded
//! float operations are used.

mod cover;
mod layout;
mod noise;
mod optical;
mod sar;
mod ships;
#[cfg(test)]
mod tests;
mod town;

use cover::{Sampler, Tally};
use layout::Layout;
use rayon::prelude::*;

pub use ships::{ShipConfig, ShipScene, ships};

/// EPSG code of the scene's coordinate system, World Mercator.
pub const EPSG: u32 = 3395;
/// Easting of the top-left corner, metres: about 40.4 degrees west, in the middle of the North Atlantic, where no real
/// scene can be mistaken for this one.
pub const ORIGIN_X: f64 = -4_500_000.0;
/// Northing of the top-left corner, metres: about 41 degrees north.
pub const ORIGIN_Y: f64 = 5_000_000.0;

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthConfig {
    /// Seed of the plan and of the noise.
    pub seed: u64,
    /// Width and height in pixels.
    pub size: u32,
    /// Side of a pixel in metres, taken into 0.5..=1000. (Mercator's scale is ignored: a projected metre counts as one on the ground.)
    pub pixel_m: f64,
    /// Incidence angle of the radar from the vertical, degrees. It looks along +x: the sensor is at the left.
    pub incidence_deg: f64,
    /// Looks averaged in the radar image: its intensity speckle is gamma distributed with this shape.
    pub looks: u32,
}

impl Default for SynthConfig {
    fn default() -> Self {
        Self { seed: 1, size: 2048, pixel_m: 10.0, incidence_deg: 35.0, looks: 4 }
    }
}

/// A generated scene. No pixel of either image is 0, which stands for "no data".
#[derive(Clone, Debug, PartialEq)]
pub struct SynthScene {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Side of a pixel in metres.
    pub pixel_m: f64,
    /// Optical image: RGB, rows, columns, channels.
    pub optical: Vec<u8>,
    /// Radar amplitude image, one band.
    pub sar: Vec<u8>,
    /// Height of the surface (terrain with buildings and trees), metres.
    pub height_m: Vec<f32>,
}

impl SynthScene {
    /// Affine map from pixel corners to EPSG:3395, in GDAL's order: x0, dx/column, dx/row, y0, dy/column, dy/row.
    pub fn geotransform(&self) -> [f64; 6] {
        [ORIGIN_X, self.pixel_m, 0.0, ORIGIN_Y, 0.0, -self.pixel_m]
    }
}

/// Generates a scene. A size of 0 gives an empty one.
pub fn generate(config: &SynthConfig) -> SynthScene {
    let n = config.size as usize;
    let pixel_m = config.pixel_m.clamp(0.5, 1000.0);
    let pixel = pixel_m as f32;
    let layout = Layout::new(config.seed, n as f32 * pixel);
    let mut albedo = vec![[0u8; 3]; n * n];
    let mut terrain = vec![0f32; n * n];
    let mut object = vec![0f32; n * n];
    let mut sigma = vec![0f32; n * n];
    let mut bounce = vec![0f32; n * n];
    let rows = (albedo.par_chunks_mut(n.max(1)), terrain.par_chunks_mut(n.max(1)), object.par_chunks_mut(n.max(1)));
    let rows = (rows.0, rows.1, rows.2, sigma.par_chunks_mut(n.max(1)), bounce.par_chunks_mut(n.max(1)));
    rows.into_par_iter().enumerate().for_each(|(y, (albedo, terrain, object, sigma, bounce))| {
        for x in 0..n {
            let (gx, gy) = ((x as f32 + 0.5) * pixel, (y as f32 + 0.5) * pixel);
            let sampler = Sampler::new(&layout, gx, gy, pixel);
            let mut tally = Tally::default();
            for k in 0..4 {
                let at = |bit: usize| (bit as f32 - 0.5) * 0.5 * pixel;
                tally.add(&sampler.sample(gx + at(k & 1), gy + at(k >> 1)));
            }
            albedo[x] = tally.colour();
            terrain[x] = sampler.terrain;
            object[x] = tally.height();
            sigma[x] = tally.sigma();
            bounce[x] = tally.bounce();
        }
    });
    if n == 0 {
        return SynthScene { width: 0, height: 0, pixel_m, optical: vec![], sar: vec![], height_m: vec![] };
    }
    let optical = optical::render(n, pixel, &albedo, &terrain, &object, layout.seed ^ 0x0b);
    drop(albedo);
    let surface = sar::Surface { width: n, pixel_m: pixel, terrain: &terrain, object: &object, sigma: &sigma, bounce: &bounce };
    let power = sar::reflectivity(&surface, sar::cotangent(config.incidence_deg));
    let sar = sar::detect(&power, n, config.looks.max(1), layout.seed ^ 0x5a);
    let height_m = terrain.iter().zip(&object).map(|(t, o)| t + o).collect();
    SynthScene { width: config.size, height: config.size, pixel_m, optical, sar, height_m }
}
