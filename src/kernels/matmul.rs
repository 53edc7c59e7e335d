//! Matrix product: host side of `shaders/matmul.wgsl`.

use super::tiling::{Subgroups, Tiling};
use crate::gpu::{Binding, Caps, Cost, DType, Error, Groups, PlanBuilder, Precision, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("matmul");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Whether an operand is used as stored or transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// As stored.
    Plain,
    /// Transposed.
    Transposed,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    groups: u32,
    first: u32,
    last: u32,
    run: u32,
}

/// Inner indices of one dispatch at most on a software adapter (see the shader): a tile's loops turn 18 times for 16 of them, the others' once
/// for 4.
fn deepest(tiling: Tiling) -> usize {
    if matches!(tiling, Tiling::Tiled { .. } | Tiling::Cooperative) { 1 << 15 } else { 1 << 17 }
}

/// Software adapters: a product with a smaller extent than this is not tiled.
const NARROW: usize = 16;

/// What the program of a product hangs on, besides its tiling.
#[derive(Debug, Clone, Copy)]
struct Form {
    ta: bool,
    tb: bool,
    bias: bool,
    stored: [DType; 2],
    pairs: bool,
}

impl Form {
    fn variant(self, tiling: Tiling, s: Subgroups, precision: Precision) -> Variant {
        let v = Variant::new().flag("TA", self.ta).flag("TB", self.tb).flag("BIAS", self.bias).flag("PAIRS", self.pairs);
        let [a, b] = self.stored;
        super::stored(tiling.variant(v, s, precision), 1, &[("A", a), ("B", b)])
    }

    /// The same with b loaded in pairs, where there is such a program.
    fn in_pairs(self, tiling: Tiling) -> Option<Self> {
        let fits = matches!(tiling, Tiling::Lanes { columns: 2, .. }) && !self.tb && self.stored[1] == DType::F32;
        fits.then_some(Self { pairs: true, ..self })
    }
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for (tiling, s, precision) in Tiling::with_subgroups() {
        let fits = |ta: bool| !ta || !matches!(tiling, Tiling::Lanes { .. }) || s.lanes <= WIDEST;
        for [ta, tb, bias] in PRODUCTS.into_iter().filter(|[ta, ..]| fits(*ta)) {
            // Each is loaded by itself: one of them as f16 alone says nothing new.
            for stored in [DType::F32, DType::F16] {
                let form = Form { ta, tb, bias, stored: [stored; 2], pairs: false };
                all.extend([Some(form), form.in_pairs(tiling)].into_iter().flatten().map(|f| f.variant(tiling, s, precision)));
            }
        }
    }
    all
}

/// Lanes that share a transposed operand's sixteen rows by four inner indices at most.
const WIDEST: usize = 16;

/// Which operands are transposed, and whether a bias is added.
const PRODUCTS: [[bool; 3]; 5] =
    [[false, false, false], [true, false, false], [false, true, false], [true, true, false], [false, false, true]];

/// The extents of a product: op(a) is [m, k], op(b) [k, n], one for each `run` of its rows.
#[derive(Debug, Clone, Copy)]
struct Extents {
    m: usize,
    run: usize,
    n: usize,
    k: usize,
    ta: bool,
    tb: bool,
    /// How a and b are stored.
    stored: [DType; 2],
}

impl Extents {
    fn check(a: &Tensor, op_a: Op, b: &Tensor, op_b: Op, c: &Tensor) -> Result<Self> {
        super::expect_stored("matmul", "a", a, a.shape())?;
        super::expect_stored("matmul", "b", b, b.shape())?;
        super::f32s("matmul", &[c])?;
        let (ta, tb) = (op_a == Op::Transposed, op_b == Op::Transposed);
        let dims = |t: &Tensor, transposed: bool| match t.shape() {
            [r, c] if transposed => Ok((*c, *r)),
            [r, c] => Ok((*r, *c)),
            other => Err(Error::shape("matmul", format!("{other:?} is not a matrix"))),
        };
        let ((m, k), (k2, n)) = (dims(a, ta)?, dims(b, tb)?);
        if k != k2 || c.shape() != [m, n] {
            return Err(Error::shape("matmul", format!("[{m}, {k}] times [{k2}, {n}] into {:?}", c.shape())));
        }
        Ok(Self { m, run: m, n, k, ta, tb, stored: [a.dtype(), b.dtype()] })
    }

