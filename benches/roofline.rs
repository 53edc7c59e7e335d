//! What the device can do at most: its arithmetic and its memory, measured in the same run as the kernels.

use super::common::seconds;
use crate::Result;
use crate::gpu::{Cost, DType, Engine, Groups, PlanBuilder, ShaderSource, Tensor, Variant};
use crate::kernels::elementwise::scaled_copy;
use serde::{Deserialize, Serialize};

const SHADER: ShaderSource = ShaderSource { stem: "roofline", text: include_str!("roofline.wgsl") };

/// The two limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// f32 multiply-adds, two operations each.
    pub gflops: f64,
    /// The same by cooperative matrices, f16 factors and f32 sums, where the device has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix_gflops: Option<f64>,
    /// Read and written, of tensors larger than caches.
    pub gbytes: f64,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    groups: u32,
    turns: u32,
    a: f32,
    b: f32,
}

impl Roofline {
    pub fn measure(e: &Engine) -> Result<Self> {
        let (groups, turns) = if e.caps().software { (64, 256) } else { (1 << 14, 512) };
        let y = e.tensor("roofline", &[groups * 64, 4], DType::F32)?;
        // Per turn: eight chains of eight multiply-adds on four values.
        let flops = groups as f64 * 64.0 * turns as f64 * 512.0;
        let params = Params { groups: groups as u32, turns, a: 0.999, b: 0.001 };
        let mut plan = PlanBuilder::new(e);
        let variant = Variant::new().int("SIDE", 0);
        plan.dispatch("arithmetic", &SHADER, &variant, &[(&y).into()], &params, Groups::Linear(groups as u64), Cost::flops(flops))?;
        let arithmetic = seconds(e, &plan.finish())?;
        let matrix_gflops = Self::matrices(e, &y, params)?;
        // Two tensors of 256 MB, or what the device holds.
        let n = (e.caps().max_binding.min(1 << 28) / 4) as usize;
        let (x, z) = (e.tensor("roofline", &[n], DType::F32)?, e.tensor("roofline", &[n], DType::F32)?);
        let mut plan = PlanBuilder::new(e);
        scaled_copy(&mut plan, &x, 2.0, &z)?;
        let copy = seconds(e, &plan.finish())?;
        Ok(Self { gflops: flops / arithmetic[0] * 1e-9, matrix_gflops, gbytes: 8.0 * n as f64 / copy[0] * 1e-9 })
    }

    fn matrices(e: &Engine, y: &Tensor, params: Params) -> Result<Option<f64>> {
        let (side, Some(lanes)) = (e.caps().cooperative, e.caps().lanes()) else { return Ok(None) };
        if side == 0 {
            return Ok(None);
        }
        // Per turn: four times eight products.
        let flops = f64::from(params.groups) * f64::from(params.turns) * 64.0 * f64::from(side).powi(3);
        let variant = Variant::new().int("SIDE", i64::from(side)).int("LANES", lanes as i64);
        let mut plan = PlanBuilder::new(e);
        plan.dispatch("matrices", &SHADER, &variant, &[y.into()], &params, Groups::Linear(params.groups.into()), Cost::flops(flops))?;
        Ok(Some(flops / seconds(e, &plan.finish())?[0] * 1e-9))
    }

    /// The share of the limit that work of so many operations and bytes reaches in a time.
    pub fn share(&self, flops: f64, bytes: f64, seconds: f64) -> f64 {
        (flops * 1e-9 / self.gflops).max(bytes * 1e-9 / self.gbytes) / seconds
    }
}
