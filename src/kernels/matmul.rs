//! Matrix product: host side of `shaders/matmul.wgsl`.

use crate::gpu::{Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
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
}

/// Rows a group of the lane variant computes.
const ROWS: usize = 16;

/// Inner indices of one dispatch at most on a software adapter, by kind (see the shader): loops turn 18 times for 16 of them, or once for 4.
const DEEPEST: [usize; 3] = [1 << 15, 1 << 17, 1 << 17];

/// Software adapters: a product with a smaller extent than this is not tiled.
const NARROW: usize = 16;

/// The kernels, as the shader numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tiled,
    Lanes,
    Narrow,
}

fn variant(kind: Kind, ta: bool, tb: bool) -> Variant {
    Variant::new().int("KIND", kind as i64).flag("TA", ta).flag("TB", tb).int("LANES", 8).int("ROWS", ROWS as i64)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let transposes = [(false, false), (true, false), (false, true), (true, true)];
    [Kind::Tiled, Kind::Lanes, Kind::Narrow].into_iter().flat_map(|kind| transposes.map(|(ta, tb)| variant(kind, ta, tb))).collect()
}

/// Appends c = op(a) op(b): op(a) is [M, K], op(b) [K, N], c [M, N].
///
/// # Errors
/// Operands that are not matrices or do not fit.
pub fn matmul(plan: &mut PlanBuilder<'_>, a: &Tensor, op_a: Op, b: &Tensor, op_b: Op, c: &Tensor) -> Result<()> {
    super::f32s("matmul", &[a, b, c])?;
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
    let caps = plan.engine().caps();
    let fours = k % 4 == 0 && n % 4 == 0 && (!ta || m % 4 == 0);
    let (kind, groups, unit) = match caps.software {
        true if caps.subgroup_is(8) && fours => (Kind::Lanes, m.div_ceil(ROWS) * (n / 4).div_ceil(8), 4),
        true if m.min(n).min(k) < NARROW => (Kind::Narrow, (m * n).div_ceil(64), 1),
        _ => (Kind::Tiled, m.div_ceil(64) * n.div_ceil(64), 1),
    };
    let deepest = if caps.software { DEEPEST[kind as usize] } else { k };
    let bindings = [a.into(), b.into(), c.into()];
    for first in (0..k).step_by(deepest.max(1)) {
        let last = (first + deepest).min(k);
        let [first_unit, last_unit] = [first, last].map(|v| (v / unit) as u32);
        let params = Params { m: m as u32, n: n as u32, k: k as u32, groups: groups as u32, first: first_unit, last: last_unit };
        let part = (last - first) as f64;
        let cost = Cost { flops: 2.0 * m as f64 * n as f64 * part, bytes: 4.0 * ((m + n) as f64 * part + (m * n) as f64) };
        plan.dispatch("matmul", &SHADER, &variant(kind, ta, tb), &bindings, &params, Groups::Linear(groups as u64), cost)?;
    }
    Ok(())
}
