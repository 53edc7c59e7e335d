//! Feature grids slid over each other: host side of `shaders/slide.wgsl`.

use super::{both_widths, expect, expect_shape, matrix_f32, vectorised};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("slide");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The farthest that grids slide.
const MOST: usize = 8;

/// How far grids slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slide {
    /// Squares a side, G: a row of D values is a grid [G, G, D / G²].
    pub side: usize,
    /// The farthest shift along either axis, squares; below `side`, and 8 at most.
    pub reach: usize,
}

impl Slide {
    /// The number of shifts, S = (2 reach + 1)². Number s is (s mod (2 reach + 1), s / (2 reach + 1)) - reach, x first.
    pub fn shifts(&self) -> usize {
        (2 * self.reach + 1).pow(2)
    }

    /// Shift number s, squares: x to the right, y down.
    pub fn shift(&self, s: usize) -> [i64; 2] {
        let wide = 2 * self.reach + 1;
        [s % wide, s / wide].map(|v| v as i64 - self.reach as i64)
    }

    /// The share of the squares that overlap under shift number s.
    pub fn share(&self, s: usize) -> f64 {
        let left = self.shift(s).map(|d| self.side as f64 - d.unsigned_abs() as f64);
        left[0] * left[1] / (self.side * self.side) as f64
    }

    /// Channels a square of rows of `dim` values.
    fn channels(&self, op: &str, dim: usize) -> Result<usize> {
        let squares = self.side * self.side;
        if self.side <= self.reach || self.reach > MOST || !dim.is_multiple_of(squares) {
            return Err(Error::shape(op, format!("rows of {dim} as {0} x {0} squares that slide by up to {1}", self.side, self.reach)));
        }
        Ok(dim / squares)
    }

    fn params(&self, total: usize, columns: usize, queries: usize, top: usize) -> Params {
        let [total, side, columns, reach, queries, top] = [total, self.side, columns, self.reach, queries, top].map(|v| v as u32);
        Params { total, side, columns, reach, queries, top }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    total: u32,
    side: u32,
    columns: u32,
    reach: u32,
    queries: u32,
    top: u32,
}

/// With an invocation for each of the shifts up and down, or (`whole`) for all of them: less to load, but fewer invocations.
fn correlating(reach: usize, whole: bool) -> Variant {
    let wide = 2 * reach as i64 + 1;
    Variant::new().int("KIND", 0).int("REACH", reach as i64).int("DOWN", if whole { wide } else { 1 })
}

fn having(kind: i64) -> Variant {
    Variant::new().int("KIND", kind).int("SPAN", SPAN as i64)
}

/// Channels, or groups of four, of a square that an invocation of the other kinds has: where it lies costs more than the product.
const SPAN: usize = 4;
/// The farthest that an invocation has all shifts: (2 reach + 1)² sums.
const WHOLE: usize = 2;

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let whole = (1..=WHOLE).map(|reach| correlating(reach, true));
    both_widths((0..=MOST).map(|reach| correlating(reach, false)).chain(whole).chain((1..4).map(having)))
}

/// Appends scores [R, S] of rows c [R, D], each against the row of q [Q, D] that its owner (u32 \[R\]) names: for each shift the sum of
/// products of the squares that lie on each other, times G² over their number. With unit vectors that is a cosine, as if what does not
/// overlap were like what does; without a shift it is the cosine. Square p of q then lies on square p + shift of c. A row whose owner is
/// not below Q is nobody's, costs next to nothing and gets 0.
///
/// # Errors
/// Shapes differ from these, or D is not a whole number of squares.
pub fn correlate(plan: &mut PlanBuilder<'_>, slide: Slide, q: &Tensor, c: &Tensor, owners: &Tensor, scores: &Tensor) -> Result<()> {
    let op = "slide";
    let ((queries, dim), (rows, _)) = (matrix_f32(op, "q", q)?, matrix_f32(op, "c", c)?);
    let channels = slide.channels(op, dim)?;
    expect_shape(op, "c", c, &[rows, dim])?;
    expect(op, "owners", owners, &[rows], DType::U32)?;
    expect_shape(op, "scores", scores, &[rows, slide.shifts()])?;
    // On a CPU a load costs more than a multiply-add.
    let whole = plan.engine().caps().software && (1..=WHOLE).contains(&slide.reach);
    let (variant, vec) = vectorised(correlating(slide.reach, whole), &[channels]);
    let items = rows * if whole { 1 } else { 2 * slide.reach + 1 };
    let params = slide.params(items, channels / vec, queries, 0);
    let cost = Cost { flops: (2 * scores.len() * dim) as f64, bytes: (q.bytes() + c.bytes()) as f64 };
    plan.dispatch(op, &SHADER, &variant, &[q, c, owners, scores].map(Into::into), &params, Groups::for_items(items, 64), cost)
}

