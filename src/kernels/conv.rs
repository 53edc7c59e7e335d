//! Convolution: host side of `shaders/conv.wgsl`.

use super::tiling::{Subgroups, Tiling};
use super::{reduce, winograd};
use crate::gpu::{Caps, Cost, DType, Error, Groups, PlanBuilder, Precision, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::str::FromStr;

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("conv");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The geometry of a convolution, shared by its three passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Conv {
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Step between output positions.
    pub stride: usize,
    /// Zeros added at the top and left (and as far as needed at the bottom and right).
    pub pad: [usize; 2],
    /// Step between taps.
    pub dilation: usize,
    /// Channel groups; both channel counts are multiples of it.
    pub groups: usize,
}

impl Conv {
    /// A square kernel with "same" padding for odd sizes at stride 1.
    pub fn square(kernel: usize, stride: usize, dilation: usize) -> Self {
        let pad = dilation * (kernel - 1) / 2;
        Self { kernel: [kernel; 2], stride, pad: [pad; 2], dilation, groups: 1 }
    }

    /// Output shape [N, OH, OW, CO] for an input [N, H, W, CI]: OH = (H + 2 pad - dilation (kernel - 1) - 1) / stride + 1.
    ///
    /// # Errors
    /// A zero size, a kernel larger than the padded image, channels that the groups do not divide.
    pub fn output(&self, x: &[usize], co: usize) -> Result<[usize; 4]> {
        let [n, h, w, ci] = x[..] else { return Err(Error::shape("conv", format!("input {x:?} is not [N, H, W, C]"))) };
        if self.kernel.contains(&0)
            || self.stride == 0
            || self.dilation == 0
            || self.groups == 0
            || !ci.is_multiple_of(self.groups)
            || !co.is_multiple_of(self.groups)
        {
            return Err(Error::shape("conv", format!("{self:?} does not fit {ci} -> {co} channels")));
        }
        let out = |size: usize, k: usize, pad: usize| {
            let reach = self.dilation * (k - 1) + 1;
            (size + 2 * pad).checked_sub(reach).map(|v| v / self.stride + 1)
        };
        match (out(h, self.kernel[0], self.pad[0]), out(w, self.kernel[1], self.pad[1])) {
            (Some(oh), Some(ow)) => Ok([n, oh, ow, co]),
            _ => Err(Error::shape(
                "conv",
                format!("the kernel {:?} (dilation {}) is larger than the padded input {x:?}", self.kernel, self.dilation),
            )),
        }
    }

    /// Shape of the weights: [KH * KW, CI / groups, CO].
    pub fn weights(&self, ci: usize, co: usize) -> [usize; 3] {
        [self.kernel[0] * self.kernel[1], ci / self.groups, co]
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    groups: u32,
    slice: u32,
    pad: u32,
}

/// Groups that keep a device busy; the weight gradient is split to reach it.
const BUSY: usize = 64;
/// Pixels of a slice at most on a software adapter, whose loops end after 65,535 turns: 18 for 16 pixels in tiles.
const LONGEST: usize = 1 << 15;

/// Rows that a subgroup of four lanes takes at most: SwiftShader, which has those, is minutes and gigabytes at compiling more.
const FOUR_LANES_ROWS: usize = 16;

/// A pass of a convolution; its number is the shader's MODE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// [`forward`]
    Forward = 0,
    /// [`backward_input`]
    Input = 1,
    /// [`backward_weights`]
    Weights = 2,
}

/// A way to compute a pass, the shorter programs first: what a device's [`Tuning`](crate::gpu::Tuning) chooses among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Every output as the sum of its products.
    Direct(Tiling),
    /// 16 products for 4 outputs in place of 36 ([`winograd`]): forward and input passes of 3 x 3 kernels at stride 1, in [`Precision::Full`].
    Winograd,
}

impl Way {
    /// Every way.
    pub fn all() -> impl Iterator<Item = Self> {
        Tiling::ALL.into_iter().map(Self::Direct).chain([Self::Winograd])
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(tiling) => tiling.fmt(f),
            Self::Winograd => f.write_str("winograd"),
        }
    }
}

impl FromStr for Way {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        if name == "winograd" { Ok(Self::Winograd) } else { name.parse().map(Self::Direct) }
    }
}

/// The MODE that transposes weights.
const TRANSPOSE: i64 = 3;

