//! Candidates that slide: the encoder's vectors are grids of squares, and a view that lies a square or two beside the query is found by
//! laying the one grid over the other with that shift. So a few views a cell do for many.

use super::reorder;
use crate::Result;
use crate::gpu::{self, DType, Engine, Plan, PlanBuilder, Tensor};
use crate::index::{CellHit, Database};
use crate::kernels::slide::{self, Slide};
use crate::nn::EncoderConfig;
use rayon::prelude::*;

/// Candidates of each query that slide.
pub const DEPTH: usize = 50;
/// Queries and candidates in one run at most.
const QUERIES: usize = 256;
const ROWS: usize = 1600;
/// Owner of a row that is not in use.
const NOBODY: u32 = u32::MAX;

/// Slides candidates' grids over their queries'.
#[derive(Debug)]
pub struct Slider {
    slide: Slide,
    plan: Plan,
    queries: Tensor,
    candidates: Tensor,
    owners: Tensor,
    scores: Tensor,
}

impl Slider {
    /// For vectors of `encoder`, by up to `reach` squares along either axis.
    ///
    /// # Errors
    /// An encoder whose vectors have no layout, or too few squares; device memory.
    pub fn new(engine: &Engine, encoder: &EncoderConfig, reach: usize) -> Result<Self> {
        Self::of(engine, encoder.dim(), layout(encoder.squares(), reach)?)
    }

    pub(super) fn of(engine: &Engine, dim: usize, slide: Slide) -> Result<Self> {
        // One more on each side, for the peak's place between the squares.
        let wider = Slide { reach: slide.reach + 1, ..slide };
        let tensor = |name: &str, shape: &[usize]| engine.tensor(name, shape, DType::F32);
        let (queries, candidates) = (tensor("queries", &[QUERIES, dim])?, tensor("candidates", &[ROWS, dim])?);
        let owners = engine.upload("owners", &[ROWS], DType::U32, &[NOBODY; ROWS])?;
        let scores = tensor("slid scores", &[ROWS, wider.shifts()])?;
        let mut plan = PlanBuilder::new(engine);
        slide::correlate(&mut plan, wider, &queries, &candidates, &owners, &scores)?;
        Ok(Self { slide, plan: plan.finish(), queries, candidates, owners, scores })
    }

    /// The farthest shift, squares.
    pub fn reach(&self) -> usize {
        self.slide.reach
    }

    /// Slides the first [`DEPTH`] candidates of each of `queries` [n, dim] and puts them in the new order: a score is the largest over
    /// all shifts, the centre lies at its peak. A candidate that slid before starts from its view again.
    ///
    /// # Errors
    /// The device.
    pub fn slide(&self, engine: &Engine, database: &Database, queries: &[f32], hits: &[Vec<CellHit>]) -> Result<Vec<Vec<CellHit>>> {
        let dim = database.dim();
        let mut all = Vec::with_capacity(hits.len());
        let mut rows = vec![0.0f32; ROWS * dim];
        let mut start = 0;
        while start < hits.len() {
            // As many queries as there is room for.
            let mut end = start;
            let mut owners = Vec::with_capacity(ROWS);
            while end < hits.len() && end - start < QUERIES && owners.len() + hits[end].len().min(DEPTH) <= ROWS {
                owners.extend(std::iter::repeat_n((end - start) as u32, hits[end].len().min(DEPTH)));
                end += 1;
            }
            owners.resize(ROWS, NOBODY);
            let now: Vec<&CellHit> = hits[start..end].iter().flat_map(|list| list.iter().take(DEPTH)).collect();
            now.par_iter().zip(rows.par_chunks_mut(dim)).for_each(|(h, row)| database.read_row(h.row as usize, row));
            engine.write_front(&self.queries, &queries[start * dim..end * dim])?;
            engine.write_front(&self.candidates, &rows[..now.len() * dim])?;
            engine.write(&self.owners, &owners)?;
            self.plan.submit(engine)?;
            let scores: Vec<f32> = engine.read(&self.scores)?;
            let shifts = self.scores.shape()[1];
            let moved: Vec<_> = now.par_iter().zip(scores.par_chunks(shifts)).map(|(h, s)| self.moved(database, h, s)).collect();
            let mut moved = moved.into_iter();
            for list in &hits[start..end] {
                let (front, scores): (Vec<CellHit>, Vec<f64>) = moved.by_ref().take(list.len().min(DEPTH)).unzip();
                let rest = list[front.len()..].iter().copied();
                all.push(reorder(&front.into_iter().chain(rest).collect::<Vec<_>>(), &scores));
            }
            start = end;
        }
        Ok(all)
    }

