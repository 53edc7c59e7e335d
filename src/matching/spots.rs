//! Where the patches of a set of pairs are cut, and which are told from which.

use crate::eval::gap;
use crate::index::Embedder;
use crate::kernels::sampler::PatchRecord;
use crate::nn::BridgeNetwork;
use crate::pairs::PairScene;
use crate::random::Random;
use crate::scene::compose;
use crate::{Error, Result};

/// The place of a patch of both images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// The pair's number in its set.
    pub pair: usize,
    /// Centre, pixels of the scene's map.
    pub map_px: [f64; 2],
}

impl Spot {
    /// Whether patches of `side` map pixels at two places share no ground for all that is known: in one pair they must not touch, and two
    /// pairs must not stand side by side in their set, for neighbouring crops of one scene commonly overlap.
    pub fn apart(&self, other: &Self, side: u32) -> bool {
        match self.pair.abs_diff(other.pair) {
            0 => (0..2).any(|d| (self.map_px[d] - other.map_px[d]).abs() >= f64::from(side)),
            gap => gap > 1,
        }
    }
}

/// A place must have data in this share of its pixels, on the map and in the SAR image.
pub(crate) const MIN_VALID: f64 = 0.9;

/// The places of a set that a network is judged at, each with negatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Spots {
    /// The places.
    pub spots: Vec<Spot>,
    /// Of each place, in order: those whose optical patches are not its SAR patch's.
    pub negatives: Vec<u32>,
    /// Side of a patch, map pixels.
    pub side: u32,
}

/// Stream of random numbers.
const NEGATIVES: u64 = 61;

impl Spots {
    /// As many patches of `side` map pixels as lie side by side in the middle of each pair, those with data, and `count` negatives of each drawn by a
    /// seed among those that share no ground with it ([`Spot::apart`]).
    ///
    /// # Errors
    /// A pair smaller than a patch; no patch with data; one without a negative.
    pub fn new(scene: &PairScene, side: u32, count: usize, seed: u64) -> Result<Self> {
        let mut spots = Vec::new();
        for (pair, place) in scene.places.iter().enumerate() {
            let across = [place.width, place.height].map(|s| s / side);
            if across.contains(&0) {
                return Err(Error::invalid(format!(
                    "pair `{}` is {}x{} px, smaller than patches of {side} px: take a model, or a `patch`, of smaller ones",
                    place.name, place.width, place.height
                )));
            }
            let first = [0, 1].map(|d| {
                let (at, length) = ([place.x, place.y][d], [place.width, place.height][d]);
                f64::from(at) + f64::from(length - (across[d] - 1) * side) / 2.0
            });
            for cell in (0..across[1]).flat_map(|y| (0..across[0]).map(move |x| [x, y])) {
                let map_px = [0, 1].map(|d| first[d] + f64::from(cell[d] * side));
                if usable(scene, map_px, side)? {
                    spots.push(Spot { pair, map_px });
                }
            }
        }
        if spots.is_empty() {
            return Err(Error::invalid(format!("no patch of {side} px has data in {:.0} % of both images", 100.0 * MIN_VALID)));
        }
        let mut random = Random::new(seed, NEGATIVES);
        let negatives = negatives(&spots, side, count, &mut random)?;
        Ok(Self { spots, negatives, side })
    }

    /// The pair that each place is of, in order: runs of one pair.
    pub fn pairs(&self) -> Vec<usize> {
        self.spots.iter().map(|s| s.pair).collect()
    }

    /// What cuts the optical and the SAR patches, at `input` network pixels a side.
    ///
    /// # Errors
    /// A patch too large for the sampler.
    pub fn records(&self, scene: &PairScene, input: usize) -> Result<[Vec<PatchRecord>; 2]> {
        let scale = f64::from(self.side) / input as f64;
        let plain = [[scale, 0.0], [0.0, scale]];
        let link = scene.pair.link();
        let map = self.spots.iter().map(|s| Ok(PatchRecord::from_affine(0, s.map_px, plain, input)?)).collect::<Result<_>>()?;
        let sar = |s: &Spot| -> Result<PatchRecord> {
            Ok(PatchRecord::from_affine(0, link.apply(s.map_px)?, compose(link.jacobian(s.map_px)?, plain), input)?)
        };
        Ok([map, self.spots.iter().map(sar).collect::<Result<_>>()?])
    }
}

