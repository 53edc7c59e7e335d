//! A patch with one band as a network of three expects it.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{Error, PlanBuilder, Result};
use crate::kernels::concat;

/// Channels of a patch: three bands and validity.
const CHANNELS: usize = 4;
/// Where each channel comes from.
const FROM: [usize; CHANNELS] = [0, 0, 0, 3];

/// The first band of patches [N, H, W, 4] in all three, validity as it is. It takes an image as it was cut: no gradient passes.
#[derive(Debug, Clone, Copy)]
pub struct RepeatBand;

impl Op for RepeatBand {
    fn name(&self) -> &'static str {
        "repeat band"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0] {
            [_, _, _, CHANNELS] => Ok(inputs[0].to_vec()),
            other => Err(Error::shape("repeat band", format!("{other:?} is not [N, H, W, {CHANNELS}]"))),
        }
    }

    fn detaches(&self) -> bool {
        true
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        FROM.into_iter().enumerate().try_for_each(|(to, from)| concat::copy_channels(plan, io.inputs[0], from, io.output, to, 1))
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        inputs[0].1.chunks_exact(CHANNELS).flat_map(|p| FROM.map(|from| p[from])).collect()
    }

    fn backward(&self, _: &mut PlanBuilder<'_>, _: &Backward<'_>) -> Result<()> {
        unreachable!("no gradient is asked of what detaches")
    }
}
