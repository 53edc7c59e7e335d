//! A set of pairs as one scene.

use super::set::PairSet;
use crate::scene::{Image, Laid, OpenOptions, SarUnit, ScenePair, Standardisation, ValidityMask};
use crate::{Error, Result};
use std::sync::Arc;

/// Share of the longest side that lies between two pairs at least, and pixels more: patches that reach so far into what holds no data that they come
/// to the next pair lack more than the tenth that a place may. Windows of dense training, which may lack a quarter, show a few pixels of the next pair at their edge: ground
/// that none of their patches is of.
const BETWEEN: (u32, u32) = (8, 8);

/// How pairs become a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneOptions {
    /// Ground size of a pixel, metres.
    pub pixel_m: f64,
    /// Pairs begin at multiples of this, px: the distance of cells, where an index's cells are to begin where pairs do.
    pub lattice: u32,
    /// How SAR images are opened.
    pub sar: OpenOptions,
    /// How optical images are opened.
    pub optical: OpenOptions,
    /// What SAR values measure; it is guessed where it is not said.
    pub unit: Option<SarUnit>,
}

impl SceneOptions {
    /// For pixels of so many metres, all else as it is.
    pub fn new(pixel_m: f64) -> Self {
        Self { pixel_m, ..Self::default() }
    }
}

impl Default for SceneOptions {
    fn default() -> Self {
        use crate::scene::Bands;
        let bands = |bands| OpenOptions { bands, ..OpenOptions::default() };
        // Masks count data in blocks of 8 px: pairs that begin with one are counted to the pixel.
        Self { pixel_m: 10.0, lattice: 8, sar: bands(Bands::Polarisation), optical: bands(Bands::Colours), unit: None }
    }
}

/// Where a pair lies in its scene, px of the scene's map and SAR image alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairPlace {
    /// The pair's name.
    pub name: String,
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// All pairs of a set side by side.
#[derive(Debug)]
pub struct PairScene {
    /// The scene: map and SAR image have one grid, in a local system that stands for no place on Earth.
    pub pair: ScenePair,
    /// The pairs' places, in the set's order.
    pub places: Vec<PairPlace>,
}

impl PairScene {
    /// How many SAR images and how many optical ones have pixels that count as no data.
    pub fn incomplete(&self) -> [usize; 2] {
        // Masks count in blocks of 8 px, and more lies between pairs.
        let down = |v: u32| f64::from(v / 8 * 8);
        let up = |v: u32| f64::from(v.next_multiple_of(8));
        let lacks = |mask: &ValidityMask, p: &&PairPlace| {
            let (x, y) = (down(p.x), down(p.y));
            let (w, h) = (up(p.x + p.width) - x, up(p.y + p.height) - y);
            mask.share(x, y, w, h) * w * h < f64::from(p.width) * f64::from(p.height) - 0.5
        };
        [&self.pair.sar_mask, &self.pair.map_mask].map(|mask| self.places.iter().filter(|p| lacks(mask, p)).count())
    }
}

impl PairScene {
    /// The same with the statistics of other images, of the map and of the SAR image, in place of its own where these are of the same kind: what a network says of a
    /// patch then does not hang on the patches beside it.
    #[must_use]
    pub fn standardised_as(mut self, others: &[Standardisation; 2]) -> Self {
        for (image, other) in [&mut self.pair.map, &mut self.pair.sar].into_iter().zip(others) {
            // Nobody else has a scene that was just laid out.
            if let Some(image) = Arc::get_mut(image).filter(|i| other.is_for(&i.raster, i.standardisation.radiometry)) {
                image.standardisation = other.clone();
            }
        }
        self
    }
}

impl PairSet {
    /// Lays all pairs side by side as one scene with pixels of `pixel_m` metres, and no data between them.
    ///
    /// # Errors
    /// As [`scene_with`](Self::scene_with).
    pub fn scene(&self, pixel_m: f64) -> Result<PairScene> {
        self.scene_with(&SceneOptions::new(pixel_m))
    }

