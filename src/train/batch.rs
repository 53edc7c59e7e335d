//! The places of batches: drawn at random or as hard negatives. All of it hangs on the seed and the step's number alone.

use super::config::TrainConfig;
use crate::eval::HeldOut;
use crate::kernels::sampler::PatchRecord;
use crate::random::Random;
use crate::scene::ScenePair;
use crate::{Error, Result};

/// Where a pair is cut.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The scene's number.
    pub scene: u32,
    /// Centre, map pixels.
    pub map_px: [f64; 2],
}

/// The ground of some scenes.
#[derive(Debug)]
pub(super) struct Field<'s> {
    pub(super) scenes: &'s [ScenePair],
    /// How often each scene is drawn, summed.
    shares: Vec<f64>,
}

impl<'s> Field<'s> {
    /// Scenes are drawn by `shares`, one for each, or by their data's area where there are none.
    pub(super) fn new(scenes: &'s [ScenePair], by: &[f64]) -> Result<Self> {
        if !(by.is_empty() || by.len() == scenes.len()) {
            return Err(Error::invalid(format!(
                "training configuration: shares names {} scenes and sets of pairs, of which there are {}",
                by.len(),
                scenes.len()
            )));
        }
        let mut sum = 0.0;
        let mut shares = Vec::new();
        for (i, s) in scenes.iter().enumerate() {
            let (w, h) = (f64::from(s.map.raster.width()), f64::from(s.map.raster.height()));
            let data = s.map_mask.share(0.0, 0.0, w, h);
            sum += by.get(i).map_or(data * w * h, |share| if data > 0.0 { *share } else { 0.0 });
            shares.push(sum);
        }
        if sum <= 0.0 {
            return Err(Error::invalid("no training scene has data"));
        }
        Ok(Self { scenes, shares })
    }

    /// Anywhere, data or not.
    pub(super) fn anywhere(&self, random: &mut Random) -> Place {
        let at = random.unit() * self.shares[self.shares.len() - 1];
        let scene = self.shares.iter().position(|s| at < *s).unwrap_or(0);
        let raster = &self.scenes[scene].map.raster;
        Place { scene: scene as u32, map_px: [random.unit() * f64::from(raster.width()), random.unit() * f64::from(raster.height())] }
    }
}

/// Draws the batches of a run.
#[derive(Debug)]
pub struct Batcher<'s> {
    pub(super) field: Field<'s>,
    pub(super) config: &'s TrainConfig,
    pub(super) held_out: Option<HeldOut>,
}

/// A place must have data in this share of its pixels, on the map and in the SAR image.
pub(super) const MIN_VALID: f64 = 0.9;
/// Places in a geographic cluster.
const CLUSTER: usize = 4;
/// A place is sought this often before a scene is given up.
pub(super) const TRIES: usize = 20_000;

/// Streams of random numbers.
const PLACES: u64 = 2;
const POOL: u64 = 3;
const ANCHORS: u64 = 5;

impl<'s> Batcher<'s> {
    /// For some scenes.
    ///
    /// # Errors
    /// No scene with data.
    pub fn new(scenes: &'s [ScenePair], config: &'s TrainConfig) -> Result<Self> {
        let batcher = Self { field: Field::new(scenes, &[])?, config, held_out: config.held_out() };
        batcher.check_strips()?;
        Ok(batcher)
    }

    /// Refuses strips that hold nothing out of a scene, or leave no room between them.
    fn check_strips(&self) -> Result<()> {
        let Some(strips) = self.held_out else { return Ok(()) };
        let share = self.config.held_out;
        for s in self.field.scenes {
            let (tall, need) = (f64::from(s.map.raster.height()), strips.first_end());
            if tall < need {
                return Err(Error::invalid(format!(
                    "held_out = {share} holds nothing out of {}, {tall} px tall: its first strip ends at {need} px; take a larger held_out, or a taller scene",
                    s.map.raster.path().display()
                )));
            }
        }
        if self.tall() >= strips.gap() {
            return Err(Error::invalid(format!(
                "held_out = {share} leaves {:.0} map pixels between its strips, and a pair may reach over {:.0}: take a smaller held_out, or less augment.shift",
                strips.gap(),
                self.tall()
            )));
        }
        Ok(())
    }

    /// How tall the rows are that a pair's SAR patch may show, map pixels: displaced, turned and scaled as far as may be.
    fn tall(&self) -> f64 {
        let a = &self.config.augment;
        let turn = (a.rotation_deg + a.relative_rotation_deg).min(45.0).to_radians();
        let larger = (1.0 + a.scale) * (1.0 + a.relative_rotation_deg / 100.0) * (turn.cos() + turn.sin());
        f64::from(self.config.patch) * larger + 2.0 * (self.reach() + a.registration_px)
    }

    /// How far the SAR patch of a pair may lie from its place along an axis, map pixels.
    pub(super) fn reach(&self) -> f64 {
        let (c, a) = (self.config, &self.config.augment);
        a.shift * f64::from(c.patch) / f64::from(c.views)
    }

    fn usable(&self, p: Place) -> Result<bool> {
        let s = &self.field.scenes[p.scene as usize];
        let side = f64::from(self.config.patch);
        if self.held_out.is_some_and(|h| h.touches(p.map_px[1], self.tall())) {
            return Ok(false);
        }
        Ok(s.map_share(p.map_px, side) >= MIN_VALID && s.sar_share(p.map_px, side)? >= MIN_VALID)
    }

