//! What the inputs of a step show: one image each, or parts of four; where, and which boxes.

use super::config::DetectTrainConfig;
use crate::Result;
use crate::detect::{BBox, Dataset};
use crate::kernels::sampler::{PatchRecord, TILE};
use crate::random::Random;
use crate::scene::Image;
use crate::train::look::{sign, turn};
use std::sync::Arc;

/// Images that an input is put together from at most.
pub(super) const PARTS: usize = 4;
/// A mosaic's parts meet between these shares of its sides.
const MEET: [f64; 2] = [0.3, 0.7];
/// A box that is shown about anywhere lies this share of the part's side away from its border.
const BORDER: f64 = 0.1;
/// The middle of a part shows a place between these shares of an image's sides.
const MIDDLE: [f64; 2] = [0.3, 0.7];
/// Shorter sides of boxes are not to be found, pixels of the input.
const LEAST_SIDE: f64 = 2.0;

/// Streams of random numbers.
const ORDER: u64 = 30;
const INPUTS: u64 = 31;

/// A box that an input shows, pixels of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shown {
    pub(super) bbox: BBox,
    /// Its class; none of what is neither to be found nor to be missed (crowds, difficult boxes, boxes cut off).
    pub(super) class: Option<usize>,
}

/// What a step's inputs are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    /// [`PARTS`] for each input.
    pub(super) records: Vec<PatchRecord>,
    /// The boxes of each input.
    pub(super) shown: Vec<Vec<Shown>>,
}

/// Draws the inputs of steps.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) config: &'a DetectTrainConfig,
    pub(super) dataset: &'a Dataset,
    pub(super) images: &'a [Arc<Image>],
    /// Steps of the run.
    pub(super) total: usize,
}

/// A part of an input, pixels: left, top, right, bottom.
type Part = [u32; 4];

/// How an image is shown: the image's place `from` at the input's `at`, image pixels for one of the input.
struct View {
    from: [f64; 2],
    at: [f64; 2],
    matrix: [[f64; 2]; 2],
}

impl View {
    /// Where a place of the image lies in the input.
    fn place(&self, p: [f64; 2]) -> [f64; 2] {
        let [[a, b], [c, d]] = self.matrix;
        let [x, y] = [0, 1].map(|i| p[i] - self.from[i]);
        let det = a * d - b * c;
        [self.at[0] + (d * x - b * y) / det, self.at[1] + (a * y - c * x) / det]
    }

    /// The place of the image that the middle of an input of this side shows.
    fn middle(&self, side: f64) -> [f64; 2] {
        let d = [0, 1].map(|i| side / 2.0 - self.at[i]);
        [0, 1].map(|i| self.from[i] + self.matrix[i][0] * d[0] + self.matrix[i][1] * d[1])
    }

    /// The upright box about an image's box.
    fn bbox(&self, b: &BBox) -> BBox {
        let [x0, y0, x1, y1] = b.corners();
        let corners = [[x0, y0], [x1, y0], [x0, y1], [x1, y1]].map(|p| self.place(p));
        let ends = |i: usize, f: fn(f64, f64) -> f64| corners.iter().map(|c| c[i]).reduce(f).unwrap_or(0.0);
        BBox::from_corners([ends(0, f64::min), ends(1, f64::min), ends(0, f64::max), ends(1, f64::max)])
    }
}

