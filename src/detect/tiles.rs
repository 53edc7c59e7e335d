//! Scenes of any size by overlapping tiles, and one list of the tiles' boxes.

use std::collections::HashMap;

use super::boxes::BBox;
use super::dataset::Detection;
use crate::{Error, Result};

/// A part of a scene, pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Its left edge.
    pub x: u32,
    /// Its upper edge.
    pub y: u32,
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

/// Tiles of `side` pixels that cover a scene, row by row, and overlap by at least `overlap`, spread evenly. Along a side shorter than a tile they are as long as
/// the scene.
///
/// # Errors
/// Tiles that overlap by their whole side, or an empty scene.
pub fn cover(size: [u32; 2], side: u32, overlap: u32) -> Result<Vec<Tile>> {
    if overlap >= side {
        return Err(Error::invalid(format!("tiles of {side} px that overlap by {overlap} px lead nowhere; take a smaller overlap")));
    }
    if size.contains(&0) {
        return Err(Error::invalid(format!("a scene of {}x{} px has nothing to cover", size[0], size[1])));
    }
    let starts = |length: u32| -> Vec<u32> {
        let rest = length.saturating_sub(side);
        let steps = rest.div_ceil(side - overlap);
        (0..=steps).map(|i| (u64::from(rest) * u64::from(i) / u64::from(steps.max(1))) as u32).collect()
    };
    let [width, height] = size.map(|v| v.min(side));
    let rows = starts(size[1]);
    Ok(rows.iter().flat_map(|y| starts(size[0]).into_iter().map(move |x| Tile { x, y: *y, width, height })).collect())
}

/// How boxes of several tiles become one list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// Boxes of different tiles that overlap by more than this are one.
    pub iou: f64,
    /// A box that a tile's border cuts is a part of another tile's where they share more than this of the smaller one.
    pub over_smaller: f64,
    /// A box that comes so near to a border, pixels, is cut by it.
    pub margin: f64,
}

impl Default for Merge {
    fn default() -> Self {
        Self { iou: 0.5, over_smaller: 0.5, margin: 2.0 }
    }
}

/// A box in the scene.
#[derive(Clone, Copy)]
struct Placed {
    found: Detection,
    tile: usize,
    cut: bool,
}

