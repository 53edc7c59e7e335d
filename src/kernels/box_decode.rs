//! What a detector's numbers say of boxes, x0 y0 x1 y1, and the numbers that boxes would have: host side of `shaders/box_decode.wgsl`.

use super::{expect_shape, matrix_f32, rows_cols, rows_of_four, same_len};
use crate::gpu::{Binding, Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("box_decode");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<DeltaParams>(), size_of::<YoloParams>()];

/// A decoded side is at most its anchor's times the exponential of this, the logarithm of 1000 / 16; beyond, its slope is 0.
pub const MOST_GROWTH: f32 = 4.135_166_6;

/// Boxes as differences from anchors (Girshick et al., "Rich feature hierarchies for accurate object detection", 2014; Ren et al., "Faster
/// R-CNN", 2015): the centre's in the anchor's sides, the logarithms of the sides' ratios, each over its deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deltas {
    /// Of dx, dy, dw and dh, above 0.
    pub deviations: [f32; 4],
    /// Rows that an anchor has, one after the other: one, or one a class.
    pub classes: usize,
}

impl Deltas {
    /// One row an anchor, with deviations of 1.
    pub const PLAIN: Self = Self { deviations: [1.0; 4], classes: 1 };

    fn check(&self, op: &str, n: usize, anchors: &Tensor) -> Result<DeltaParams> {
        let (m, _) = matrix_f32(op, "anchors", anchors)?;
        expect_shape(op, "anchors", anchors, &[m, 4])?;
        self.check_rows(op, n, m)?;
        let [dx, dy, dw, dh] = self.deviations;
        Ok(DeltaParams { n: n as u32, classes: self.classes as u32, m: m as u32, limit: MOST_GROWTH, dx, dy, dw, dh })
    }

    /// Refuses deviations that are not above 0 and numbers of rows that are not some images' of `m` anchors.
    pub(crate) fn check_rows(&self, op: &str, n: usize, m: usize) -> Result<()> {
        if let Some(d) = self.deviations.iter().find(|d| !(**d > 0.0 && d.is_finite())) {
            return Err(Error::shape(op, format!("deviations must be above 0, not {d}")));
        }
        match self.classes * m {
            0 => Err(Error::shape(op, format!("{} rows of {m} anchors: there must be one", self.classes))),
            each if n.is_multiple_of(each) => Ok(()),
            _ => Err(Error::shape(op, format!("{n} rows are not those of whole images of {m} anchors x {}", self.classes))),
        }
    }

    /// The row that decodes to `target`: what the network should say at this anchor.
    ///
    /// # Errors
    /// A box without area, or with corners that are not finite.
    pub fn encode(&self, anchor: [f64; 4], target: [f64; 4]) -> Result<[f64; 4]> {
        let ([ca, a], [ct, t]) = (centre_sides(anchor)?, centre_sides(target)?);
        let raw = [(ct[0] - ca[0]) / a[0], (ct[1] - ca[1]) / a[1], (t[0] / a[0]).ln(), (t[1] / a[1]).ln()];
        Ok([0, 1, 2, 3].map(|k| raw[k] / f64::from(self.deviations[k])))
    }

    /// The box that a row says at this anchor, corners x0 y0 x1 y1: what [`deltas`] does, for a few rows on the host.
    pub fn decode(&self, anchor: [f64; 4], row: [f64; 4]) -> [f64; 4] {
        let [x0, y0, x1, y1] = anchor;
        let [dx, dy, dw, dh] = [0, 1, 2, 3].map(|k| row[k] * f64::from(self.deviations[k]));
        let [w, h] = [x1 - x0, y1 - y0];
        let [x, y] = [(x0 + x1) / 2.0 + dx * w, (y0 + y1) / 2.0 + dy * h];
        let grown = |v: f64| v.min(f64::from(MOST_GROWTH)).exp();
        let [w, h] = [w * grown(dw) / 2.0, h * grown(dh) / 2.0];
        [x - w, y - h, x + w, y + h]
    }
}