impl Pass {
    /// The family's name in a [`Tuning`](crate::gpu::Tuning).
    pub fn family(self) -> &'static str {
        match self {
            Self::Forward => "conv",
            Self::Input => "conv dx",
            Self::Weights => "conv dw",
        }
    }

    /// Its sizes there: the extents [rows, columns, inner] of the product that the pass is, for x [N, H, W, CI] and `co` output channels.
    ///
    /// # Errors
    /// As [`Conv::output`].
    pub fn sizes(self, conv: &Conv, x: [usize; 4], co: usize) -> Result<[usize; 3]> {
        let [n, oh, ow, _] = conv.output(&x, co)?;
        let shape = Shape { n, h: x[1], w: x[2], ci: x[3], oh, ow, co, images: [DType::F32; 2] };
        Ok(shape.product(conv, self))
    }
}

struct Shape {
    n: usize,
    h: usize,
    w: usize,
    ci: usize,
    oh: usize,
    ow: usize,
    co: usize,
    /// How x and y, or their gradients, are stored.
    images: [DType; 2],
}

impl Shape {
    fn check(conv: &Conv, op: &str, x: &Tensor, w: &Tensor, y: &Tensor) -> Result<Self> {
        super::expect_shape(op, "weights", w, w.shape())?;
        super::expect_stored(op, "x", x, x.shape())?;
        super::expect_stored(op, "y", y, y.shape())?;
        let [.., co] = y.shape()[..] else { return Err(Error::shape(op, "scalar output")) };
        let out = conv.output(x.shape(), co)?;
        let [n, h, wd, ci] = x.shape()[..] else { unreachable!("output() checked") };
        if y.shape() != out || w.len() != conv.weights(ci, co).iter().product::<usize>() {
            return Err(Error::shape(
                op,
                format!(
                    "x {:?}, weights {:?}, y {:?}; expected weights {:?} and y {out:?}",
                    x.shape(),
                    w.shape(),
                    y.shape(),
                    conv.weights(ci, co)
                ),
            ));
        }
        Ok(Self { n, h, w: wd, ci, oh: out[1], ow: out[2], co, images: [x.dtype(), y.dtype()] })
    }

    fn cost(&self, conv: &Conv) -> Cost {
        let taps = conv.kernel[0] * conv.kernel[1];
        let macs = self.n * self.oh * self.ow * self.co * taps * self.ci / conv.groups;
        let [x, y] = self.images.map(DType::bytes);
        let weights = 4 * taps * self.ci * self.co / conv.groups;
        let bytes = self.n * (self.h * self.w * self.ci * x + self.oh * self.ow * self.co * y) + weights;
        Cost { flops: 2.0 * macs as f64, bytes: bytes as f64 }
    }

    fn usable(&self, conv: &Conv, pass: Pass, way: Way, caps: &Caps, precision: Precision) -> bool {
        let fours = conv.groups == 1 && self.ci.is_multiple_of(4) && self.co.is_multiple_of(4);
        match way {
            Way::Direct(Tiling::Narrow) => false,
            Way::Direct(Tiling::Tiled { .. }) => true,
            Way::Direct(tiling @ Tiling::Cooperative) => tiling.runs_on(caps, precision),
            Way::Direct(tiling @ Tiling::Lanes { rows, .. }) => {
                tiling.runs_on(caps, precision) && fours && (rows <= FOUR_LANES_ROWS || !caps.subgroup_is(4))
            }
            Way::Winograd => {
                let kernel = *conv == Conv { kernel: [3, 3], stride: 1, pad: conv.pad, dilation: 1, groups: 1 };
                let (out, turned) = match pass {
                    Pass::Forward => ([self.n, self.oh, self.ow], true),
                    // It has 2 - pad zeros around what it reads.
                    Pass::Input => ([self.n, self.h, self.w], conv.pad.iter().all(|p| *p <= 2)),
                    Pass::Weights => return false,
                };
                let fits = fours && winograd::takes(caps, out, [self.ci, self.co]);
                kernel && turned && fits && precision == Precision::Full && self.images == [DType::F32; 2]
            }
        }
    }

