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

    fn params(&self, total: usize, columns: usize, queries: usize) -> Params {
        let [total, side, columns, reach, queries] = [total, self.side, columns, self.reach, queries].map(|v| v as u32);
        Params { total, side, columns, reach, queries }
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
}

fn correlating(reach: usize) -> Variant {
    Variant::new().int("KIND", 0).int("REACH", reach as i64)
}

fn shifting(backward: bool) -> Variant {
    Variant::new().int("KIND", 1).flag("BACKWARD", backward)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths((0..=MOST).map(correlating).chain([false, true].map(shifting)))
}

/// Appends scores [R, S] of rows c [R, D], each against the row of q [Q, D] that its owner (u32 \[R\], below Q) names: for each shift the
/// sum of products of the squares that lie on each other, times G² over their number. With unit vectors that is a cosine, as if what does not overlap were like
/// what does; without a shift it is the cosine. Square p of q then lies on square p + shift of c.
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
    let (variant, vec) = vectorised(correlating(slide.reach), &[channels]);
    let items = rows * (2 * slide.reach + 1);
    let params = slide.params(items, channels / vec, queries);
    let cost = Cost { flops: (2 * scores.len() * dim) as f64, bytes: (q.bytes() + c.bytes()) as f64 };
    plan.dispatch(op, &SHADER, &variant, &[q, c, owners, scores].map(Into::into), &params, Groups::for_items(items, 64), cost)
}

/// Appends y [R, D], the rows of x [R, D] moved by their `shifts` (u32 \[R\]; what is no shift counts as none): square p of y is square
/// p + shift of x times G² over the number of squares that stay, and 0 where x has none. Its product with a query's row is the score of
/// [`correlate`].
///
/// # Errors
/// As [`correlate`].
pub fn forward(plan: &mut PlanBuilder<'_>, slide: Slide, x: &Tensor, shifts: &Tensor, y: &Tensor) -> Result<()> {
    shifted(plan, "slide by a shift", slide, false, ["x", "y"], [x, shifts, y])
}

/// Appends dx [R, D] from dy [R, D] and the `shifts` of [`forward`].
///
/// # Errors
/// As [`correlate`].
pub fn backward(plan: &mut PlanBuilder<'_>, slide: Slide, dy: &Tensor, shifts: &Tensor, dx: &Tensor) -> Result<()> {
    shifted(plan, "slide by a shift backward", slide, true, ["dy", "dx"], [dy, shifts, dx])
}

fn shifted(plan: &mut PlanBuilder<'_>, op: &str, slide: Slide, backward: bool, names: [&str; 2], tensors: [&Tensor; 3]) -> Result<()> {
    let [x, shifts, y] = tensors;
    let (rows, dim) = matrix_f32(op, names[0], x)?;
    let channels = slide.channels(op, dim)?;
    expect(op, "shifts", shifts, &[rows], DType::U32)?;
    expect_shape(op, names[1], y, &[rows, dim])?;
    let (variant, vec) = vectorised(shifting(backward), &[channels]);
    let params = slide.params(rows * dim / vec, channels / vec, 1);
    let cost = Cost::bytes(x.bytes() + y.bytes());
    plan.dispatch(op, &SHADER, &variant, &tensors.map(Into::into), &params, Groups::for_items(rows * dim / vec, 64), cost)
}
