//! Batches of pairs and which of their patches are told from which. All of it hangs on the seed and the step's number alone.

use super::config::MatchTrainConfig;
use crate::kernels::sampler::PatchRecord;
use crate::matching::{MIN_VALID, Spot, negatives, usable};
use crate::pairs::PairScene;
use crate::random::Random;
use crate::scene::compose;
use crate::train::batch::TRIES;
use crate::train::look::{sign, turn};
use crate::{Error, Result};

/// Streams of random numbers.
const PLACES: u64 = 51;
const LOOKS: u64 = 52;

/// A step's patches.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    /// What cuts the optical patches.
    pub(super) map: Vec<PatchRecord>,
    /// What cuts the SAR patches, in the same order.
    pub(super) sar: Vec<PatchRecord>,
    /// Which optical patches are each SAR patch's negatives, row by row.
    pub(super) partners: Vec<u32>,
}

/// Draws the batches of a run.
#[derive(Debug)]
pub(super) struct Drawer<'a> {
    scene: &'a PairScene,
    config: &'a MatchTrainConfig,
    /// Side of a patch, map pixels.
    side: u32,
    /// Patches that fit side by side into the pairs so far: larger pairs are drawn more often.
    rooms: Vec<u64>,
}

impl<'a> Drawer<'a> {
    pub(super) fn new(scene: &'a PairScene, config: &'a MatchTrainConfig, side: u32) -> Result<Self> {
        let mut sum = 0;
        let mut rooms = Vec::with_capacity(scene.places.len());
        for place in &scene.places {
            let room = u64::from(place.width / side) * u64::from(place.height / side);
            if room == 0 {
                return Err(Error::invalid(format!(
                    "pair `{}` is {}x{} px, smaller than `patch` = {side}: take a smaller patch, or 0 for what all pairs hold",
                    place.name, place.width, place.height
                )));
            }
            sum += room;
            rooms.push(sum);
        }
        if sum < config.batch as u64 {
            return Err(Error::invalid(format!(
                "{} pairs hold {sum} patches of {side} px side by side, fewer than the {} of a batch: take a smaller batch or patch",
                scene.places.len(),
                config.batch
            )));
        }
        Ok(Self { scene, config, side, rooms })
    }

    /// Anywhere in a pair, data or not.
    fn anywhere(&self, random: &mut Random) -> Spot {
        let at = (random.unit() * self.rooms[self.rooms.len() - 1] as f64) as u64;
        let pair = self.rooms.partition_point(|sum| *sum <= at);
        let place = &self.scene.places[pair];
        let half = f64::from(self.side) / 2.0;
        let mut along = |start: u32, length: u32| f64::from(start) + half + random.unit() * f64::from(length - self.side);
        Spot { pair, map_px: [along(place.x, place.width), along(place.y, place.height)] }
    }

    /// The places of a step: none shares a pixel with another, and each has a negative.
    fn spots(&self, random: &mut Random) -> Result<Vec<Spot>> {
        let mut spots: Vec<Spot> = Vec::with_capacity(self.config.batch);
        for _ in 0..TRIES {
            let spot = self.anywhere(random);
            // Neighbouring pairs may stand in one batch, as long as neither is the other's negative.
            let taken = |s: &Spot| s.pair == spot.pair && !s.apart(&spot, self.side);
            if !spots.iter().any(taken) && usable(self.scene, spot.map_px, self.side)? {
                spots.push(spot);
            }
            if spots.len() == self.config.batch {
                match spots.iter().all(|own| spots.iter().any(|s| own.apart(s, self.side))) {
                    true => return Ok(spots),
                    false => spots.clear(),
                }
            }
        }
        Err(Error::invalid(format!(
            "{} patches of {} px that do not overlap, with data in {:.0} % of both images and not all of neighbouring pairs, do not fit the pairs: take a smaller batch or patch, or more pairs",
            self.config.batch,
            self.side,
            100.0 * MIN_VALID
        )))
    }

    /// The batch of a step.
    pub(super) fn batch(&self, step: usize) -> Result<Batch> {
        let c = self.config;
        let mut random = Random::new(c.seed, PLACES << 40 | step as u64);
        let spots = self.spots(&mut random)?;
        let partners = negatives(&spots, self.side, c.bridge.negatives, &mut random)?;
        let mut batch = Batch { map: Vec::with_capacity(c.batch), sar: Vec::with_capacity(c.batch), partners };
        for (i, spot) in spots.iter().enumerate() {
            let mut random = Random::new(c.seed, LOOKS << 40 | (step * c.batch + i) as u64);
            self.cut(spot, &mut random, &mut batch)?;
        }
        Ok(batch)
    }

    fn cut(&self, spot: &Spot, random: &mut Random, batch: &mut Batch) -> Result<()> {
        let (a, input) = (&self.config.augment, self.config.encoder.input);
        let turns = if a.quarter_turns { random.below(4) as f64 } else { 0.0 };
        let flip = if a.mirror { sign(random) } else { 1.0 };
        let matrix = turn(turns * std::f64::consts::FRAC_PI_2, f64::from(self.side) / input as f64, flip);
        let pair = &self.scene.pair;
        let map = PatchRecord::from_affine(0, spot.map_px, matrix, input)?;
        batch.map.push(a.look().change_map(map, random));
        let own = compose(pair.link().jacobian(spot.map_px)?, matrix);
        let sar = PatchRecord::from_affine(0, pair.link().apply(spot.map_px)?, own, input)?;
        batch.sar.push(a.look().change_sar(sar, pair.sar.db_scale(), random));
        Ok(())
    }
}
