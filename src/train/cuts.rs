//! The patches of a step: where they are cut, how they are changed, and what the loss is told of them. All of it hangs on the seed and the
//! step's number alone.

use super::batch::{Batcher, MIN_VALID, Place, TRIES};
use super::look::{sign, turn};
use super::loss::Loss;
use crate::kernels::sampler::PatchRecord;
use crate::random::Random;
use crate::scene::compose;
use crate::{Error, Result};

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

/// Streams of random numbers; [`super::batch`] has those below.
const LOOKS: u64 = 4;
const STYLES: u64 = 6;
const NEGATIVES: u64 = 9;

/// Both parameters of the beta distribution that says how much of its own statistics an image keeps: mostly nearly all or nearly none.
const STYLE_BETA: f64 = 0.1;

impl Batcher<'_> {
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
            let place = self.negative(places, &out.sar_px, &mut random)?;
            let Pose { angle, flip } = self.pose(&mut random);
            let matrix = turn(angle, self.scale(&mut random), flip);
            let record = PatchRecord::from_affine(place.scene, place.map_px, matrix, c.encoder.input)?;
            out.map.push(c.augment.look().change_map(record, &mut random));
        }
        Ok(out)
    }

    /// A place whose map alone is shown: of the ground whose SAR image is held out, where there is such; it shares none with a pair's SAR patch.
    fn negative(&self, places: &[Place], sar_px: &[[f64; 2]], random: &mut Random) -> Result<Place> {
        let side = f64::from(self.config.patch);
        let shares = |p: Place| {
            let near = |q: &[f64; 2]| (0..2).all(|d| (q[d] - p.map_px[d]).abs() < side);
            sar_px.iter().enumerate().any(|(i, q)| places[i / self.config.positives].scene == p.scene && near(q))
        };
        for _ in 0..TRIES {
            let p = self.field.anywhere(random);
            let there = self.field.scenes[p.scene as usize].map_share(p.map_px, side) >= MIN_VALID;
            if there && self.held_out.is_none_or(|h| h.touches(p.map_px[1], side)) && !shares(p) {
                return Ok(p);
            }
        }
        Err(Error::invalid(
            "no place found for map_negatives that shares no ground with the pairs: take fewer pairs, leave them out, or use larger scenes",
        ))
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