/// Boxes as a YOLOv3 layer says them (Redmon and Farhadi, "YOLOv3: an incremental improvement", 2018): a row for each anchor of each
/// cell of each image's grid, as a convolution leaves them; two logits for the centre's place in its cell, two logarithms for the
/// sides over the anchor's, then the logits of objectness and classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Yolo {
    /// Cells down and across.
    pub grid: [usize; 2],
    /// Sides of a cell, x and y, in the boxes' unit.
    pub stride: [f32; 2],
    /// How many classes there are logits of.
    pub classes: usize,
}

impl Yolo {
    /// Numbers a row.
    pub fn width(&self) -> usize {
        5 + self.classes
    }

    fn check(&self, op: &str, x: &Tensor, anchors: &Tensor) -> Result<YoloParams> {
        rows_cols(op, "x", x)?;
        let (m, _) = matrix_f32(op, "anchors", anchors)?;
        expect_shape(op, "anchors", anchors, &[m, 2])?;
        self.rows(op, x.len(), m)?;
        let [down, across] = self.grid.map(|v| v as u32);
        let [stride_x, stride_y] = self.stride;
        Ok(YoloParams { n: x.len() as u32, width: self.width() as u32, m: m as u32, down, across, limit: MOST_GROWTH, stride_x, stride_y })
    }

    /// The number of rows that so many elements are; refuses what is not some images' of `m` anchors, and strides that are not above 0.
    pub(crate) fn rows(&self, op: &str, elements: usize, m: usize) -> Result<usize> {
        if let Some(s) = self.stride.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
            return Err(Error::shape(op, format!("strides must be above 0, not {s}")));
        }
        let [down, across] = self.grid;
        match down * across * m * self.width() {
            0 => Err(Error::shape(op, format!("a grid of {down} x {across} cells of {m} anchors has no rows"))),
            each if elements.is_multiple_of(each) => Ok(elements / self.width()),
            each => Err(Error::shape(
                op,
                format!(
                    "{elements} numbers are not those of whole images of {down} x {across} cells x {m} anchors x {} ({each})",
                    self.width()
                ),
            )),
        }
    }

    /// The cell, down and across, that a box's centre lies in: the one whose rows should say it.
    ///
    /// # Errors
    /// A box without area, or whose centre is outside the grid.
    pub fn cell(&self, target: [f64; 4]) -> Result<[usize; 2]> {
        let [c, _] = centre_sides(target)?;
        let at = [1, 0].map(|k| (c[k] / f64::from(self.stride[k])).floor());
        match [0, 1].iter().all(|k| at[*k] >= 0.0 && at[*k] < self.grid[*k] as f64) {
            true => Ok(at.map(|v| v as usize)),
            false => Err(Error::shape("encode box", format!("the centre of {target:?} lies outside the grid of {:?} cells", self.grid))),
        }
    }

    /// What the first four numbers of a row should say of `target` in a cell (down, across) at an anchor's sides: the places in the cell, 0
    /// to 1 and as sigmoids of two logits, and the logarithms.
    ///
    /// # Errors
    /// A box without area, or with corners that are not finite.
    pub fn encode(&self, cell: [usize; 2], anchor: [f64; 2], target: [f64; 4]) -> Result<[f64; 4]> {
        let [c, s] = centre_sides(target)?;
        let place = [0, 1].map(|k| c[k] / f64::from(self.stride[k]) - cell[1 - k] as f64);
        Ok([place[0], place[1], (s[0] / anchor[0]).ln(), (s[1] / anchor[1]).ln()])
    }
}