    fn draw(&self, random: &mut Random) -> Result<Place> {
        for _ in 0..TRIES {
            let p = self.field.anywhere(random);
            if self.usable(p)? {
                return Ok(p);
            }
        }
        let shown = if self.held_out.is_some() { ", outside the ground that held_out keeps," } else { "" };
        Err(Error::invalid(format!(
            "no place found where both map and SAR have data{shown} in {:.0} % of a patch of {} map pixels: do the images overlap?",
            MIN_VALID * 100.0,
            self.config.patch
        )))
    }

    /// Whether two places share so much ground that one must not be the other's negative (a third of a patch or closer).
    fn same(&self, a: Place, b: Place) -> bool {
        let near = f64::from(self.config.patch) / 3.0;
        a.scene == b.scene && (a.map_px[0] - b.map_px[0]).abs() < near && (a.map_px[1] - b.map_px[1]).abs() < near
    }

    fn crowded(&self) -> Error {
        Error::invalid(format!(
            "{} places at least {} map pixels apart do not fit the scenes; use a smaller batch or patch, or larger scenes",
            self.config.places(),
            self.config.patch / 3
        ))
    }

    /// The places of a step: `near` of them in clusters of neighbours, the others anywhere; none twice.
    ///
    /// # Errors
    /// No usable place, or not enough of them far enough apart.
    pub fn places(&self, step: usize) -> Result<Vec<Place>> {
        let mut random = Random::new(self.config.seed, PLACES << 40 | step as u64);
        let count = self.config.places();
        let mut out: Vec<Place> = Vec::with_capacity(count);
        let clustered = (self.config.near * count as f64) as usize;
        let reach = 2.0 * f64::from(self.config.patch);
        let mut misses = 0;
        while out.len() < count {
            let anchor = self.draw(&mut random)?;
            if out.iter().any(|p| self.same(*p, anchor)) {
                misses += 1;
                if misses > TRIES {
                    return Err(self.crowded());
                }
                continue;
            }
            out.push(anchor);
            if out.len() > clustered {
                continue;
            }
            for _ in 0..8 * CLUSTER {
                if out.len() >= clustered || out.len().is_multiple_of(CLUSTER) {
                    break;
                }
                let mut p = anchor;
                p.map_px[0] += random.range(-reach, reach);
                p.map_px[1] += random.range(-reach, reach);
                if self.usable(p)? && !out.iter().any(|q| self.same(*q, p)) {
                    out.push(p);
                }
            }
        }
        Ok(out)
    }

    /// Places whose embedding an epoch's hard negatives come from.
    ///
    /// # Errors
    /// No usable place.
    pub fn pool(&self, epoch: usize) -> Result<Vec<Place>> {
        let mut random = Random::new(self.config.seed, POOL << 40 | epoch as u64);
        (0..self.config.pool).map(|_| self.draw(&mut random)).collect()
    }

    /// The places of a step with hard negatives from a pool: a share `similar` of them are the nearest (8 each) to random ones in
    /// the embedding of the pool's maps (`vectors`, unit rows of `dim`), the rest as [`Batcher::places`].
    ///
    /// # Errors
    /// As [`Batcher::places`].
    pub fn similar_places(&self, step: usize, pool: &[Place], vectors: &[f32], dim: usize) -> Result<Vec<Place>> {
        let mut random = Random::new(self.config.seed, ANCHORS << 40 | step as u64);
        let count = self.config.places();
        let wanted = (self.config.similar * count as f64) as usize;
        let mut out: Vec<Place> = Vec::with_capacity(count);
        // A few anchors with their nearest each: one anchor alone would fill the batch with a single kind of ground.
        while out.len() < wanted {
            let anchor = random.below(pool.len());
            let own = &vectors[anchor * dim..][..dim];
            let mut order: Vec<(f32, usize)> =
                (0..pool.len()).map(|i| (vectors[i * dim..][..dim].iter().zip(own).map(|(a, b)| a * b).sum(), i)).collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut taken = 0;
            for (_, i) in order {
                if taken == 8 || out.len() == wanted {
                    break;
                }
                if !out.iter().any(|q| self.same(*q, pool[i])) {
                    out.push(pool[i]);
                    taken += 1;
                }
            }
            if taken == 0 {
                // The pool has nothing new near this anchor: the rest is drawn below.
                break;
            }
        }
        for p in self.places(step)? {
            if out.len() == count {
                break;
            }
            if !out.iter().any(|q| self.same(*q, p)) {
                out.push(p);
            }
        }
        let mut misses = 0;
        while out.len() < count {
            let p = self.draw(&mut random)?;
            if !out.iter().any(|q| self.same(*q, p)) {
                out.push(p);
            } else {
                misses += 1;
                if misses > TRIES {
                    return Err(self.crowded());
                }
            }
        }
        Ok(out)
    }

    /// A map patch as the index cuts it, without augmentation.
    ///
    /// # Errors
    /// A patch too large for the sampler.
    pub fn plain_record(&self, place: Place) -> Result<PatchRecord> {
        let input = self.config.encoder.input;
        Ok(PatchRecord::new(place.scene, place.map_px, f64::from(self.config.patch) / input as f64, 0.0, false, input)?)
    }
}