    /// The candidate where its best shift puts it, and that shift's score. Places beyond the cell's border are left to the cells there: of
    /// two cells that show one place, the one that holds it is right.
    fn moved(&self, database: &Database, hit: &CellHit, scores: &[f32]) -> (CellHit, f64) {
        let wide = 2 * self.slide.reach + 3;
        let middle = wide / 2;
        let at = |x: usize, y: usize| f64::from(scores[y * wide + x]);
        let step = square_px(database, self.slide.side);
        let (view, cell) = (database.row(hit.row as usize).centre_px, database.cell_px[hit.cell as usize]);
        let half = f64::from(database.manifest.grid.stride) / 2.0;
        let place = |x: usize, y: usize| {
            let peak = [between(at(x - 1, y), at(x, y), at(x + 1, y)), between(at(x, y - 1), at(x, y), at(x, y + 1))];
            let squares = [x, y].map(|v| v as f64 - middle as f64);
            [0, 1].map(|d| view[d] + (squares[d] + peak[d]) * step)
        };
        let inside = |p: [f64; 2]| (0..2).all(|d| (p[d] - cell[d]).abs() <= half);
        // Of equals the middle one, no shift, then the first.
        let mut best = (at(middle, middle), view);
        for (x, y) in (1..wide - 1).flat_map(|y| (1..wide - 1).map(move |x| (x, y))) {
            let better = at(x, y) > best.0 || (x, y) == (middle, middle) && at(x, y) == best.0;
            if better && inside(place(x, y)) {
                best = (at(x, y), place(x, y));
            }
        }
        (CellHit { centre_px: best.1, ..*hit }, best.0)
    }
}

/// How vectors of `squares` squares a side slide by up to `reach` of them.
///
/// # Errors
/// Vectors without a layout, or of too few squares.
pub(super) fn layout(squares: Option<usize>, reach: usize) -> gpu::Result<Slide> {
    let refuse = |why: String| Err(gpu::Error::shape("slide", why));
    match squares {
        Some(side) if reach + 1 < side => Ok(Slide { side, reach }),
        Some(side) => refuse(format!("vectors of {side} x {side} squares do not slide by {reach}: take less")),
        None => refuse("the encoder's vectors have no layout (its head is no grid), so nothing can slide: leave --slide out, in settings of a graph network say refiner.slide = 0".into()),
    }
}

/// The place of a parabola's peak through three values around the middle one, which is not the least, in squares. It stays within the square.
fn between(left: f64, middle: f64, right: f64) -> f64 {
    let bend = left - 2.0 * middle + right;
    if bend < 0.0 { (0.5 * (left - right) / bend).clamp(-0.49, 0.49) } else { 0.0 }
}

/// Side of a square, map pixels.
fn square_px(database: &Database, side: usize) -> f64 {
    f64::from(database.manifest.grid.cell) / side as f64
}

/// By which shift a candidate has slid from its view.
pub(super) fn shift(slide: Slide, database: &Database, hit: &CellHit) -> u32 {
    let view = database.row(hit.row as usize).centre_px;
    let reach = slide.reach as f64;
    let [x, y] = [0, 1].map(|d| {
        let squares = ((hit.centre_px[d] - view[d]) / square_px(database, slide.side)).round();
        (squares.clamp(-reach, reach) + reach) as u32
    });
    y * (2 * slide.reach as u32 + 1) + x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_lies_where_its_parabola_has_it() {
        // 1 - (x - 0.25)^2 at -1, 0 and 1.
        assert!((between(1.0 - 1.5625, 1.0 - 0.0625, 1.0 - 0.5625) - 0.25).abs() < 1e-12);
        assert_eq!(between(0.5, 1.0, 0.5), 0.0);
        assert_eq!(between(1.0, 1.0, 1.0), 0.0, "flat");
        assert_eq!(between(0.0, 1.0, 3.0), 0.0, "no peak");
        assert_eq!(between(-8.0, 1.0, 1.0), 0.49, "stays in its square");
    }
}
