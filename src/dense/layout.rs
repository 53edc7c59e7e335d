//! How a map is covered for overlap-save correlation: square blocks of feature pixels that overlap by the largest query.

use crate::scene::{MapInfo, ValidityMask};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Smallest and largest side of a block: what the transform takes.
const SIDES: [usize; 2] = [16, 4096];

/// Blocks of a map.
///
/// Feature pixel (i, j) covers `step` x `step` map pixels from (i step, j step). A block of `side` feature pixels answers for the
/// `side - query + 1` squared offsets at which a patch of up to `query` feature pixels lies inside it; blocks follow each other at that
/// distance, so every offset belongs to one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Map pixels a feature pixel.
    pub step: f64,
    /// Side of a block, feature pixels; a power of two.
    pub side: usize,
    /// Side of the largest query, feature pixels.
    pub query: usize,
}

impl Layout {
    /// A layout for features of `metres` a pixel and queries of up to `query_px` map pixels. The step is a whole number of map
    /// pixels where it is within a twentieth of one: then features are plain means of pixels. `side` 0 chooses four to eight
    /// times the query.
    ///
    /// # Errors
    /// Sizes that make no sense together.
    pub fn new(map: &MapInfo, metres: f64, query_px: f64, side: usize) -> Result<Self> {
        let exact = metres / map.ground_m();
        if !(exact.is_finite() && exact > 0.0 && query_px.is_finite() && query_px > 0.0) {
            return Err(Error::invalid(format!("features of {metres} m and queries of {query_px} map pixels make no sense")));
        }
        let whole = exact.round().max(1.0);
        let step = if (exact / whole - 1.0).abs() <= 0.05 { whole } else { exact };
        let query = even(query_px / step);
        let side = if side == 0 { (4 * query).next_power_of_two().clamp(128, SIDES[1]) } else { side };
        let layout = Self { step, side, query };
        layout.check()?;
        Ok(layout)
    }

    /// Refuses sizes that cannot be.
    ///
    /// # Errors
    /// A side that is no power of two from 16 to 4,096, or not above the query's; a step or query of nothing.
    pub fn check(&self) -> Result<()> {
        let Self { step, side, query } = *self;
        if !(step.is_finite() && step > 0.0) || query == 0 {
            return Err(Error::invalid(format!("a layout of {query} feature pixels of {step} map pixels makes no sense")));
        }
        if !side.is_power_of_two() || !(SIDES[0]..=SIDES[1]).contains(&side) || side <= query {
            return Err(Error::invalid(format!(
                "blocks of {side} feature pixels for queries of up to {query}: a block must be a power of two from {} to {}, and larger than the query",
                SIDES[0], SIDES[1]
            )));
        }
        Ok(())
    }

    /// Offsets a side that a block answers for.
    pub fn offsets(&self) -> usize {
        self.side - self.query + 1
    }

    /// Side in feature pixels of a query of `side_px` map pixels: even, so that half-resolution features fit.
    ///
    /// # Errors
    /// Larger than the layout's queries, or under 8 feature pixels.
    pub fn query_side(&self, side_px: f64) -> Result<usize> {
        let side = even(side_px / self.step);
        if side > self.query {
            return Err(Error::invalid(format!(
                "a patch of {side_px:.0} map pixels is larger than the database was made for ({:.0}); use a smaller --patch, or make it anew with a larger one",
                self.query as f64 * self.step
            )));
        }
        if side < 8 {
            return Err(Error::invalid(format!(
                "a patch of {side_px:.0} map pixels holds only {side} of the features' pixels, which are {} map pixels wide; use a larger --patch",
                self.step
            )));
        }
        Ok(side)
    }

    /// The largest patch that its queries hold, map pixels: a round number where one comes to the same.
    pub fn largest_patch(&self) -> u32 {
        let exact = self.query as f64 * self.step;
        let same = |p: &f64| *p >= 1.0 && self.query_side(*p).is_ok_and(|s| s == self.query);
        let round = [100.0, 50.0, 10.0, 1.0].map(|unit| (exact / unit).round() * unit);
        round.into_iter().find(same).unwrap_or(exact.floor()).max(1.0) as u32
    }

    /// Upper left corners of the blocks along an axis of so many map pixels.
    fn axis(&self, pixels: u32) -> impl Iterator<Item = i32> + use<> {
        let margin = (self.query / 4) as i32;
        let end = (f64::from(pixels) / self.step).ceil() as i32 + margin - self.query as i32;
        (-margin..=end.max(-margin)).step_by(self.offsets())
    }