    /// The same with other options. All pixels are read once, for where there is data, and some of them for their statistics; none are kept.
    ///
    /// # Errors
    /// No pair; a pixel size that makes no sense; more ground than an image can span; reading; no valid pixel.
    pub fn scene_with(&self, options: &SceneOptions) -> Result<PairScene> {
        let sizes: Vec<[u32; 2]> = self.pairs().iter().map(|p| p.size).collect();
        let (corners, size) = lay(&sizes, options.lattice)?;
        let sheet = |open: &OpenOptions, of: fn(&super::Pair) -> &std::path::PathBuf| {
            let laid: Vec<Laid> =
                self.pairs().iter().zip(&corners).map(|(p, at)| Laid { path: of(p).clone(), at: *at, size: p.size }).collect();
            open.open_sheet(&laid, size, options.pixel_m)
        };
        let map = Image::of_map(sheet(&options.optical, |p| &p.optical)?)?;
        let sar = Image::of_sar(sheet(&options.sar, |p| &p.sar)?, options.unit)?;
        let place =
            |(p, [x, y]): (&super::Pair, &[u32; 2])| PairPlace { name: p.name.clone(), x: *x, y: *y, width: p.size[0], height: p.size[1] };
        Ok(PairScene { pair: ScenePair::of(map, sar)?, places: self.pairs().iter().zip(&corners).map(place).collect() })
    }
}

/// Upper left corners of images of `sizes` in rows of about the same length as there are rows, at multiples of `lattice`; and the size of the whole.
fn lay(sizes: &[[u32; 2]], lattice: u32) -> Result<(Vec<[u32; 2]>, [u32; 2])> {
    let longest = sizes.iter().flatten().copied().max().filter(|s| *s > 0).ok_or_else(|| Error::invalid("there is no pair"))?;
    let between = u64::from(longest.div_ceil(BETWEEN.0) + BETWEEN.1);
    let room = |side: u32| (u64::from(side) + between).next_multiple_of(u64::from(lattice.max(1)));
    let area: f64 = sizes.iter().map(|s| room(s[0]) as f64 * room(s[1]) as f64).sum();
    let across = area.sqrt().ceil() as u64;
    let (mut at, mut tall, mut whole) = ([0u64; 2], 0, [0u64; 2]);
    let mut corners = Vec::with_capacity(sizes.len());
    for size in sizes {
        if at[0] > 0 && at[0] + room(size[0]) > across.max(room(longest)) {
            at = [0, at[1] + tall];
            tall = 0;
        }
        corners.push(at);
        whole = [0, 1].map(|d| whole[d].max(at[d] + u64::from(size[d])));
        tall = tall.max(room(size[1]));
        at[0] += room(size[0]);
    }
    let small = |v: [u64; 2]| v.map(u32::try_from);
    match small(whole) {
        [Ok(w), Ok(h)] => Ok((corners.into_iter().map(|c| c.map(|v| v as u32)).collect(), [w, h])),
        _ => Err(Error::invalid(format!(
            "{} pairs side by side span {}x{} px, more than an image may; take fewer",
            sizes.len(),
            whole[0],
            whole[1]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_lie_apart_in_a_near_square() {
        for (sizes, lattice) in [(vec![[256, 256]; 505], 8), (vec![[256, 256]; 102], 200), (vec![[9, 30], [30, 9], [17, 17], [1, 1]], 8)] {
            let (corners, whole) = lay(&sizes, lattice).unwrap();
            let between = sizes.iter().flatten().max().unwrap().div_ceil(8) + 8;
            for (i, (a, s)) in corners.iter().zip(&sizes).enumerate() {
                assert!((0..2).all(|d| a[d] % lattice == 0 && a[d] + s[d] <= whole[d]), "{a:?}");
                for (b, t) in corners[..i].iter().zip(&sizes) {
                    let apart = |d: usize| a[d] >= b[d] + t[d] + between || b[d] >= a[d] + s[d] + between;
                    assert!(apart(0) || apart(1), "{a:?} {s:?} {b:?} {t:?}");
                }
            }
            assert!(whole[0] < 2 * whole[1] + 100 && whole[1] < 2 * whole[0] + 100, "{whole:?}");
        }
        assert!(lay(&[], 8).is_err());
    }
}
