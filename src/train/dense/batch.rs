//! Batches of dense training: windows of the map, SAR patches cut from the same ground at whole feature pixels. All of it hangs on the
//! seed, the step's number and the places that were hard alone.

use super::config::DenseAugment;
use crate::kernels::sampler::PatchRecord;
use crate::random::Random;
use crate::scene::{ScenePair, compose};
use crate::train::batch::{Field, Place, TRIES};
use crate::train::look::{sign, turn};
use crate::{Error, Result};

/// Sizes of a batch, in feature pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) windows: usize,
    pub(super) window: usize,
    pub(super) patches: usize,
    pub(super) patch: usize,
}

/// A batch: what the sampler cuts, and the truth.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) map: Vec<PatchRecord>,
    pub(super) sar: Vec<PatchRecord>,
    /// Row, column, window of each patch's true offset, and 0.
    pub(super) targets: Vec<f32>,
    /// Middles of the windows.
    pub(super) places: Vec<Place>,
}

/// Draws batches.
#[derive(Debug)]
pub(super) struct Windows<'s> {
    field: Field<'s>,
    sizes: Sizes,
    augment: DenseAugment,
    seed: u64,
    /// Map pixels a feature pixel, of each scene.
    scales: Vec<f64>,
}

/// A window must have data in this share of its ground on the map.
const WINDOW_VALID: f64 = 0.75;
/// A patch in this share on the map; and in all of it in the SAR image, to the accuracy of the mask.
const PATCH_VALID: [f64; 2] = [0.9, 0.999];
/// Offsets tried in a window before another is drawn.
const OFFSETS: usize = 64;
/// A hard place is moved by up to this share of a window, so that it is not learnt by heart.
const MOVED: f64 = 0.25;

/// Streams of random numbers.
const PLACES: u64 = 12;
const LOOKS: u64 = 13;

impl<'s> Windows<'s> {
    pub(super) fn new(
        scenes: &'s [ScenePair],
        shares: &[f64],
        pixel_m: f64,
        sizes: Sizes,
        augment: DenseAugment,
        seed: u64,
    ) -> Result<Self> {
        let scales = scenes.iter().map(|s| map_scale(s, pixel_m)).collect::<Result<_>>()?;
        Ok(Self { field: Field::new(scenes, shares)?, sizes, augment, seed, scales })
    }

    /// Side of the upright square about a window however it is turned and scaled, map pixels.
    fn extent(&self, scene: u32) -> f64 {
        let turned = self.augment.rotation_deg.min(45.0).to_radians();
        self.sizes.window as f64 * self.scales[scene as usize] * (1.0 + self.augment.scale) * (turned.cos() + turned.sin())
    }

    fn usable(&self, p: Place, taken: &[Drawn]) -> bool {
        let s = &self.field.scenes[p.scene as usize];
        let side = self.extent(p.scene);
        let apart = |q: &Drawn| q.place.scene != p.scene || [0, 1].iter().any(|i| (q.place.map_px[*i] - p.map_px[*i]).abs() >= side);
        s.map_share(p.map_px, side) >= WINDOW_VALID && taken.iter().all(apart)
    }

    /// The batch of a step. A share of the windows are drawn near `hard` places; no two windows share ground.
    pub(super) fn batch(&self, step: usize, hard: &[Place], share: f64) -> Result<Batch> {
        let mut random = Random::new(self.seed, PLACES << 40 | step as u64);
        let wanted = if hard.is_empty() { 0 } else { (share * self.sizes.windows as f64).round() as usize };
        let mut drawn: Vec<Drawn> = Vec::with_capacity(self.sizes.windows);
        let mut tries = 0;
        while drawn.len() < self.sizes.windows {
            tries += 1;
            if tries > TRIES {
                return Err(self.crowded(drawn.len()));
            }
            // Hard places that do not work out (neighbours of one taken, mostly) are given up after a while.
            let place = if drawn.len() < wanted && tries < TRIES / 2 {
                let mut p = hard[random.below(hard.len())];
                let reach = MOVED * self.extent(p.scene);
                p.map_px.iter_mut().for_each(|v| *v += random.range(-reach, reach));
                p
            } else {
                self.field.anywhere(&mut random)
            };
            if self.usable(place, &drawn)
                && let Some(one) = self.window(place, step, drawn.len())?
            {
                drawn.push(one);
            }
        }
        Ok(collect(drawn))
    }