    fn linear(x: &Tensor, w: &Tensor, bias: &Tensor, y: &Tensor) -> Result<Self> {
        let extents = Self::check(x, Op::Plain, w, Op::Plain, y)?;
        super::expect("matmul", "bias", bias, &[extents.n], DType::F32)?;
        Ok(extents)
    }

    fn expect_usable(&self, plan: &PlanBuilder<'_>, tiling: Tiling) -> Result<()> {
        match self.usable(tiling, plan.engine().caps(), plan.precision()) {
            true => Ok(()),
            false => Err(Error::shape("matmul", format!("{tiling} does not take {self:?} on this device"))),
        }
    }

    fn usable(&self, tiling: Tiling, caps: &Caps, precision: Precision) -> bool {
        let four = |v: usize| v.is_multiple_of(4);
        let fours = four(self.k) && four(self.n) && (!self.ta || four(self.m));
        let lanes = || !self.ta || caps.lanes().is_some_and(|l| l <= WIDEST);
        let runs = self.run == self.m || tiling != Tiling::Narrow;
        runs && tiling.runs_on(caps, precision) && (!matches!(tiling, Tiling::Lanes { .. }) || fours && lanes())
    }

    /// What the device's measurements say, else what is known of its kind.
    fn tiling(&self, plan: &PlanBuilder<'_>) -> Tiling {
        let (engine, precision) = (plan.engine(), plan.precision());
        let caps = engine.caps();
        let usable = |t: &Tiling| self.usable(*t, caps, precision);
        let lanes = Tiling::Lanes { rows: 16, columns: 1 };
        // What is far narrower than anything that was measured.
        if caps.software && self.m.min(self.n).min(self.k) < NARROW && !usable(&lanes) && usable(&Tiling::Narrow) {
            return Tiling::Narrow;
        }
        if let Some(measured) = engine.tuning().choose_for(precision, family(self.ta, self.tb), &[self.m, self.n, self.k], usable) {
            return measured;
        }
        if caps.software && caps.subgroup_is(8) && usable(&lanes) { lanes } else { Tiling::PLAIN }
    }
}

/// The family's name in a [`Tuning`](crate::gpu::Tuning), by which operand is transposed; its sizes are [M, N, K].
pub fn family(ta: bool, tb: bool) -> &'static str {
    match (ta, tb) {
        (false, false) => "matmul",
        (true, false) => "matmul, a transposed",
        (false, true) => "matmul, b transposed",
        (true, true) => "matmul, both transposed",
    }
}

/// Appends c = op(a) op(b): op(a) is [M, K], op(b) [K, N], c [M, N]. a and b may be stored as f16, each by itself; c is f32.
///
/// # Errors
/// Operands that are not matrices or do not fit.
pub fn matmul(plan: &mut PlanBuilder<'_>, a: &Tensor, op_a: Op, b: &Tensor, op_b: Op, c: &Tensor) -> Result<()> {
    let extents = Extents::check(a, op_a, b, op_b, c)?;
    append(plan, extents.tiling(plan), extents, [a, b, c], None)
}

/// [`matmul`] by a tiling of the caller's choice.
///
/// # Errors
/// As [`matmul`]; a tiling that the device or the shapes do not allow.
pub fn matmul_by(plan: &mut PlanBuilder<'_>, tiling: Tiling, a: &Tensor, op_a: Op, b: &Tensor, op_b: Op, c: &Tensor) -> Result<()> {
    let extents = Extents::check(a, op_a, b, op_b, c)?;
    extents.expect_usable(plan, tiling)?;
    append(plan, tiling, extents, [a, b, c], None)
}

/// Appends y = x w + bias in each row: x is `[M, K]`, w `[K, N]`, bias `[N]`, y `[M, N]`. x and w may be stored as f16, each by itself; bias and y are
/// f32.
///
/// # Errors
/// Operands that are not matrices or do not fit.
pub fn linear(plan: &mut PlanBuilder<'_>, x: &Tensor, w: &Tensor, bias: &Tensor, y: &Tensor) -> Result<()> {
    let extents = Extents::linear(x, w, bias, y)?;
    append(plan, extents.tiling(plan), extents, [x, w, y], Some(bias))
}

/// [`linear`] by a tiling of the caller's choice.
///
/// # Errors
/// As [`linear`]; a tiling that the device or the shapes do not allow.
pub fn linear_by(plan: &mut PlanBuilder<'_>, tiling: Tiling, x: &Tensor, w: &Tensor, bias: &Tensor, y: &Tensor) -> Result<()> {
    let extents = Extents::linear(x, w, bias, y)?;
    extents.expect_usable(plan, tiling)?;
    append(plan, tiling, extents, [x, w, y], Some(bias))
}