    /// Blocks of a map of this size, were there data everywhere.
    pub fn blocks(&self, size: [u32; 2]) -> usize {
        self.axis(size[0]).count() * self.axis(size[1]).count()
    }

    /// Upper left corners, feature pixels, of the blocks that cover a map of this size where it has data. A quarter of a query may hang
    /// over the map's edge.
    pub fn origins(&self, size: [u32; 2], mask: &ValidityMask) -> Vec<[i32; 2]> {
        let covered = |[x, y]: &[i32; 2]| {
            let at = |v: i32| f64::from(v) * self.step;
            let side = self.side as f64 * self.step;
            mask.share(at(*x), at(*y), side, side) > 0.0
        };
        self.axis(size[1]).flat_map(|y| self.axis(size[0]).map(move |x| [x, y])).filter(covered).collect()
    }

    /// Blocks that answer for every place of a query's centre in some boxes (left, top, right, bottom; map pixels), and the layout they
    /// belong to: that of the sides from one and a half queries on whose blocks cost the least to transform.
    ///
    /// # Errors
    /// No box; a query too large for any block.
    pub fn covering(&self, boxes: &[[f64; 4]]) -> Result<(Self, Vec<[i32; 2]>)> {
        let least = (self.query + self.query / 2).next_power_of_two().max(SIDES[0]);
        let mut best = self.covering_with(least, boxes)?;
        let cost =
            |(layout, origins): &(Self, Vec<[i32; 2]>)| origins.len() as f64 * (layout.side as f64).powi(2) * (layout.side as f64).log2();
        for side in [2, 4, 8].map(|f| f * least).into_iter().filter(|s| *s <= SIDES[1]) {
            let next = self.covering_with(side, boxes)?;
            if cost(&next) < cost(&best) {
                best = next;
            }
        }
        Ok(best)
    }

    /// As [`Layout::covering`], with blocks of a given side.
    ///
    /// # Errors
    /// As [`Layout::covering`]; a side that does not fit the query.
    pub fn covering_with(&self, side: usize, boxes: &[[f64; 4]]) -> Result<(Self, Vec<[i32; 2]>)> {
        let layout = Self { side, ..self.clone() };
        layout.check()?;
        let (half, v) = (self.query as f64 / 2.0, layout.offsets() as f64);
        // A patch of fewer feature pixels than the largest query has its corner nearer to its centre: two pixels of grace.
        let span = |lo: f64, hi: f64| {
            let at = |p: f64, grace: f64| ((p / self.step - half + grace) / v).floor() as i32;
            at(lo, -2.0)..=at(hi, 2.0)
        };
        let mut corners = BTreeSet::new();
        for [x0, y0, x1, y1] in boxes {
            span(*y0, *y1).for_each(|y| corners.extend(span(*x0, *x1).map(|x| [y, x])));
        }
        if corners.is_empty() {
            return Err(Error::invalid("there is no place to search"));
        }
        let origins = corners.into_iter().map(|[y, x]| [x, y].map(|c| c * layout.offsets() as i32)).collect();
        Ok((layout, origins))
    }

    /// Map pixels of a position in feature pixels.
    pub fn to_map(&self, p: [f64; 2]) -> [f64; 2] {
        p.map(|v| v * self.step)
    }
}

/// The nearest even number, 2 at least.
pub(super) fn even(v: f64) -> usize {
    2 * ((v / 2.0).round().max(1.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_covered_and_little_else() {
        let layout = Layout { step: 1.7, side: 512, query: 60 };
        let boxes = [[300.0, 200.0, 500.0, 400.0], [2000.0, 2000.0, 2200.0, 2100.0], [310.0, 200.0, 400.0, 410.0], [-10.0, 0.0, 3.0, 20.0]];
        let (small, origins) = layout.covering(&boxes).unwrap();
        assert!(small.side >= 90 && small.side <= 256, "{small:?}");
        let v = small.offsets() as f64;
        for [x0, y0, x1, y1] in boxes {
            for (i, j) in (0..=20).flat_map(|i| (0..=20).map(move |j| (f64::from(i) / 20.0, f64::from(j) / 20.0))) {
                let corner = [x0 + i * (x1 - x0), y0 + j * (y1 - y0)].map(|p| p / layout.step - 30.0);
                let holders = origins.iter().filter(|o| (0..2).all(|d| (0.0..v).contains(&(corner[d] - f64::from(o[d])))));
                assert_eq!(holders.count(), 1, "{corner:?}");
            }
        }
        let area = origins.len() as f64 * (v * layout.step).powi(2);
        assert!(area < 12.0 * 200.0 * 200.0, "{} blocks of {}", origins.len(), small.side);
        assert!(layout.covering(&[]).is_err());
    }
}
