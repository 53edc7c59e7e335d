//! Pooling over windows and whole images: host side of `shaders/pool.wgsl`.

use super::{
    Walk, both_widths, chunks, expect, expect_shape, expect_stored, nhwc, reduce, stored, stored_both_ways, stored_nhwc, vectorised,
};
use crate::gpu::{Binding, Cost, DType, Error, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("pool");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    walk: Walk,
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    kh: u32,
    kw: u32,
    sh: u32,
    sw: u32,
    ph: u32,
    pw: u32,
    run: u32,
    eps: f32,
    scale: f32,
}

/// What is taken of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The largest element inside the image; its gradient goes to the first of equals in scan order.
    Max,
    /// The mean of the elements inside the image (padding does not count).
    Average,
}

/// Windows: extents in (rows, columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Extent of a window.
    pub kernel: (usize, usize),
    /// Distance of neighbouring windows.
    pub stride: (usize, usize),
    /// Rows and columns beyond each border; less than the kernel's.
    pub padding: (usize, usize),
}

impl Window {
    /// A square window.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: (kernel, kernel), stride: (stride, stride), padding: (padding, padding) }
    }

    /// Rows and columns of the output: floor((size + 2 padding - kernel) / stride) + 1.
    ///
    /// # Errors
    /// A kernel or stride of 0, padding not less than the kernel, a kernel larger than the padded image.
    pub fn output(&self, h: usize, w: usize) -> Result<(usize, usize)> {
        let one = |size: usize, kernel: usize, stride: usize, padding: usize| {
            (kernel > 0 && stride > 0 && padding < kernel && size + 2 * padding >= kernel)
                .then(|| (size + 2 * padding - kernel) / stride + 1)
        };
        let rows = one(h, self.kernel.0, self.stride.0, self.padding.0);
        let columns = one(w, self.kernel.1, self.stride.1, self.padding.1);
        rows.zip(columns).ok_or_else(|| Error::shape("pool", format!("{self:?} does not fit an image of {h} x {w}")))
    }
}

fn variant(kind: i64, stride: i64) -> Variant {
    Variant::new().int("KIND", kind).int("STRIDE", stride)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let windows = (0..5).map(|k| variant(k, 0)).chain([2, 4].into_iter().flat_map(|k| [variant(k, 1), variant(k, 2)]));
    let mut all = stored_both_ways(windows, &["X", "Y"]);
    all.extend(both_widths((5..8).map(|k| variant(k, 0))));
    all
}

fn geometry(op: &str, window: &Window, x: &Tensor, y: &Tensor) -> Result<Params> {
    let [n, h, w, c] = stored_nhwc(op, "x", x)?;
    let (oh, ow) = window.output(h, w)?;
    expect_stored(op, "y", y, &[n, oh, ow, c])?;
    let u = |v: usize| v as u32;
    let ((kh, kw), (sh, sw), (ph, pw)) = (window.kernel, window.stride, window.padding);
    Ok(Params {
        h: u(h),
        w: u(w),
        oh: u(oh),
        ow: u(ow),
        kh: u(kh),
        kw: u(kw),
        sh: u(sh),
        sw: u(sw),
        ph: u(ph),
        pw: u(pw),
        ..Params::default()
    })
}

/// One dispatch over the pixels of `over` \[N, H, W, C\], in strips of a row; x and y are stored as `types` say.
fn strips(
    plan: &mut PlanBuilder<'_>,
    op: &str,
    kind: i64,
    mut params: Params,
    types: [DType; 2],
    over: &Tensor,
    bindings: &[&Tensor],
) -> Result<()> {
    let [n, h, w, c] = stored_nhwc(op, "pixels", over)?;
    let run = if plan.engine().caps().software { 16.min(w) } else { 1 };
    let stride = if params.sh == params.sw && (kind == 2 || kind == 4) && params.sh <= 2 { params.sh } else { 0 };
    let (variant, vec) = vectorised(variant(kind, stride.into()), &[c]);
    let variant = stored(variant, vec, &[("X", types[0]), ("Y", types[1])]);
    let total = n * h * w.div_ceil(run) * c / vec;
    params.run = run as u32;
    params.walk = Walk { total: total as u32, columns: (c / vec) as u32, ..Walk::default() };
    dispatch(plan, op, &variant, &params, bindings)
}

fn dispatch(plan: &mut PlanBuilder<'_>, op: &str, variant: &Variant, params: &Params, bindings: &[&Tensor]) -> Result<()> {
    let cost = Cost::bytes(bindings.iter().map(|t| t.bytes()).sum());
    let bindings: Vec<Binding<'_>> = bindings.iter().map(|t| Binding::from(*t)).collect();
    plan.dispatch(op, &SHADER, variant, &bindings, params, params.walk.groups(), cost)
}

/// Appends y = maximum or average of each window of x, either stored as f32 or f16. NaN may or may not win a maximum.
///
/// # Errors
/// x is not \[N, H, W, C\], the window does not fit, or y is not \[N, OH, OW, C\] of it.
pub fn forward(plan: &mut PlanBuilder<'_>, pool: Pool, window: &Window, x: &Tensor, y: &Tensor) -> Result<()> {
    let params = geometry("pool", window, x, y)?;
    let types = [x.dtype(), y.dtype()];
    if pool == Pool::Average
        && types == [DType::F32; 2]
        && (params.oh, params.ow) == (1, 1)
        && window.padding == (0, 0)
        && window.kernel == (x.shape()[1], x.shape()[2])
    {
        return global_average(plan, x, &y.reshape(&[x.shape()[0], x.shape()[3]])?);
    }
    match pool {
        Pool::Max => strips(plan, "max pool", 0, params, types, y, &[x, y]),
        Pool::Average => strips(plan, "average pool", 3, params, types, y, &[x, y]),
    }
}

