//! Batches: places drawn at random or as hard negatives, and the records that cut and change their patches. All of it hangs
//! on the seed and the step's number alone.

use super::config::TrainConfig;
use super::loss::Loss;
use crate::eval::HeldOut;
use crate::kernels::sampler::PatchRecord;
use crate::random::Random;
use crate::scene::{ScenePair, compose};
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
    /// Shares of data in the scenes, summed: larger scenes are drawn more often.
    shares: Vec<f64>,
}

impl<'s> Field<'s> {
    pub(super) fn new(scenes: &'s [ScenePair]) -> Result<Self> {
        let mut sum = 0.0;
        let mut shares = Vec::new();
        for s in scenes {
            let (w, h) = (f64::from(s.map.raster.width()), f64::from(s.map.raster.height()));
            sum += s.map_mask.share(0.0, 0.0, w, h) * w * h;
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

/// How a patch's pixels are changed at random; the fields are [`super::Augment`]'s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) gain: f64,
    pub(super) offset: f64,
    pub(super) mixing: f64,
    pub(super) grey: f64,
    pub(super) random_channel: f64,
    pub(super) recolour: f64,
    pub(super) noise: f64,
    pub(super) speckle_looks: u32,
}

/// 1 or -1.
pub(super) fn sign(r: &mut Random) -> f64 {
    if r.unit() < 0.5 { -1.0 } else { 1.0 }
}

/// A rotation, a scale and a mirror image, as the sampler takes them. Quarter turns stay exact: cosine and sine of multiples of 90
/// degrees are rounded to the fixed point of the record.
pub(super) fn turn(angle: f64, scale: f64, flip: f64) -> [[f64; 2]; 2] {
    let (sin, cos) = angle.sin_cos();
    [[flip * scale * cos, -scale * sin], [flip * scale * sin, scale * cos]]
}

impl Look {
    fn contrast(&self, r: &mut Random) -> f32 {
        let g = 1.0 + r.unit() * self.gain;
        (if sign(r) > 0.0 { g } else { 1.0 / g }) as f32
    }

    pub(super) fn change_map(&self, record: PatchRecord, random: &mut Random) -> PatchRecord {
        let grey = random.unit() < self.grey;
        let overall = self.contrast(random);
        // What all three bands show instead; no number is drawn where neither is asked for, so that older runs come out the same.
        let same: Option<[f64; 3]> = if self.random_channel > 0.0 && random.unit() < self.random_channel {
            let band = random.below(3);
            Some(std::array::from_fn(|k| f64::from(u8::from(k == band))))
        } else if self.recolour > 0.0 && random.unit() < self.recolour {
            let weights: [f64; 3] = std::array::from_fn(|_| random.range(-1.0, 1.0));
            let length = weights.iter().map(|w| w.abs()).sum::<f64>().max(0.1);
            Some(weights.map(|w| w / length))
        } else {
            grey.then_some([1.0 / 3.0; 3])
        };
        let mixed: [[f32; 3]; 3] = std::array::from_fn(|b| {
            let weights: [f64; 3] = std::array::from_fn(|k| match same {
                Some(weights) => weights[k],
                None => f64::from(u8::from(b == k)) + random.range(-self.mixing, self.mixing),
            });
            weights.map(|w| w as f32 * overall)
        });
        let common = random.range(-self.offset, self.offset);
        let offsets = std::array::from_fn(|_| (common + random.range(-self.offset, self.offset) / 3.0) as f32);
        record.with_colour(mixed, offsets).with_noise((random.unit() * self.noise) as f32).with_rng(random.bits() as u32, 0)
    }

    pub(super) fn change_sar(&self, record: PatchRecord, db_scale: f32, random: &mut Random) -> PatchRecord {
        let g = self.contrast(random);
        let o = random.range(-self.offset, self.offset) as f32;
        let record = record.with_gain([g, 0.0, 0.0], [o, 0.0, 0.0]).with_bands([true, false, false]).with_rng(random.bits() as u32, 1);
        if self.speckle_looks == 0 || random.unit() >= 0.5 {
            return record;
        }
        let most = crate::kernels::sampler::MAX_LOOKS;
        let least = self.speckle_looks.min(most);
        record.with_speckle(least + random.below((most - least + 1) as usize) as u32, db_scale)
    }
}

/// How a pair lies: turned (radians) and mirrored together.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pose {
    angle: f64,
    flip: f64,
}

/// The patches of a step.
#[derive(Debug, Default)]
pub struct Cuts {
    /// What cuts the maps: the pairs', then those that are negatives alone.
    pub map: Vec<PatchRecord>,
    /// What cuts the SAR patches.
    pub sar: Vec<PatchRecord>,
    poses: Vec<Pose>,
    /// Centres of the SAR patches, map pixels.
    sar_px: Vec<[f64; 2]>,
}

/// Draws the batches of a run.
#[derive(Debug)]
pub struct Batcher<'s> {
    field: Field<'s>,
    config: &'s TrainConfig,
    held_out: Option<HeldOut>,
}

