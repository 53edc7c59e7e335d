//! Non-maximum suppression within groups of columns: host side of `shaders/suppress.wgsl`.

use super::expect;
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("suppress");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    nq: u32,
    n: u32,
    groups: u32,
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    vec![Variant::new()]
}

/// Appends, in place on scores \[nq, n\] (the first elements of the tensor): of the columns starts\[g\] .. starts\[g + 1\] each row keeps
/// its greatest score, the first of equals; the others become -infinity. starts \[G + 1\] u32 rises strictly from 0 to n.
///
/// # Errors
/// Scores too small, starts of another type or without a group.
pub fn suppress(plan: &mut PlanBuilder<'_>, starts: &Tensor, scores: &Tensor, nq: usize, n: usize) -> Result<()> {
    let op = "suppress";
    if n == 0 || starts.len() < 2 || scores.len() < nq * n || scores.dtype() != DType::F32 {
        return Err(Error::shape(op, format!("{nq} x {n} scores in {:?}, starts {:?}", scores.shape(), starts.shape())));
    }
    expect(op, "starts", starts, &[starts.len()], DType::U32)?;
    let groups = starts.len() - 1;
    let params = Params { nq: nq as u32, n: n as u32, groups: groups as u32 };
    let cost = Cost::bytes(8 * (nq * n) as u64);
    plan.dispatch(op, &SHADER, &Variant::new(), &[starts.into(), scores.into()], &params, Groups::for_items(nq * groups, 64), cost)
}