    /// What the device's measurements say, else what is known of its kind.
    fn way(&self, conv: &Conv, pass: Pass, plan: &PlanBuilder<'_>) -> Way {
        let (engine, precision) = (plan.engine(), plan.precision());
        let caps = engine.caps();
        let usable = |w: &Way| self.usable(conv, pass, *w, caps, precision);
        if let Some(measured) = engine.tuning().choose_for(precision, pass.family(), &self.product(conv, pass), usable) {
            return measured;
        }
        let lanes = Way::Direct(Tiling::Lanes { rows: 16, columns: 1 });
        if caps.software && caps.subgroup_is(8) && usable(&lanes) { lanes } else { Way::Direct(Tiling::PLAIN) }
    }

    /// The extents [rows, columns, inner] of the product that a pass is, a group of channels.
    fn product(&self, conv: &Conv, pass: Pass) -> [usize; 3] {
        let (taps, ci, co) = (conv.kernel[0] * conv.kernel[1], self.ci / conv.groups, self.co / conv.groups);
        let (inputs, outputs) = (self.n * self.h * self.w, self.n * self.oh * self.ow);
        match pass {
            Pass::Forward => [outputs, co, taps * ci],
            Pass::Input => [inputs, ci, taps * co],
            Pass::Weights => [taps * ci, co, outputs],
        }
    }

    /// The constants of a pass; without one, of the weights' transposition.
    fn variant(&self, conv: &Conv, pass: Option<Pass>, tiling: Tiling, s: Subgroups, precision: Precision) -> Variant {
        let i = |v: usize| v as i64;
        let [x, y] = self.images;
        let [src, weights, dst] = match pass {
            Some(Pass::Forward) => [x, DType::F32, y],
            Some(Pass::Input) => [y, DType::F32, x],
            Some(Pass::Weights) => [x, y, DType::F32],
            None => [DType::F32; 3],
        };
        let types = [("SRC", src), ("WEIGHTS", weights), ("DST", dst)];
        super::stored(tiling.variant(Variant::new(), s, precision), 1, &types)
            .int("MODE", pass.map_or(TRANSPOSE, |p| p as i64))
            .int("KH", i(conv.kernel[0]))
            .int("KW", i(conv.kernel[1]))
            .int("STRIDE", i(conv.stride))
            .int("PAD_Y", i(conv.pad[0]))
            .int("PAD_X", i(conv.pad[1]))
            .int("DIL", i(conv.dilation))
            .int("GROUPS", i(conv.groups))
            .int("H", i(self.h))
            .int("W", i(self.w))
            .int("CI", i(self.ci))
            .int("OH", i(self.oh))
            .int("OW", i(self.ow))
            .int("CO", i(self.co))
            .flag("BIAS", false)
            .flag("RELU", false)
    }
}

/// Every kind of variant on one geometry, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let conv = Conv { kernel: [3, 3], stride: 2, pad: [1, 1], dilation: 1, groups: 1 };
    let shape = |images| Shape { n: 1, h: 8, w: 8, ci: 8, oh: 4, ow: 4, co: 32, images };
    let mut all = vec![transpose_variant(&shape([DType::F32; 2]), &conv)];
    let tilings = Tiling::with_subgroups().into_iter().filter(|(t, ..)| *t != Tiling::Narrow);
    // x and y are loaded and stored alike: one of them as f16 alone says nothing new.
    let stored = [DType::F32, DType::F16].map(|t| [t; 2]);
    for ((tiling, s, precision), images) in tilings.flat_map(|t| stored.map(|i| (t, i))) {
        let shape = shape(images);
        let of = |pass: Pass| shape.variant(&conv, Some(pass), tiling, s, precision);
        all.push(of(Pass::Forward).flag("BIAS", true).flag("RELU", true));
        all.extend([Pass::Forward, Pass::Input, Pass::Weights].map(of));
    }
    all
}

fn transpose_variant(shape: &Shape, conv: &Conv) -> Variant {
    shape.variant(conv, None, Tiling::PLAIN, Subgroups { lanes: 0, side: 0 }, Precision::Full)
}

/// Appends a pass in a way of the caller's choice: `tensors` are those of the pass's own function in its order (without a bias).
///
/// # Errors
/// As the pass's own function; a way that the device or the shapes do not allow.
pub fn pass_by(plan: &mut PlanBuilder<'_>, way: Way, pass: Pass, conv: &Conv, tensors: [&Tensor; 3]) -> Result<()> {
    let [a, b, c] = tensors;
    let s = match pass {
        Pass::Forward => Shape::check(conv, "conv", a, b, c),
        Pass::Input => Shape::check(conv, "conv dx", c, b, a),
        Pass::Weights => Shape::check(conv, "conv dw", a, c, b),
    }?;
    if !s.usable(conv, pass, way, plan.engine().caps(), plan.precision()) {
        return Err(Error::shape(pass.family(), format!("{way} does not take these shapes on this device")));
    }
    match pass {
        Pass::Forward => append_forward(plan, way, conv, &s, [a, b, c], None, false),
        Pass::Input => append_input(plan, way, conv, &s, tensors),
        Pass::Weights => append_weights(plan, way, conv, &s, tensors),
    }
}

