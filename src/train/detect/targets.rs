//! What a YOLO head is to be taught of a batch: which rows say a box, which say that nothing is there, and which are not asked.

use super::batch::Shown;
use crate::detect::BBox;
use crate::detect::anchors::size_iou;
use crate::nn::{Yolo3, YoloBoxLoss};

/// What one map is to be taught of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taught {
    /// What each number should say: rows of 5 + classes, of which the third and fourth are not asked here, and the first two by coordinates alone.
    pub(super) targets: Vec<f32>,
    /// Weights of them.
    pub(super) weights: Vec<f32>,
    /// Rows that are to say a box.
    pub(super) said: Vec<Said>,
}

/// A row that is to say a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Said {
    pub(super) row: u32,
    /// As the loss takes it ([`crate::nn::YoloTargets::boxes`]).
    pub(super) numbers: [f32; 4],
    pub(super) weight: f32,
}

/// Which anchors say a box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matching {
    /// [`super::DetectTrainConfig::match_iou`].
    pub(super) match_iou: f64,
    /// [`super::DetectTrainConfig::ignore_iou`].
    pub(super) ignore_iou: f64,
}

/// The maps of a head: cells a side of each, the finest first.
#[derive(Debug, Clone)]
pub(super) struct Maps<'a> {
    pub(super) yolo: &'a Yolo3,
    pub(super) classes: usize,
    pub(super) input: f64,
    pub(super) grids: Vec<usize>,
}