impl Merge {
    /// The boxes of a scene of `size` pixels from those of its tiles, in pixels of each tile; the surest first.
    ///
    /// Whole boxes go before cut ones, and then the surer: each takes out those of its category in other tiles that are it or a part of it. Boxes of one tile are left to the
    /// detector. Where tiles overlap by the longest object, each is whole in one of them.
    pub fn merge(&self, size: [u32; 2], tiles: &[(Tile, Vec<Detection>)]) -> Vec<Detection> {
        let mut all: Vec<Placed> = Vec::new();
        for (i, (tile, found)) in tiles.iter().enumerate() {
            all.extend(found.iter().map(|d| {
                let bbox = d.bbox.shifted([tile.x, tile.y].map(f64::from));
                Placed { found: Detection { bbox, ..*d }, tile: i, cut: self.is_cut(&d.bbox, tile, size) }
            }));
        }
        all.sort_by(|a, b| a.cut.cmp(&b.cut).then(b.found.score.total_cmp(&a.found.score)));
        // Kept boxes by squares as large as the largest box: what meets a box lies in its square or one beside it.
        let square = all.iter().map(|p| p.found.bbox.width().max(p.found.bbox.height())).fold(1.0, f64::max);
        let mut squares: HashMap<[i64; 2], Vec<usize>> = HashMap::new();
        let mut kept: Vec<Placed> = Vec::new();
        for placed in all {
            let [x, y] = placed.found.bbox.center().map(|v| (v / square).floor() as i64);
            let near = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| [x + dx, y + dy]));
            let mut near = near.filter_map(|at| squares.get(&at)).flatten();
            if near.any(|k| self.same(&kept[*k], &placed)) {
                continue;
            }
            squares.entry([x, y]).or_default().push(kept.len());
            kept.push(placed);
        }
        let mut found: Vec<Detection> = kept.into_iter().map(|p| p.found).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found
    }

    /// Whether a box of a tile comes near a border of it that is none of the scene.
    fn is_cut(&self, bbox: &BBox, tile: &Tile, size: [u32; 2]) -> bool {
        let [x0, y0, x1, y1] = bbox.corners();
        tile.x > 0 && x0 < self.margin
            || tile.y > 0 && y0 < self.margin
            || tile.x + tile.width < size[0] && x1 > f64::from(tile.width) - self.margin
            || tile.y + tile.height < size[1] && y1 > f64::from(tile.height) - self.margin
    }

    fn same(&self, a: &Placed, b: &Placed) -> bool {
        let (p, q) = (&a.found, &b.found);
        p.category == q.category
            && a.tile != b.tile
            && (p.bbox.iou(&q.bbox) > self.iou || (a.cut || b.cut) && p.bbox.over_smaller(&q.bbox) > self.over_smaller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn tiles_cover_every_pixel_and_overlap_enough() {
        for size in [[1000, 700], [512, 512], [513, 300], [1, 4000], [300, 200]] {
            let tiles = cover(size, 512, 100).unwrap();
            let ends = |t: &Tile| [t.x + t.width, t.y + t.height];
            assert!(tiles.iter().all(|t| ends(t)[0] <= size[0] && ends(t)[1] <= size[1]));
            for (axis, length) in size.into_iter().enumerate() {
                let mut spans: Vec<[u32; 2]> = tiles.iter().map(|t| [[t.x, t.y][axis], ends(t)[axis]]).collect();
                spans.sort_unstable();
                spans.dedup();
                assert_eq!((spans[0][0], spans[spans.len() - 1][1]), (0, length));
                assert!(spans.windows(2).all(|w| w[0][1] >= w[1][0] + 100), "{spans:?}");
                assert!(spans.iter().all(|s| s[1] - s[0] == length.min(512)));
            }
        }
        assert_eq!(cover([1000, 700], 512, 100).unwrap().len(), 6);
        assert!(cover([10, 10], 4, 4).unwrap_err().to_string().contains("smaller overlap"));
        assert!(cover([0, 10], 4, 2).is_err());
    }

    fn found(corners: [f64; 4], score: f64) -> Detection {
        Detection { bbox: BBox::from_corners(corners), score, category: 0 }
    }

    /// Two tiles of 100 px side by side that overlap by 40.
    fn two(left: Vec<Detection>, right: Vec<Detection>) -> Vec<Detection> {
        let tile = |x| Tile { x, y: 0, width: 100, height: 100 };
        Merge::default().merge([160, 100], &[(tile(0), left), (tile(60), right)])
    }

    #[test]
    fn a_cut_box_loses_against_the_whole_one_although_it_is_surer() {
        // A ship from 80 to 130 px: the left tile sees 80 to 100.
        let merged = two(vec![found([80.0, 10.0, 100.0, 20.0], 0.9)], vec![found([20.0, 10.0, 70.0, 20.0], 0.5)]);
        assert_eq!(merged, [found([80.0, 10.0, 130.0, 20.0], 0.5)]);
        // At the scene's own border nothing is cut.
        let merged = two(vec![found([0.0, 0.0, 20.0, 10.0], 0.9)], vec![found([80.0, 0.0, 100.0, 10.0], 0.8)]);
        assert_eq!(merged, [found([0.0, 0.0, 20.0, 10.0], 0.9), found([140.0, 0.0, 160.0, 10.0], 0.8)]);
        // Nobody saw more of it: the cut box stays.
        assert_eq!(two(vec![found([80.0, 10.0, 100.0, 20.0], 0.9)], vec![]).len(), 1);
    }

    #[test]
    fn a_box_seen_twice_is_one_and_neighbours_stay_two() {
        let merged = two(vec![found([70.0, 10.0, 90.0, 20.0], 0.6)], vec![found([11.0, 10.0, 31.0, 20.0], 0.7)]);
        assert_eq!(merged, [found([71.0, 10.0, 91.0, 20.0], 0.7)]);
        // A small box inside a larger one, both whole: two ships.
        assert_eq!(two(vec![found([65.0, 10.0, 95.0, 40.0], 0.6)], vec![found([11.0, 12.0, 20.0, 20.0], 0.7)]).len(), 2);
        // Boxes of one tile are the detector's.
        assert_eq!(two(vec![found([10.0, 10.0, 30.0, 20.0], 0.6), found([10.0, 10.0, 30.0, 21.0], 0.7)], vec![]).len(), 2);
        // So are those of different kinds.
        let other = Detection { category: 1, ..found([10.0, 10.0, 30.0, 20.0], 0.7) };
        assert_eq!(two(vec![found([70.0, 10.0, 90.0, 20.0], 0.6)], vec![other]).len(), 2);
    }

    #[test]
    fn planted_boxes_come_back_once_each() {
        let size = [3000, 2000];
        let mut random = Random::new(8, 0);
        // On a lattice of 50 px, so that none meets another; up to 40 px long.
        let planted: Vec<BBox> = (0..60 * 40)
            .filter_map(|i| {
                let at = [f64::from(i % 60) * 50.0 + 5.0, f64::from(i / 60) * 50.0 + 5.0];
                let b = BBox::from_xywh([at[0], at[1], random.range(4.0, 40.0), random.range(4.0, 40.0)]);
                (random.unit() < 0.7).then_some(b)
            })
            .collect();
        let seen = |tile: &Tile| -> Vec<Detection> {
            let [x, y] = [tile.x, tile.y].map(f64::from);
            let inside = planted.iter().filter_map(|b| b.shifted([-x, -y]).clip([tile.width, tile.height].map(f64::from)));
            inside.map(|bbox| Detection { bbox, score: 0.5 + bbox.x0() / 1e4, category: 0 }).collect()
        };
        let tiles: Vec<(Tile, Vec<Detection>)> = cover(size, 400, 60).unwrap().into_iter().map(|t| (t, seen(&t))).collect();
        let merged = Merge::default().merge(size, &tiles);
        assert_eq!(merged.len(), planted.len());
        for b in &planted {
            assert_eq!(merged.iter().filter(|m| m.bbox.iou(b) > 0.999).count(), 1, "{b:?}");
        }
    }
}