    /// Windows side by side for a validation: as many as are found, at least one; patches go round.
    pub(super) fn fixed(&self) -> Result<Batch> {
        let mut random = Random::new(self.seed, PLACES << 40);
        let mut drawn: Vec<Drawn> = Vec::new();
        let mut tries = 0;
        while drawn.len() < self.sizes.windows && tries < TRIES {
            let place = self.field.anywhere(&mut random);
            if self.usable(place, &drawn)
                && let Some(one) = self.window(place, 0, drawn.len())?
            {
                drawn.push(one);
            }
            tries += 1;
        }
        if drawn.is_empty() {
            return Err(self.crowded(0));
        }
        Ok(collect(drawn))
    }

    fn crowded(&self, found: usize) -> Error {
        let side = self.extent(0).ceil();
        Error::invalid(format!(
            "{} windows of {side} map pixels side by side, with data in {:.0} % of each and SAR patches in it, do not fit the scenes ({found} found); use fewer or smaller windows, or larger scenes",
            self.sizes.windows,
            WINDOW_VALID * 100.0
        ))
    }

    /// A window and its patches; none where no patch lies on data.
    fn window(&self, place: Place, step: usize, number: usize) -> Result<Option<Drawn>> {
        let (Sizes { windows, window, patches, patch }, a) = (self.sizes, &self.augment);
        let mut random = Random::new(self.seed, LOOKS << 40 | (step * windows + number) as u64);
        // The same numbers for another try at this window would be no harm, but its place should change them.
        random = Random::new(random.bits() ^ place.map_px[0].to_bits(), place.map_px[1].to_bits());
        let scene = &self.field.scenes[place.scene as usize];
        let turns = if a.quarter_turns { random.below(4) as f64 } else { 0.0 };
        let angle = turns * std::f64::consts::FRAC_PI_2 + random.range(-a.rotation_deg, a.rotation_deg).to_radians();
        let flip = if a.mirror { sign(&mut random) } else { 1.0 };
        let scale = self.scales[place.scene as usize] * random.range(1.0 - a.scale, 1.0 + a.scale);
        let matrix = turn(angle, scale, flip);
        let map = PatchRecord::from_affine(place.scene, place.map_px, matrix, window)?;
        let map = a.look().change_map(map, &mut random);
        // A patch turned a little reaches beyond its square.
        let (sin, cos) = a.relative_rotation_deg.min(45.0).to_radians().sin_cos();
        let side = patch as f64 * scale * (1.0 + a.relative_scale) * (sin + cos);
        let mut drawn = Drawn { place, map, patches: Vec::new() };
        let wanted = patches.div_ceil(windows);
        for _ in 0..OFFSETS * wanted {
            if drawn.patches.len() == wanted {
                break;
            }
            let offset = [0, 1].map(|_| random.below(window - patch + 1));
            // From the window's middle to the patch's, in feature pixels: x, y.
            let d = [offset[1], offset[0]].map(|o| o as f64 + (patch as f64 - window as f64) / 2.0);
            let at = [0, 1].map(|i| place.map_px[i] + matrix[i][0] * d[0] + matrix[i][1] * d[1]);
            if scene.map_share(at, side) < PATCH_VALID[0] || scene.sar_share(at, side)? < PATCH_VALID[1] {
                continue;
            }
            let relative = random.range(-a.relative_rotation_deg, a.relative_rotation_deg).to_radians();
            let stretch = random.range(1.0 - a.relative_scale, 1.0 + a.relative_scale);
            let own = compose(scene.link().jacobian(at)?, turn(angle + relative, scale * stretch, flip));
            let sar = PatchRecord::from_affine(place.scene, scene.link().apply(at)?, own, patch)?;
            drawn.patches.push((a.look().change_sar(sar, scene.sar.db_scale(), &mut random), offset));
        }
        Ok(if drawn.patches.len() == wanted { Some(drawn) } else { None })
    }
}

/// A window, and its patches with their offsets (row, column).
struct Drawn {
    place: Place,
    map: PatchRecord,
    patches: Vec<(PatchRecord, [usize; 2])>,
}

fn collect(drawn: Vec<Drawn>) -> Batch {
    let mut batch = Batch::default();
    for (w, d) in drawn.into_iter().enumerate() {
        batch.places.push(d.place);
        batch.map.push(d.map);
        for (sar, [row, column]) in d.patches {
            batch.sar.push(sar);
            batch.targets.extend([row as f32, column as f32, w as f32, 0.0]);
        }
    }
    batch
}

/// Map pixels a feature pixel.
pub(super) fn map_scale(scene: &ScenePair, pixel_m: f64) -> Result<f64> {
    let (x, y) = scene.map.raster.ground_pixel_size()?;
    Ok(pixel_m / (x * y).sqrt())
}