/// Appends y = act(conv(x, w) + bias): x [N, H, W, CI], w [KH*KW, CI/groups, CO], bias \[CO\] or none, y [N, OH, OW, CO];
/// act is ReLU where `relu`, else nothing. x and y may be stored as f16, each by itself, here as in the other passes.
///
/// # Errors
/// Shapes that do not fit.
pub fn forward(
    plan: &mut PlanBuilder<'_>,
    conv: &Conv,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    relu: bool,
    y: &Tensor,
) -> Result<()> {
    let s = Shape::check(conv, "conv", x, w, y)?;
    if let Some(b) = bias
        && (b.len() != s.co || b.dtype() != DType::F32)
    {
        return Err(Error::shape("conv", format!("bias {:?} for {} output channels", b.shape(), s.co)));
    }
    let way = s.way(conv, Pass::Forward, plan);
    append_forward(plan, way, conv, &s, [x, w, y], bias, relu)
}

fn append_forward(
    plan: &mut PlanBuilder<'_>,
    way: Way,
    conv: &Conv,
    s: &Shape,
    [x, w, y]: [&Tensor; 3],
    bias: Option<&Tensor>,
    relu: bool,
) -> Result<()> {
    let Way::Direct(tiling) = way else {
        let (w, bias) = (w.reshape(&conv.weights(s.ci, s.co))?, bias.map(|b| b.reshape(&[s.co])).transpose()?);
        return winograd::convolve(plan, [x, &w, y], false, conv.pad, bias.as_ref(), relu);
    };
    let subgroups = Subgroups::of(plan.engine().caps());
    let variant = s.variant(conv, Some(Pass::Forward), tiling, subgroups, plan.precision()).flag("BIAS", bias.is_some()).flag("RELU", relu);
    let groups = tiling.groups([s.n * s.oh * s.ow, s.co / conv.groups], subgroups) * conv.groups;
    let params = Params { n: s.n as u32, groups: groups as u32, slice: 0, pad: 0 };
    // Without a bias the weights stand in for the slot: read-only twice is allowed, and it is not read.
    let bindings = [x.into(), w.into(), bias.unwrap_or(w).into(), y.into()];
    plan.dispatch("conv", &SHADER, &variant, &bindings, &params, Groups::Linear(groups as u64), s.cost(conv))
}

/// Appends dx, the gradient with respect to the input, from dy [N, OH, OW, CO].
///
/// # Errors
/// Shapes that do not fit; no memory for the transposed weights.
pub fn backward_input(plan: &mut PlanBuilder<'_>, conv: &Conv, dy: &Tensor, w: &Tensor, dx: &Tensor) -> Result<()> {
    let s = Shape::check(conv, "conv dx", dx, w, dy)?;
    append_input(plan, s.way(conv, Pass::Input, plan), conv, &s, [dy, w, dx])
}