impl Maps<'_> {
    /// What each map is to be taught of the inputs of a batch.
    pub(super) fn teach(&self, batch: &[Vec<Shown>], how: Matching) -> Vec<Taught> {
        let (each, width) = (self.yolo.anchors_a_map(), 5 + self.classes);
        let mut taught: Vec<Taught> = self
            .grids
            .iter()
            .map(|g| {
                let rows = batch.len() * g * g * each;
                let mut weights = vec![0.0; rows * width];
                weights.iter_mut().skip(4).step_by(width).for_each(|w| *w = 1.0);
                Taught { targets: vec![0.0; rows * width], weights, said: Vec::new() }
            })
            .collect();
        for (n, shown) in batch.iter().enumerate() {
            shown.iter().for_each(|s| self.leave_out(n, s, how, &mut taught));
            self.say(n, shown, how, &mut taught);
        }
        taught
    }

    fn row(&self, k: usize, n: usize, [x, y]: [usize; 2], anchor: usize) -> usize {
        let g = self.grids[k];
        ((n * g + y) * g + x) * self.yolo.anchors_a_map() + anchor
    }

    fn stride(&self, k: usize) -> f64 {
        self.input / self.grids[k] as f64
    }

    /// Does not ask the anchors that overlap a box much whether something is there, nor any about the middle of what is neither to be found nor missed.
    fn leave_out(&self, n: usize, s: &Shown, how: Matching, taught: &mut [Taught]) {
        let width = 5 + self.classes;
        for (k, t) in taught.iter_mut().enumerate() {
            let (stride, last) = (self.stride(k), self.grids[k] - 1);
            let cell = |v: f64| ((v / stride).floor().max(0.0) as usize).min(last);
            // An anchor whose middle is outside of a box overlaps it by less than a half.
            let reach = if how.ignore_iou < 0.5 { self.input } else { 0.0 };
            let [x0, y0, x1, y1] = s.bbox.corners();
            for y in cell(y0 - reach)..=cell(y1 + reach) {
                for x in cell(x0 - reach)..=cell(x1 + reach) {
                    let middle = [x, y].map(|v| (v as f64 + 0.5) * stride);
                    let inside = (x0..=x1).contains(&middle[0]) && (y0..=y1).contains(&middle[1]);
                    for (a, [w, h]) in self.yolo.anchors_of(k).iter().enumerate() {
                        let [w, h] = [f64::from(*w), f64::from(*h)];
                        let anchor = BBox::from_xywh([middle[0] - w / 2.0, middle[1] - h / 2.0, w, h]);
                        if s.class.is_none() && inside || anchor.iou(&s.bbox) >= how.ignore_iou {
                            t.weights[self.row(k, n, [x, y], a) * width + 4] = 0.0;
                        }
                    }
                }
            }
        }
    }

    /// Has the best anchors of each box say it, in the cell that holds its middle; where two want a row, the one that fits better.
    fn say(&self, n: usize, shown: &[Shown], how: Matching, taught: &mut [Taught]) {
        let (each, width) = (self.yolo.anchors_a_map(), 5 + self.classes);
        let mut wanted = Vec::new();
        for (i, s) in shown.iter().enumerate().filter(|(_, s)| s.class.is_some()) {
            let fits: Vec<f64> = self.yolo.anchors.iter().map(|a| size_iou(a.map(f64::from), [s.bbox.width(), s.bbox.height()])).collect();
            let best = fits.iter().copied().fold(0.0, f64::max);
            let first = fits.iter().position(|f| *f == best);
            wanted.extend(fits.iter().enumerate().filter(|(a, f)| Some(*a) == first || **f >= how.match_iou).map(|(a, f)| (*f, i, a)));
        }
        wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        for (_, i, a) in wanted {
            let (k, s) = (a / each, &shown[i]);
            let middle = s.bbox.center().map(|v| v / self.stride(k));
            let cell = middle.map(|v| (v.floor().max(0.0) as usize).min(self.grids[k] - 1));
            let (row, t) = (self.row(k, n, cell, a % each), &mut taught[k]);
            if t.targets[row * width + 4] == 1.0 {
                continue;
            }
            t.targets[row * width + 4] = 1.0;
            t.weights[row * width + 4..(row + 1) * width].fill(1.0);
            if let Some(class) = s.class {
                t.targets[row * width + 5 + class] = 1.0;
            }
            let sides = [s.bbox.width(), s.bbox.height()];
            let weight = self.yolo.box_loss.weight(sides.map(|v| v / self.input)) as f32;
            let numbers = match self.yolo.box_loss {
                YoloBoxLoss::Giou => s.bbox.corners(),
                YoloBoxLoss::Coordinates => {
                    for d in 0..2 {
                        t.targets[row * width + d] = (middle[d] - cell[d] as f64) as f32;
                        t.weights[row * width + d] = self.yolo.box_weight * weight;
                    }
                    let [w, h] = [0, 1].map(|d| (sides[d] / f64::from(self.yolo.anchors[a][d])).ln());
                    [w, h, w, h]
                }
            };
            t.said.push(Said { row: row as u32, numbers: numbers.map(|v| v as f32), weight });
        }
        // Rows in order: the lists of a batch are the same whatever order the boxes were written in.
        taught.iter_mut().for_each(|t| t.said.sort_by_key(|s| s.row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yolo() -> Yolo3 {
        let anchors = vec![[8.0, 8.0], [16.0, 8.0], [32.0, 32.0], [64.0, 32.0]];
        Yolo3 { widths: vec![4, 4], pairs: 0, anchors, box_weight: 1.0, box_loss: YoloBoxLoss::Giou, focal_gamma: 0.0 }
    }

    fn maps(yolo: &Yolo3) -> Maps<'_> {
        Maps { yolo, classes: 2, input: 64.0, grids: vec![8, 4] }
    }

    const HOW: Matching = Matching { match_iou: 1.0, ignore_iou: 0.5 };

    fn shown(corners: [f64; 4], class: Option<usize>) -> Shown {
        Shown { bbox: BBox::from_corners(corners), class }
    }

    #[test]
    fn the_best_anchor_says_a_box_in_the_cell_of_its_middle() {
        let yolo = yolo();
        let batch = [Vec::new(), vec![shown([16.0, 24.0, 32.0, 33.0], Some(1)), shown([0.0, 0.0, 30.0, 31.0], Some(0))]];
        let [fine, coarse] = maps(&yolo).teach(&batch, HOW).try_into().unwrap();
        // Middle (24, 28.5): cell (3, 3) of 8 px, the second anchor; image 1.
        let row = ((8 + 3) * 8 + 3) * 2 + 1;
        assert_eq!(fine.said, [Said { row: row as u32, numbers: [16.0, 24.0, 32.0, 33.0], weight: 1.0 }]);
        assert_eq!(fine.targets[row * 7..][..7], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(fine.weights[row * 7..][..7], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        // Middle (15, 15.5): cell (0, 0) of 16 px, the first anchor of the coarse map.
        let row = (4 * 4) * 2;
        assert_eq!(coarse.said, [Said { row: row as u32, numbers: [0.0, 0.0, 30.0, 31.0], weight: 1.0 }]);
        assert_eq!(coarse.targets.iter().filter(|v| **v == 1.0).count(), 2);
        // All else is asked whether something is there, and should deny it.
        assert_eq!(fine.weights[4], 1.0);
        assert!(fine.targets[..8 * 8 * 2 * 7].iter().all(|v| *v == 0.0));
    }

    #[test]
    fn by_coordinates_a_row_says_its_place_in_the_cell_and_sides_over_the_anchors() {
        let yolo = Yolo3 { box_loss: YoloBoxLoss::Coordinates, box_weight: 2.0, ..yolo() };
        let [fine, _] = maps(&yolo).teach(&[vec![shown([16.0, 24.0, 32.0, 33.0], Some(1))]], HOW).try_into().unwrap();
        // Middle (24, 28.5) in cell (3, 3) of 8 px; the second anchor, 16 x 8; 144 of 64 x 64 px.
        let row = (3 * 8 + 3) * 2 + 1;
        let (weight, [w, h]) = (2.0 - 144.0 / 4096.0, [0.0, 1.125f32.ln()]);
        assert_eq!(fine.said, [Said { row: row as u32, numbers: [w, h, w, h], weight }]);
        assert_eq!(fine.targets[row * 7..][..7], [0.0, 0.5625, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(fine.weights[row * 7..][..7], [2.0 * weight, 2.0 * weight, 0.0, 0.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn what_overlaps_much_is_not_asked_unless_it_says_the_box() {
        let yolo = yolo();
        // Covers cell (2, 2) of the fine map: its first anchor overlaps by 64 / 80.
        let batch = [vec![shown([16.0, 16.0, 26.0, 24.0], Some(0))]];
        let [fine, _] = maps(&yolo).teach(&batch, HOW).try_into().unwrap();
        let row = |x: usize, y: usize, a: usize| (y * 8 + x) * 2 + a;
        assert_eq!(fine.said.len(), 1);
        assert_eq!((fine.said[0].row, fine.weights[row(2, 2, 0) * 7 + 4]), (row(2, 2, 0) as u32, 1.0));
        // The second anchor there, 16 x 8 about (20, 20), overlaps by 80 / 128.
        assert_eq!(fine.weights[row(2, 2, 1) * 7 + 4], 0.0);
        assert_eq!(fine.weights[row(4, 2, 0) * 7 + 4], 1.0);
    }

    #[test]
    fn more_anchors_say_a_box_where_that_is_asked_and_a_row_says_one() {
        let yolo = yolo();
        let both = Matching { match_iou: 0.5, ..HOW };
        let batch = [vec![shown([16.0, 16.0, 28.0, 24.0], Some(0))]];
        let [fine, _] = maps(&yolo).teach(&batch, both).try_into().unwrap();
        assert_eq!(fine.said.len(), 2, "96 of 64 and 128 px: 0.67 and 0.75");
        // Two boxes about one middle want the first anchor: the one of its size gets it.
        let batch = [vec![shown([17.0, 17.0, 23.0, 23.0], Some(0)), shown([16.0, 16.0, 24.0, 24.0], Some(1))]];
        let [fine, _] = maps(&yolo).teach(&batch, HOW).try_into().unwrap();
        assert_eq!(fine.said.iter().map(|s| s.numbers).collect::<Vec<_>>(), [[16.0, 16.0, 24.0, 24.0]]);
    }

    #[test]
    fn crowds_are_neither_found_nor_missed() {
        let yolo = yolo();
        let [fine, coarse] = maps(&yolo).teach(&[vec![shown([0.0, 0.0, 32.0, 32.0], None)]], HOW).try_into().unwrap();
        assert!(fine.said.is_empty() && coarse.said.is_empty());
        let asked = |t: &Taught| t.weights.iter().skip(4).step_by(7).filter(|w| **w == 1.0).count();
        // 4 x 4 of 8 x 8 cells are left out, and 2 x 2 of 4 x 4.
        assert_eq!((asked(&fine), asked(&coarse)), (2 * (64 - 16), 2 * (16 - 4)));
    }
}