/// Appends dx from dy, a gather over the windows that hold an element; a maximum is found again from x (an average does not
/// read it).
///
/// # Errors
/// As [`forward`]; dx has not x's shape or type.
pub fn backward(plan: &mut PlanBuilder<'_>, pool: Pool, window: &Window, x: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "pool backward";
    let params = geometry(op, window, x, dy)?;
    expect(op, "dx", dx, x.shape(), x.dtype())?;
    let types = [x.dtype(), dy.dtype()];
    match pool {
        Pool::Max => {
            let at = plan.scratch("max pool places", dy.shape(), DType::U32)?;
            strips(plan, "max pool places", 1, params, types, dy, &[x, &at])?;
            strips(plan, "max pool backward", 2, params, types, dx, &[&at, dy, dx])
        }
        Pool::Average => strips(plan, "average pool backward", 4, params, types, dx, &[dy, dx]),
    }
}

/// Appends y\[n, c\] = mean of x over H and W; its gradient is [`global_average_backward`].
///
/// # Errors
/// x is not \[N, H, W, C\] or y not \[N, C\].
pub fn global_average(plan: &mut PlanBuilder<'_>, x: &Tensor, y: &Tensor) -> Result<()> {
    let [_, h, w, _] = nhwc("global average", "x", x)?;
    reduce::batched(plan, x, y, 1.0 / (h * w) as f32, false)
}

/// Appends dx\[n, h, w, c\] = dy\[n, c\] / (H W).
///
/// # Errors
/// dx is not \[N, H, W, C\] or dy not \[N, C\].
pub fn global_average_backward(plan: &mut PlanBuilder<'_>, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let [n, h, w, c] = nhwc("global average backward", "dx", dx)?;
    expect_shape("global average backward", "dy", dy, &[n, c])?;
    reduce::backward(plan, dy, dx, 1.0 / (h * w) as f32)
}

fn gem(plan: &PlanBuilder<'_>, op: &str, x: &Tensor, p: &Tensor, eps: f32) -> Result<Params> {
    let [n, h, w, c] = nhwc(op, "x", x)?;
    expect_shape(op, "p", p, &[1])?;
    if !(eps >= f32::MIN_POSITIVE && eps.is_finite()) {
        return Err(Error::shape(op, format!("eps must be a positive normal number, not {eps}")));
    }
    let columns = if c.is_multiple_of(4) { c / 4 } else { c };
    let walk = Walk::new(plan.engine(), n, h * w * columns, columns, chunks(plan.engine(), h * w, n * columns));
    Ok(Params { walk, eps, scale: 1.0 / (h * w) as f32, ..Params::default() })
}

/// Appends the generalised mean y\[n, c\] = (mean over H and W of max(x, eps)^p)^(1/p), with p a tensor of one element, not 0.
/// The powers and their sum must stay within f32: with p = 3, |x| below about 1e12 / (H W)^(1/3).
///
/// # Errors
/// x is not \[N, H, W, C\], y not \[N, C\], p not \[1\], eps not a positive normal number.
pub fn generalised_mean(plan: &mut PlanBuilder<'_>, x: &Tensor, p: &Tensor, eps: f32, y: &Tensor) -> Result<()> {
    let op = "generalised mean";
    let params = gem(plan, op, x, p, eps)?;
    let (n, c) = (x.shape()[0], x.shape()[3]);
    expect_shape(op, "y", y, &[n, c])?;
    let partial = plan.engine().tensor("pool scratch", &[n, params.walk.chunks(), c], DType::F32)?;
    let mean = plan.engine().tensor("pool scratch", &[n, c], DType::F32)?;
    dispatch(plan, op, &vectorised(variant(5, 0), &[c]).0, &params, &[x, p, &partial])?;
    reduce::batched(plan, &partial, &mean, params.scale, false)?;
    let (variant, vec) = vectorised(variant(6, 0), &[c]);
    let params = Params { walk: Walk { total: (n * c / vec) as u32, ..params.walk }, ..params };
    dispatch(plan, op, &variant, &params, &[&mean, p, y])
}

/// Appends the gradients of [`generalised_mean`] from its input and output: with v = max(x, eps) and w = (v / y)^p,
/// dx = dy y w / (v H W) where x >= eps and 0 elsewhere; dp = sum of dy y w (ln v - ln y) / (p H W), added to dp where
/// `accumulate`.
///
/// # Errors
/// As [`generalised_mean`]; dy has not y's shape, dx not x's, dp not p's.
pub fn generalised_mean_backward(
    plan: &mut PlanBuilder<'_>,
    x: &Tensor,
    y: &Tensor,
    p: &Tensor,
    eps: f32,
    dy: &Tensor,
    dx: &Tensor,
    dp: &Tensor,
    accumulate: bool,
) -> Result<()> {
    let op = "generalised mean backward";
    let params = gem(plan, op, x, p, eps)?;
    let (n, c) = (x.shape()[0], x.shape()[3]);
    expect_shape(op, "y", y, &[n, c])?;
    expect_shape(op, "dy", dy, &[n, c])?;
    expect_shape(op, "dx", dx, x.shape())?;
    expect_shape(op, "dp", dp, &[1])?;
    let partial = plan.engine().tensor("pool scratch", &[n, params.walk.chunks(), c], DType::F32)?;
    dispatch(plan, op, &vectorised(variant(7, 0), &[c]).0, &params, &[x, y, dy, p, dx, &partial])?;
    reduce::columns(plan, &partial, dp, 1.0, accumulate)
}