/// Whether both images have data at a place.
pub(crate) fn usable(scene: &PairScene, map_px: [f64; 2], side: u32) -> Result<bool> {
    let side = f64::from(side);
    Ok(scene.pair.map_share(map_px, side) >= MIN_VALID && scene.pair.sar_share(map_px, side)? >= MIN_VALID)
}

/// Draws `count` of the places that share no ground with each ([`Spot::apart`]), none of them twice where there are as many.
pub(crate) fn negatives(spots: &[Spot], side: u32, count: usize, random: &mut Random) -> Result<Vec<u32>> {
    let mut all = Vec::with_capacity(spots.len() * count);
    for own in spots {
        let mut others: Vec<u32> = (0u32..).zip(spots).filter(|(_, s)| own.apart(s, side)).map(|(i, _)| i).collect();
        if others.is_empty() {
            return Err(Error::invalid(format!(
                "{} patches are too few for negatives: each needs another that is not of the same ground, nor of the pair before or after its own; name more pairs",
                spots.len()
            )));
        }
        let n = others.len();
        for k in 0..count {
            // What was drawn goes to the front, and is not drawn again until all were.
            let at = k % n + random.below(n - k % n);
            others.swap(k % n, at);
            all.push(others[k % n]);
        }
    }
    Ok(all)
}

/// Distances of each place's SAR patch from its own optical patch and from those of its negatives, row by row.
///
/// # Errors
/// Reading, the device.
pub fn distances(embedder: &Embedder<'_>, network: &BridgeNetwork, scene: &PairScene, spots: &Spots) -> Result<Vec<f64>> {
    let [map, sar] = gap::embed(embedder, &scene.pair, &spots.records(scene, embedder.input())?)?;
    let (n, dim) = (spots.spots.len(), embedder.dim());
    let count = spots.negatives.len() / n;
    let apart = |i: usize, j: usize| network.distance(&sar[i * dim..][..dim], &map[j * dim..][..dim]);
    let others = |i: usize| spots.negatives[i * count..][..count].iter().map(|j| *j as usize);
    Ok((0..n).flat_map(|i| std::iter::once(i).chain(others(i)).map(move |j| (i, j))).map(|(i, j)| apart(i, j)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: usize) -> Vec<Spot> {
        (0..n).map(|pair| Spot { pair, map_px: [pair as f64 * 40.0, 0.0] }).collect()
    }

    #[test]
    fn neighbours_and_overlapping_patches_are_no_negatives() {
        let spots = row(6);
        let mut random = Random::new(3, 0);
        for count in [1, 3] {
            let drawn = negatives(&spots, 32, count, &mut random).unwrap();
            assert_eq!(drawn.len(), 6 * count);
            for (i, own) in drawn.chunks(count).enumerate() {
                assert!(own.iter().all(|j| (*j as usize).abs_diff(i) > 1), "{i}: {own:?}");
                let distinct: std::collections::BTreeSet<_> = own.iter().collect();
                assert_eq!(distinct.len(), count);
            }
        }
        // The middle ones of five have two others alone: a third comes again.
        let drawn = negatives(&row(5), 32, 3, &mut random).unwrap();
        assert!(drawn[6] != drawn[7] && drawn[6..8].contains(&drawn[8]), "{drawn:?}");
        // Within a pair what does not touch is a negative.
        let spots = [[0.0, 0.0], [31.0, 10.0], [32.0, 0.0]].map(|map_px| Spot { pair: 0, map_px });
        assert!(!spots[0].apart(&spots[1], 32) && spots[0].apart(&spots[2], 32) && !spots[2].apart(&spots[1], 32));
        let e = negatives(&row(2), 32, 1, &mut random).unwrap_err().to_string();
        assert!(e.contains("2 patches are too few"), "{e}");
    }

    #[test]
    fn each_other_patch_is_drawn_as_often() {
        let spots = row(12);
        let mut random = Random::new(9, 0);
        let mut seen = [0usize; 12];
        (0..3000).for_each(|_| seen[negatives(&spots, 32, 1, &mut random).unwrap()[0] as usize] += 1);
        // Ten others, 300 draws each with a standard deviation of 16.4: within 4.5 of them.
        assert!(seen[..2] == [0, 0] && seen[2..].iter().all(|n| n.abs_diff(300) < 74), "{seen:?}");
    }
}