fn append_input(plan: &mut PlanBuilder<'_>, way: Way, conv: &Conv, s: &Shape, [dy, w, dx]: [&Tensor; 3]) -> Result<()> {
    let Way::Direct(tiling) = way else {
        let w = w.reshape(&conv.weights(s.ci, s.co))?;
        return winograd::convolve(plan, [dy, &w, dx], true, conv.pad.map(|p| 2 - p), None, false);
    };
    let subgroups = Subgroups::of(plan.engine().caps());
    let variant = s.variant(conv, Some(Pass::Input), tiling, subgroups, plan.precision());
    let mut params = Params { n: s.n as u32, groups: 0, slice: 0, pad: 0 };
    let Tiling::Lanes { rows, .. } = tiling else {
        let groups = tiling.groups([s.n * s.h * s.w, s.ci / conv.groups], subgroups) * conv.groups;
        params.groups = groups as u32;
        let bindings = [dy.into(), w.into(), dx.into()];
        return plan.dispatch("conv dx", &SHADER, &variant, &bindings, &params, Groups::Linear(groups as u64), s.cost(conv));
    };
    let wt = plan.scratch("conv weights transposed", w.shape(), DType::F32)?;
    let transpose = transpose_variant(s, conv);
    plan.dispatch(
        "conv transpose",
        &SHADER,
        &transpose,
        &[w.into(), (&wt).into()],
        &params,
        Groups::for_items(w.len(), 64),
        Cost::bytes(2 * w.bytes()),
    )?;
    let class = |size: usize, c: usize| (size + conv.stride - 1).saturating_sub(c) / conv.stride;
    // A group's rows lie in one class of the stride.
    let rows_of = |c: usize| (s.n * class(s.h, c / conv.stride) * class(s.w, c % conv.stride)).next_multiple_of(rows);
    let groups = tiling.groups([(0..conv.stride * conv.stride).map(rows_of).sum(), s.ci], subgroups);
    params.groups = groups as u32;
    plan.dispatch("conv dx", &SHADER, &variant, &[dy.into(), (&wt).into(), dx.into()], &params, Groups::Linear(groups as u64), s.cost(conv))
}

/// Appends dw [KH*KW, CI/groups, CO], the gradient with respect to the weights. The sum over pixels is split into slices
/// when there are few weights; the slices are added in a fixed order.
///
/// # Errors
/// Shapes that do not fit; no memory for the slices.
pub fn backward_weights(plan: &mut PlanBuilder<'_>, conv: &Conv, x: &Tensor, dy: &Tensor, dw: &Tensor) -> Result<()> {
    let s = Shape::check(conv, "conv dw", x, dw, dy)?;
    append_weights(plan, s.way(conv, Pass::Weights, plan), conv, &s, [x, dy, dw])
}

fn append_weights(plan: &mut PlanBuilder<'_>, way: Way, conv: &Conv, s: &Shape, [x, dy, dw]: [&Tensor; 3]) -> Result<()> {
    let Way::Direct(tiling) = way else { unreachable!("usable() was asked") };
    let subgroups = Subgroups::of(plan.engine().caps());
    let variant = s.variant(conv, Some(Pass::Weights), tiling, subgroups, plan.precision());
    let rows = conv.kernel[0] * conv.kernel[1] * s.ci / conv.groups;
    let pixels = s.n * s.oh * s.ow;
    // Slices are those of the plain tiling, so that all tilings add in the same order.
    let one = Tiling::PLAIN.groups([rows, s.co / conv.groups], subgroups) * conv.groups;
    let slice = slice(pixels, one, plan.engine().caps().software);
    let slices = pixels.div_ceil(slice);
    let all = tiling.groups([rows, s.co / conv.groups], subgroups) * conv.groups * slices;
    let params = Params { n: s.n as u32, groups: all as u32, slice: slice as u32, pad: 0 };
    let groups = Groups::Linear(all as u64);
    if slices == 1 {
        return plan.dispatch("conv dw", &SHADER, &variant, &[x.into(), dy.into(), dw.into()], &params, groups, s.cost(conv));
    }
    let partial = plan.scratch("conv dw slices", &[slices, dw.len()], DType::F32)?;
    plan.dispatch("conv dw", &SHADER, &variant, &[x.into(), dy.into(), (&partial).into()], &params, groups, s.cost(conv))?;
    reduce::sum_slices(plan, &partial, dw, 1.0, false)
}

/// Pixels of a slice of the weight gradient, of which `one` slice has so many groups.
fn slice(pixels: usize, one: usize, software: bool) -> usize {
    let (busy, longest) = if software { (BUSY, LONGEST) } else { (8 * BUSY, pixels) };
    pixels.div_ceil(busy.div_ceil(one)).min(longest).max(256).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for way in Way::all() {
            assert_eq!(way.to_string().parse(), Ok(way));
        }
        assert!(Way::all().is_sorted());
    }

    #[test]
    fn slices_keep_a_device_busy_and_a_software_adapters_loops_short() {
        assert_eq!(slice(1 << 20, 1, false), 1 << 11);
        assert_eq!(slice(1 << 20, 1, true), 1 << 14);
        assert_eq!(slice(100, 1, false), 256);
        // Many weights: one slice would do, were there not the loops.
        assert_eq!(slice(1 << 20, 1000, false), 1 << 20);
        assert_eq!(slice(1 << 20, 1000, true), 1 << 15);
    }
}