impl Inputs<'_> {
    /// The image that comes at a place in the run: all once, in an order of its own each time.
    fn image(&self, number: usize) -> usize {
        let n = self.images.len();
        let mut random = Random::new(self.config.seed, ORDER << 40 | (number / n) as u64);
        let mut order: Vec<usize> = (0..n).collect();
        for i in 0..=number % n {
            let j = i + random.below(n - i);
            order.swap(i, j);
        }
        order[number % n]
    }

    /// The inputs of a step.
    pub(super) fn batch(&self, step: usize) -> Result<Batch> {
        let (c, a) = (self.config, &self.config.augment);
        let side = c.detector.input as u32;
        let mosaics = if (step as f64) < a.mosaic_until * self.total as f64 { a.mosaic } else { 0.0 };
        let mut batch = Batch { records: Vec::with_capacity(PARTS * c.batch), shown: Vec::with_capacity(c.batch) };
        for output in 0..c.batch {
            let number = step * c.batch + output;
            let mut random = Random::new(c.seed, INPUTS << 40 | number as u64);
            let mut shown = Vec::new();
            let parts = if random.unit() < mosaics { quarters(side, &mut random).to_vec() } else { vec![[0, 0, side, side]] };
            for (i, part) in parts.iter().enumerate() {
                let image = if i == 0 { self.image(number) } else { random.below(self.images.len()) };
                let view = self.view(image, *part, &mut random);
                let record = PatchRecord::from_affine(image as u32, view.middle(f64::from(side)), view.matrix, side as usize)?;
                let record = a.look().change_sar(record, self.images[image].db_scale(), &mut random);
                batch.records.push(record.onto(output as u32, [part[0], part[1]], [part[2], part[3]].map(|v| v.next_multiple_of(TILE)))?);
                shown.extend(self.boxes(image, &view, *part));
            }
            batch.records.resize(PARTS * (output + 1), PatchRecord::nowhere());
            batch.shown.push(shown);
        }
        Ok(batch)
    }

    /// How an image is shown in a part of an input.
    fn view(&self, image: usize, [x0, y0, x1, y1]: Part, random: &mut Random) -> View {
        let (c, a, of) = (self.config, &self.config.augment, &self.dataset.images[image]);
        let size = [of.width, of.height].map(f64::from);
        let [least, most] = a.scale.map(f64::ln);
        let scale = size[0].max(size[1]) / c.detector.input as f64 / random.range(least, most).exp();
        let turns = if a.quarter_turns { random.below(4) as f64 } else { 0.0 };
        let flip = if a.mirror { sign(random) } else { 1.0 };
        let matrix = turn(turns * std::f64::consts::FRAC_PI_2, scale, flip);
        let ends = [[x0, x1], [y0, y1]].map(|e| e.map(f64::from));
        if !of.boxes.is_empty() && random.unit() < a.about_box {
            let from = of.boxes[random.below(of.boxes.len())].bbox.center();
            let at = ends.map(|[a, b]| random.range(a + BORDER * (b - a), b - BORDER * (b - a)));
            return View { from, at, matrix };
        }
        let from = size.map(|s| s * random.range(MIDDLE[0], MIDDLE[1]));
        View { from, at: ends.map(|[a, b]| (a + b) / 2.0), matrix }
    }

    /// The boxes of an image that a part of an input shows: too little of one, or one too small, is neither to be found nor missed.
    fn boxes(&self, image: usize, view: &View, part: Part) -> Vec<Shown> {
        let [x0, y0, x1, y1] = part.map(f64::from);
        let one = |t: &crate::detect::Truth| {
            let whole = view.bbox(&t.bbox);
            let cut = whole.shifted([-x0, -y0]).clip([x1 - x0, y1 - y0])?.shifted([x0, y0]);
            let plain = !t.crowd
                && !t.difficult
                && cut.area() >= self.config.least_visible * whole.area()
                && cut.width().min(cut.height()) >= LEAST_SIDE;
            Some(Shown { bbox: cut, class: plain.then_some(t.category) })
        };
        self.dataset.images[image].boxes.iter().filter_map(one).collect()
    }
}

/// The quarters of an input that meet anywhere about its middle.
fn quarters(side: u32, random: &mut Random) -> [Part; 4] {
    let tiles = (side / TILE).max(2);
    let [x, y] = [0; 2].map(|_| ((random.range(MEET[0], MEET[1]) * f64::from(tiles)).round() as u32).clamp(1, tiles - 1) * TILE);
    [[0, 0, x, y], [x, 0, side, y], [0, y, x, side], [x, y, side, side]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_go_there_and_back() {
        for (turns, flip) in [(0.0, 1.0), (1.0, 1.0), (2.0, -1.0), (3.0, -1.0)] {
            let matrix = turn(turns * std::f64::consts::FRAC_PI_2, 2.0, flip);
            let view = View { from: [30.0, 20.0], at: [8.0, 12.0], matrix };
            assert_eq!(view.place([30.0, 20.0]).map(f64::round), [8.0, 12.0]);
            let middle = view.middle(64.0);
            assert!(view.place(middle).iter().all(|v| (v - 32.0).abs() < 1e-9));
            // Twice as small, of the same shape up to the turn.
            let b = view.bbox(&BBox::from_xywh([25.0, 18.0, 10.0, 4.0]));
            let mut sides = [b.width(), b.height()];
            sides.sort_by(f64::total_cmp);
            assert!((sides[0] - 2.0).abs() < 1e-9 && (sides[1] - 5.0).abs() < 1e-9, "{sides:?}");
            assert!((b.center()[0] - 8.0).abs() < 1e-9 && (b.center()[1] - 12.0).abs() < 1e-9);
        }
    }

    #[test]
    fn quarters_tile_an_input() {
        let mut random = Random::new(1, 2);
        for _ in 0..100 {
            let parts = quarters(320, &mut random);
            let area: u32 = parts.iter().map(|[x0, y0, x1, y1]| (x1 - x0) * (y1 - y0)).sum();
            assert_eq!(area, 320 * 320);
            assert!(parts.iter().flatten().all(|v| v.is_multiple_of(TILE)));
            assert!((96..=224).contains(&parts[0][2]) && (96..=224).contains(&parts[0][3]));
        }
    }
}