/// Rows of each of [`batched`]'s matrices are a multiple of it, so that no tile holds rows of two.
pub const BATCHED_ROWS: usize = 128;

/// Appends c\[i\] = a\[i\] b\[i\]: a [B, M, K], b [B, K, N], c [B, M, N]; M is a multiple of [`BATCHED_ROWS`].
///
/// # Errors
/// Tensors that are no batches of matrices, or do not fit.
pub fn batched(plan: &mut PlanBuilder<'_>, a: &Tensor, b: &Tensor, c: &Tensor) -> Result<()> {
    super::f32s("matmul", &[a, b, c])?;
    let extents = match (a.shape(), b.shape(), c.shape()) {
        ([i, m, k], [i2, k2, n], [i3, m2, n2]) if [i, m, k, n] == [i2, m2, k2, n2] && i == i3 && m.is_multiple_of(BATCHED_ROWS) => {
            Extents { m: i * m, run: *m, n: *n, k: *k, ta: false, tb: false, stored: [DType::F32; 2] }
        }
        (a, b, c) => {
            let what = format!("{a:?} times {b:?} into {c:?}; expected [B, M, K], [B, K, N] and [B, M, N], M a multiple of {BATCHED_ROWS}");
            return Err(Error::shape("matmul", what));
        }
    };
    append(plan, extents.tiling(plan), extents, [a, b, c], None)
}

fn append(plan: &mut PlanBuilder<'_>, tiling: Tiling, e: Extents, [a, b, c]: [&Tensor; 3], bias: Option<&Tensor>) -> Result<()> {
    let Extents { m, run, n, k, ta, tb, stored } = e;
    let caps = plan.engine().caps();
    let subgroups = Subgroups::of(caps);
    let unit = if matches!(tiling, Tiling::Lanes { .. }) { 4 } else { 1 };
    let groups = tiling.groups([m, n], subgroups);
    let deepest = if caps.software { deepest(tiling) } else { k };
    let bindings: Vec<Binding<'_>> = [a, b, c].into_iter().chain(bias).map(Into::into).collect();
    let form = Form { ta, tb, bias: bias.is_some(), stored, pairs: false };
    let pairs = form.in_pairs(tiling).filter(|_| caps.software && caps.int64 && n.is_multiple_of(8));
    let variant = pairs.unwrap_or(form).variant(tiling, subgroups, plan.precision());
    for first in (0..k).step_by(deepest.max(1)) {
        let last = (first + deepest).min(k);
        let [first_unit, last_unit] = [first, last].map(|v| (v / unit) as u32);
        let params = Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            groups: groups as u32,
            first: first_unit,
            last: last_unit,
            run: run.max(1) as u32,
        };
        let part = (last - first) as f64;
        let [a, b] = stored.map(|t| t.bytes() as f64);
        let bytes = (a * m as f64 + b * (n * m.div_ceil(run.max(1))) as f64) * part + 4.0 * (m * n) as f64;
        let cost = Cost { flops: 2.0 * m as f64 * n as f64 * part, bytes };
        plan.dispatch("matmul", &SHADER, &variant, &bindings, &params, Groups::Linear(groups as u64), cost)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, Engine, Measured, Tuning};

    #[test]
    fn goes_by_what_was_measured_where_it_can_be_used() {
        let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).unwrap();
        let seconds = [("lanes-32x2", 1.0), ("tiled-128", 2.0), ("narrow", 3.0)].map(|(k, s)| (k.to_string(), s));
        let measured = Measured { family: family(false, true).into(), sizes: vec![64, 64, 64], seconds: seconds.into() };
        let lanes = engine.caps().lanes().is_some_and(|l| 32usize.is_multiple_of(l));
        let engine = engine.with_tuning(Tuning { measured: vec![measured] });
        let stored = [DType::F32; 2];
        let tiling = |k, tb| Extents { m: 16, run: 16, n: 16, k, ta: false, tb, stored }.tiling(&PlanBuilder::new(&engine));
        let big = Tiling::Tiled { side: 128, unrolled: false };
        assert_eq!(tiling(16, true), if lanes { Tiling::Lanes { rows: 32, columns: 2 } } else { big });
        // 17 inner indices are no fours.
        assert_eq!(tiling(17, true), big);
        // Nothing was measured of this family.
        assert_ne!(tiling(17, false), big);
        if engine.caps().software {
            assert_eq!(tiling(9, true), Tiling::Narrow);
        }
    }
}
