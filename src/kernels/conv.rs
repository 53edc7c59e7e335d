//! Convolution: host side of `shaders/conv.wgsl`.

use super::reduce;
use crate::gpu::{Caps, Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

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

/// Rows a group of the lane variant computes.
const ROWS: usize = 16;
/// Groups that keep a device busy; the weight gradient is split to reach it.
const BUSY: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Forward = 0,
    Input = 1,
    Weights = 2,
    Transpose = 3,
}

struct Shape {
    n: usize,
    h: usize,
    w: usize,
    ci: usize,
    oh: usize,
    ow: usize,
    co: usize,
}

impl Shape {
    fn check(conv: &Conv, op: &str, x: &Tensor, w: &Tensor, y: &Tensor) -> Result<Self> {
        super::f32s(op, &[x, w, y])?;
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
        Ok(Self { n, h, w: wd, ci, oh: out[1], ow: out[2], co })
    }

    fn cost(&self, conv: &Conv) -> Cost {
        let taps = conv.kernel[0] * conv.kernel[1];
        let macs = self.n * self.oh * self.ow * self.co * taps * self.ci / conv.groups;
        let elements = self.n * (self.h * self.w * self.ci + self.oh * self.ow * self.co) + taps * self.ci * self.co / conv.groups;
        Cost { flops: 2.0 * macs as f64, bytes: 4.0 * elements as f64 }
    }

    fn lanes(&self, conv: &Conv, caps: &Caps) -> bool {
        caps.software && caps.subgroup_is(8) && conv.groups == 1 && self.ci.is_multiple_of(4) && self.co.is_multiple_of(4)
    }

    fn variant(&self, conv: &Conv, mode: Mode, lanes: bool) -> Variant {
        let i = |v: usize| v as i64;
        Variant::new()
            .int("MODE", mode as i64)
            .flag("KIND", lanes)
            .int("LANES", 8)
            .int("ROWS", i(ROWS))
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

    fn tiles(rows: usize, columns: usize) -> usize {
        rows.div_ceil(64) * columns.div_ceil(64)
    }
}

/// Every kind of variant on one geometry, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let conv = Conv { kernel: [3, 3], stride: 2, pad: [1, 1], dilation: 1, groups: 1 };
    let shape = Shape { n: 1, h: 8, w: 8, ci: 8, oh: 4, ow: 4, co: 32 };
    let mut all = vec![shape.variant(&conv, Mode::Transpose, true)];
    for lanes in [false, true] {
        all.push(shape.variant(&conv, Mode::Forward, lanes).flag("BIAS", true).flag("RELU", true));
        all.push(shape.variant(&conv, Mode::Forward, lanes));
        all.push(shape.variant(&conv, Mode::Input, lanes));
        all.push(shape.variant(&conv, Mode::Weights, lanes));
    }
    all
}

/// Appends y = act(conv(x, w) + bias): x [N, H, W, CI], w [KH*KW, CI/groups, CO], bias \[CO\] or none, y [N, OH, OW, CO];
/// act is ReLU where `relu`, else nothing.
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
    let lanes = s.lanes(conv, plan.engine().caps());
    let variant = s.variant(conv, Mode::Forward, lanes).flag("BIAS", bias.is_some()).flag("RELU", relu);
    let rows = s.n * s.oh * s.ow;
    let groups = match lanes {
        true => rows.div_ceil(ROWS) * (s.co / 4).div_ceil(8),
        false => Shape::tiles(rows, s.co / conv.groups) * conv.groups,
    };
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
    let lanes = s.lanes(conv, plan.engine().caps());
    let variant = s.variant(conv, Mode::Input, lanes);
    let mut params = Params { n: s.n as u32, groups: 0, slice: 0, pad: 0 };
    if !lanes {
        let groups = Shape::tiles(s.n * s.h * s.w, s.ci / conv.groups) * conv.groups;
        params.groups = groups as u32;
        return plan.dispatch(
            "conv dx",
            &SHADER,
            &variant,
            &[dy.into(), w.into(), dx.into()],
            &params,
            Groups::Linear(groups as u64),
            s.cost(conv),
        );
    }
    let wt = plan.engine().tensor("conv weights transposed", w.shape(), DType::F32)?;
    let transpose = s.variant(conv, Mode::Transpose, true);
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
    let blocks: usize =
        (0..conv.stride * conv.stride).map(|c| (s.n * class(s.h, c / conv.stride) * class(s.w, c % conv.stride)).div_ceil(ROWS)).sum();
    let groups = blocks * (s.ci / 4).div_ceil(8);
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
    let lanes = s.lanes(conv, plan.engine().caps());
    let variant = s.variant(conv, Mode::Weights, lanes);
    let rows = conv.kernel[0] * conv.kernel[1] * s.ci / conv.groups;
    let pixels = s.n * s.oh * s.ow;
    let one = match lanes {
        true => rows.div_ceil(16) * (s.co / 4).div_ceil(8),
        false => Shape::tiles(rows, s.co / conv.groups) * conv.groups,
    };
    let busy = if plan.engine().caps().software { BUSY } else { 8 * BUSY };
    let slice = pixels.div_ceil(busy.div_ceil(one)).max(256).next_multiple_of(64);
    let slices = pixels.div_ceil(slice);
    let params = Params { n: s.n as u32, groups: (one * slices) as u32, slice: slice as u32, pad: 0 };
    let groups = Groups::Linear((one * slices) as u64);
    if slices == 1 {
        return plan.dispatch("conv dw", &SHADER, &variant, &[x.into(), dy.into(), dw.into()], &params, groups, s.cost(conv));
    }
    let partial = plan.engine().tensor("conv dw slices", &[slices, dw.len()], DType::F32)?;
    plan.dispatch("conv dw", &SHADER, &variant, &[x.into(), dy.into(), (&partial).into()], &params, groups, s.cost(conv))?;
    reduce::sum_slices(plan, &partial, dw, 1.0, false)
}