/// Centre and sides of a box, which must have an area.
fn centre_sides([x0, y0, x1, y1]: [f64; 4]) -> Result<[[f64; 2]; 2]> {
    let sides = [x1 - x0, y1 - y0];
    match sides.iter().all(|s| *s > 0.0 && s.is_finite()) {
        true => Ok([[(x0 + x1) / 2.0, (y0 + y1) / 2.0], sides]),
        false => Err(Error::shape("encode box", format!("{:?} has no area, or corners that are no numbers", [x0, y0, x1, y1]))),
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct DeltaParams {
    n: u32,
    classes: u32,
    m: u32,
    limit: f32,
    dx: f32,
    dy: f32,
    dw: f32,
    dh: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct YoloParams {
    n: u32,
    width: u32,
    m: u32,
    down: u32,
    across: u32,
    limit: f32,
    stride_x: f32,
    stride_y: f32,
}

fn variant(kind: i64) -> Variant {
    Variant::new().int("KIND", kind)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    (0..4).map(variant).collect()
}

/// One invocation an item; each of the tensors but the anchors is as large as the first.
fn dispatch<P: Pod>(plan: &mut PlanBuilder<'_>, op: &str, kind: i64, tensors: &[&Tensor], params: &P, items: usize) -> Result<()> {
    let bindings: Vec<Binding<'_>> = tensors.iter().map(|t| Binding::from(*t)).collect();
    let cost = Cost { flops: 10.0 * tensors[0].len() as f64, bytes: ((tensors.len() as u64 - 1) * tensors[0].bytes()) as f64 };
    plan.dispatch(op, &SHADER, &variant(kind), &bindings, params, Groups::for_items(items, 64), cost)
}

/// Appends the boxes y that differ by the rows d of four from `anchors` [M, 4]. Row r is of anchor r / classes mod M: those of an image, then
/// those of the next. Centres are the anchor's plus deviation times difference times side, sides the anchor's times
/// exp(deviation times difference), which grows to [`MOST_GROWTH`].
///
/// # Errors
/// d is empty, not f32, no rows of four or not those of whole images; y is not as large; anchors are not [M, 4]; deviations are not above 0.
pub fn deltas(plan: &mut PlanBuilder<'_>, config: &Deltas, d: &Tensor, anchors: &Tensor, y: &Tensor) -> Result<()> {
    let op = "decode deltas";
    let n = rows_of_four(op, "d", d)?;
    let params = config.check(op, n, anchors)?;
    same_len(op, &[d, y])?;
    dispatch(plan, op, 0, &[d, anchors, y], &params, n)
}

/// Appends dd, the gradient in d of [`deltas`], from that of the boxes dy.
///
/// # Errors
/// As [`deltas`].
pub fn deltas_backward(plan: &mut PlanBuilder<'_>, config: &Deltas, d: &Tensor, anchors: &Tensor, dy: &Tensor, dd: &Tensor) -> Result<()> {
    let op = "decode deltas backward";
    let n = rows_of_four(op, "d", d)?;
    let params = config.check(op, n, anchors)?;
    same_len(op, &[d, dy, dd])?;
    dispatch(plan, op, 1, &[d, anchors, dy, dd], &params, n)
}

/// Appends y, the rows x of [`Yolo::width`] numbers with boxes in the first four; the logits behind stay as they are. Rows run over the
/// `anchors` [M, 2], sides x and y, then over the cells across and down, then over the images. A side grows to [`MOST_GROWTH`].
///
/// # Errors
/// x is empty, not f32 or not those of whole images; y is not as large; anchors are not [M, 2]; strides are not above 0.
pub fn yolo(plan: &mut PlanBuilder<'_>, config: &Yolo, x: &Tensor, anchors: &Tensor, y: &Tensor) -> Result<()> {
    let op = "decode yolo";
    let params = config.check(op, x, anchors)?;
    let n = same_len(op, &[x, y])?;
    dispatch(plan, op, 2, &[x, anchors, y], &params, n)
}

/// Appends dx, the gradient in x of [`yolo`], from that of its output dy.
///
/// # Errors
/// As [`yolo`].
pub fn yolo_backward(plan: &mut PlanBuilder<'_>, config: &Yolo, x: &Tensor, anchors: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "decode yolo backward";
    let params = config.check(op, x, anchors)?;
    let n = same_len(op, &[x, dy, dx])?;
    dispatch(plan, op, 3, &[x, anchors, dy, dx], &params, n)
}