/// A place must have data in this share of its pixels, on the map and in the SAR image.
const MIN_VALID: f64 = 0.9;
/// Places in a geographic cluster.
const CLUSTER: usize = 4;
/// A place is sought this often before a scene is given up.
pub(super) const TRIES: usize = 20_000;

/// Streams of random numbers.
const PLACES: u64 = 2;
const POOL: u64 = 3;
const LOOKS: u64 = 4;
const ANCHORS: u64 = 5;
const STYLES: u64 = 6;
const NEGATIVES: u64 = 9;

/// Both parameters of the beta distribution that says how much of its own statistics an image keeps: mostly nearly all or nearly none.
const STYLE_BETA: f64 = 0.1;

impl<'s> Batcher<'s> {
    /// For some scenes.
    ///
    /// # Errors
    /// No scene with data.
    pub fn new(scenes: &'s [ScenePair], config: &'s TrainConfig) -> Result<Self> {
        Ok(Self { field: Field::new(scenes)?, config, held_out: config.held_out() })
    }

    /// How far the SAR patch of a pair may lie from its place along an axis, map pixels.
    fn reach(&self) -> f64 {
        let (c, a) = (self.config, &self.config.augment);
        a.shift * f64::from(c.patch) / f64::from(c.views)
    }

    fn usable(&self, p: Place) -> Result<bool> {
        let s = &self.field.scenes[p.scene as usize];
        let side = f64::from(self.config.patch);
        let tall = side * (1.0 + self.config.augment.scale) + 2.0 * (self.reach() + self.config.augment.registration_px);
        if self.held_out.is_some_and(|h| h.touches(p.map_px[1], tall)) {
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
        Err(Error::invalid(format!(
            "no place found where both map and SAR have data in {:.0} % of a patch of {} map pixels: do the images overlap?",
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
            self.config.batch,
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

    /// The patches of a step at its places, changed at random: `positives` pairs a place, which lie alike, and maps that are negatives alone.
    ///
    /// # Errors
    /// A patch too large for the sampler; a position outside a projection's domain; no room for negatives.
    pub fn cuts(&self, step: usize, places: &[Place]) -> Result<Cuts> {
        let c = self.config;
        let mut out = Cuts::default();
        for i in 0..c.batch {
            let place = places[i / c.positives];
            let mut random = Random::new(c.seed, LOOKS << 40 | (step * c.batch + i) as u64);
            let own = self.pose(&mut random);
            let pose = if i.is_multiple_of(c.positives) { own } else { out.poses[i - 1] };
            self.pair(place, pose, &mut random, &mut out)?;
            out.poses.push(pose);
        }
        let mut random = Random::new(c.seed, NEGATIVES << 40 | step as u64);
        for _ in 0..c.map_negatives {
            let place = self.negative(places, &mut random)?;
            let Pose { angle, flip } = self.pose(&mut random);
            let matrix = turn(angle, self.scale(&mut random), flip);
            let record = PatchRecord::from_affine(place.scene, place.map_px, matrix, c.encoder.input)?;
            out.map.push(c.augment.look().change_map(record, &mut random));
        }
        Ok(out)
    }

    /// A place whose map alone is shown: of the ground whose SAR image is held out, where there is such; none of the pairs'.
    fn negative(&self, places: &[Place], random: &mut Random) -> Result<Place> {
        let side = f64::from(self.config.patch);
        for _ in 0..TRIES {
            let p = self.field.anywhere(random);
            let there = self.field.scenes[p.scene as usize].map_share(p.map_px, side) >= MIN_VALID;
            if there && self.held_out.is_none_or(|h| h.touches(p.map_px[1], side)) && !places.iter().any(|q| self.same(*q, p)) {
                return Ok(p);
            }
        }
        Err(Error::invalid("no place found for map_negatives: leave them out, or use larger scenes"))
    }

    /// What each SAR patch of a step has to do with each map [B, B], row by row: for InfoNCE the weight of the pair as a positive (with `overlap`
    /// the intersection of their ground over its union, where they lie alike; else 1 for the maps of its place), for triplets 1 for a positive, 0 for a negative,
    /// -1 where they share ground and are neither.
    pub fn weights(&self, places: &[Place], cuts: &Cuts) -> Vec<f32> {
        let c = self.config;
        let side = f64::from(c.patch);
        let weight = |i: usize, j: usize| -> f64 {
            let (a, b) = (places[i / c.positives], places[j / c.positives]);
            let shared = match a.scene == b.scene {
                true => (0..2).map(|d| (side - (cuts.sar_px[i][d] - b.map_px[d]).abs()).max(0.0)).product::<f64>(),
                false => 0.0,
            };
            let iou = shared / (2.0 * side * side - shared);
            let same = i / c.positives == j / c.positives;
            match c.loss {
                Loss::Infonce if c.overlap => f64::from(u8::from(cuts.poses[i] == cuts.poses[j])) * iou,
                Loss::Triplet if c.overlap && !same && iou > 0.0 => -1.0,
                _ => f64::from(u8::from(same)),
            }
        };
        (0..c.batch * c.batch).map(|k| weight(k / c.batch, k % c.batch) as f32).collect()
    }

    /// Cells of all scenes on a grid of patches.
    pub fn cells(&self) -> usize {
        (0..self.field.scenes.len()).map(|s| self.grid(s).iter().product::<usize>()).sum()
    }

    /// Columns and rows of a scene's cells.
    fn grid(&self, scene: usize) -> [usize; 2] {
        let raster = &self.field.scenes[scene].map.raster;
        [raster.width(), raster.height()].map(|n| n.div_ceil(self.config.patch) as usize)
    }

    /// The cell that each pair of a step lies in.
    pub fn labels(&self, places: &[Place]) -> Vec<u32> {
        let of = |p: Place| {
            let before: usize = (0..p.scene as usize).map(|s| self.grid(s).iter().product::<usize>()).sum();
            let side = f64::from(self.config.patch);
            let [x, y] = p.map_px.map(|v| (v / side) as usize);
            (before + y * self.grid(p.scene as usize)[0] + x) as u32
        };
        (0..self.config.batch).map(|i| of(places[i / self.config.positives])).collect()
    }

    /// How much of its own feature statistics each pair's images keep in a step; 1 for all.
    pub(super) fn styles(&self, step: usize) -> Vec<f32> {
        let mut random = Random::new(self.config.seed, STYLES << 40 | step as u64);
        let mixed = self.config.augment.mix_statistics;
        (0..self.config.batch).map(|_| if random.unit() < mixed { random.beta(STYLE_BETA) as f32 } else { 1.0 }).collect()
    }

    fn pose(&self, random: &mut Random) -> Pose {
        let a = &self.config.augment;
        let turns = if a.quarter_turns { random.below(4) as f64 } else { 0.0 };
        let angle = turns * std::f64::consts::FRAC_PI_2 + random.range(-a.rotation_deg, a.rotation_deg).to_radians();
        Pose { angle, flip: if a.mirror { sign(random) } else { 1.0 } }
    }

    /// A scale at random, map pixels a network pixel.
    fn scale(&self, random: &mut Random) -> f64 {
        let (c, a) = (self.config, &self.config.augment);
        f64::from(c.patch) / c.encoder.input as f64 * random.range(1.0 - a.scale, 1.0 + a.scale)
    }

    fn pair(&self, place: Place, Pose { angle, flip }: Pose, random: &mut Random, out: &mut Cuts) -> Result<()> {
        let a = &self.config.augment;
        let input = self.config.encoder.input;
        let scene = &self.field.scenes[place.scene as usize];
        let scale = self.scale(random);
        let map_matrix = turn(angle, scale, flip);
        let relative = random.range(-a.relative_rotation_deg, a.relative_rotation_deg);
        let stretch = 1.0 + random.range(-a.relative_rotation_deg, a.relative_rotation_deg) / 100.0;
        let reach = self.reach();
        let shift = [0, 1].map(|_| random.range(-reach, reach) + random.range(-a.registration_px, a.registration_px));
        let sar_at = [place.map_px[0] + shift[0], place.map_px[1] + shift[1]];
        let sar_matrix = compose(scene.link().jacobian(sar_at)?, turn(angle + relative.to_radians(), scale * stretch, flip));

        let map = PatchRecord::from_affine(place.scene, place.map_px, map_matrix, input)?;
        out.map.push(a.look().change_map(map, random));
        let sar = PatchRecord::from_affine(place.scene, scene.link().apply(sar_at)?, sar_matrix, input)?;
        out.sar.push(a.look().change_sar(sar, scene.sar.db_scale(), random));
        out.sar_px.push(sar_at);
        Ok(())
    }
}