/// Appends y [Q (T + 1), D]: what each row of q [Q, D] has in common, value by value, with each of its T rows of c [Q T, D], moved by
/// their `shifts` (u32 \[Q T\]; what is no shift counts as none), and behind them a row of zeros that stands for none of them. Row
/// q (T + 1) + k is square p of q times square p + shift of c, times G² over the number of squares that overlap, and 0 where c has none;
/// its sum is the score of [`correlate`].
///
/// # Errors
/// As [`correlate`].
pub fn common(plan: &mut PlanBuilder<'_>, slide: Slide, q: &Tensor, c: &Tensor, shifts: &Tensor, y: &Tensor) -> Result<()> {
    let (queries, candidates, dim) = grids("common", slide, ("q", q), ("c", c))?;
    expect_shape("common", "y", y, &[queries + candidates, dim])?;
    shifted(plan, "common", 1, slide, [queries, candidates], [q, c, shifts, y])
}

/// Appends dc [Q T, D] of [`common`] from dy.
///
/// # Errors
/// As [`correlate`].
pub fn common_backward_c(plan: &mut PlanBuilder<'_>, slide: Slide, q: &Tensor, dy: &Tensor, shifts: &Tensor, dc: &Tensor) -> Result<()> {
    let (queries, candidates, dim) = grids("common backward", slide, ("q", q), ("dc", dc))?;
    expect_shape("common backward", "dy", dy, &[queries + candidates, dim])?;
    shifted(plan, "common backward", 2, slide, [queries, candidates], [q, dy, shifts, dc])
}

/// Appends dq [Q, D] of [`common`] from dy, the candidates' shares added in their order.
///
/// # Errors
/// As [`correlate`].
pub fn common_backward_q(plan: &mut PlanBuilder<'_>, slide: Slide, c: &Tensor, dy: &Tensor, shifts: &Tensor, dq: &Tensor) -> Result<()> {
    let (queries, candidates, dim) = grids("common backward", slide, ("dq", dq), ("c", c))?;
    expect_shape("common backward", "dy", dy, &[queries + candidates, dim])?;
    shifted(plan, "common backward", 3, slide, [queries, candidates], [c, dy, shifts, dq])
}

/// Rows of queries and of their candidates, and values a row.
fn grids(op: &str, slide: Slide, q: (&str, &Tensor), c: (&str, &Tensor)) -> Result<(usize, usize, usize)> {
    let ((queries, dim), (candidates, wide)) = (matrix_f32(op, q.0, q.1)?, matrix_f32(op, c.0, c.1)?);
    slide.channels(op, dim)?;
    if wide != dim || !candidates.is_multiple_of(queries) {
        return Err(Error::shape(op, format!("{candidates} x {wide} candidates of {queries} x {dim} queries, not as many of each")));
    }
    Ok((queries, candidates, dim))
}

fn shifted(plan: &mut PlanBuilder<'_>, op: &str, kind: i64, slide: Slide, rows: [usize; 2], tensors: [&Tensor; 4]) -> Result<()> {
    let [a, b, shifts, out] = tensors;
    let [queries, candidates] = rows;
    expect(op, "shifts", shifts, &[candidates], DType::U32)?;
    let dim = out.len() / out.shape()[0];
    let channels = slide.channels(op, dim)?;
    let (variant, vec) = vectorised(having(kind), &[channels]);
    let items = out.len() / channels * (channels / vec).div_ceil(SPAN);
    let params = slide.params(items, channels / vec, queries, candidates / queries);
    let cost = Cost { flops: (2 * candidates * dim) as f64, bytes: (a.bytes() + b.bytes() + out.bytes()) as f64 };
    plan.dispatch(op, &SHADER, &variant, &tensors.map(Into::into), &params, Groups::for_items(items, 64), cost)
}
