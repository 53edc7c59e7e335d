//! Images made smaller or larger.

use super::{Backward, Forward, Halves, Host, Init, Keeps, Op, ParamKind, ParamSpec, image, spec};
use crate::gpu::{DType, Error, PlanBuilder, Result};
use crate::kernels::{pool, upsample};
use crate::reference as twin;

/// Largest value of each window.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool {
    /// Window side.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border that no value comes from.
    pub pad: usize,
}

/// Mean of each window over the pixels inside the image.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool {
    /// Window side.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border that no value comes from.
    pub pad: usize,
}

macro_rules! pool_op {
    ($op:ident, $name:literal, $kind:expr, $keeps:literal) => {
        impl $op {
            fn window(&self) -> pool::Window {
                pool::Window { kernel: (self.kernel, self.kernel), stride: (self.stride, self.stride), padding: (self.pad, self.pad) }
            }
        }

        impl Op for $op {
            fn name(&self) -> &'static str {
                $name
            }

            fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
                let [n, h, w, c] = inputs[0] else { return Err(Error::shape($name, format!("{:?} is not [N, H, W, C]", inputs[0]))) };
                let (oh, ow) = self.window().output(*h, *w)?;
                Ok(vec![*n, oh, ow, *c])
            }

            fn stores_half(&self) -> Halves {
                Halves::ALL
            }

            fn keeps(&self) -> Keeps {
                Keeps { inputs: $keeps, output: false }
            }

            fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
                pool::forward(plan, $kind, &self.window(), io.inputs[0], io.output)
            }

            fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
                twin::pool::forward($kind, &self.window(), inputs[0].1, image(inputs[0].0))
            }

            fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
                match &io.dx[0] {
                    Some(dx) => pool::backward(plan, $kind, &self.window(), io.inputs[0], io.dy, dx),
                    None => Ok(()),
                }
            }
        }
    };
}

pool_op!(MaxPool, "max pool", pool::Pool::Max, true);
pool_op!(AvgPool, "average pool", pool::Pool::Average, false);

/// Generalised mean over the whole image: [N, H, W, C] to [N, C], with a learned exponent.
#[derive(Debug, Clone, Copy)]
pub struct Gem {
    /// Exponent at the start.
    pub p: f32,
    /// Smallest value that enters the power.
    pub eps: f32,
}

impl Op for Gem {
    fn name(&self) -> &'static str {
        "generalised mean"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0] {
            [n, _, _, c] => Ok(vec![*n, *c]),
            other => Err(Error::shape("generalised mean", format!("{other:?} is not [N, H, W, C]"))),
        }
    }

    fn params(&self, _: &[&[usize]]) -> Vec<ParamSpec> {
        vec![spec("p", &[1], Init::Constant(self.p), ParamKind::Free)]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: true }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        pool::generalised_mean(plan, io.inputs[0], io.params[0], self.eps, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], _: bool) -> Vec<f64> {
        let [n, _, _, c] = image(inputs[0].0);
        twin::pool::generalised_mean(inputs[0].1, n, c, params[0][0], f64::from(self.eps))
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let scratch;
        let dx = match &io.dx[0] {
            Some(dx) => dx,
            None => {
                scratch = plan.engine().tensor("unused gradient", io.inputs[0].shape(), DType::F32)?;
                &scratch
            }
        };
        let Some(dp) = &io.dparams[0] else { unreachable!("the exponent is trained") };
        pool::generalised_mean_backward(plan, io.inputs[0], io.output, io.params[0], self.eps, io.dy, dx, dp, false)
    }
}

/// Enlarges an image by a whole factor.
#[derive(Debug, Clone, Copy)]
pub struct Upsample {
    /// Factor along both sides.
    pub factor: usize,
    /// Bilinear, else the nearest pixel.
    pub bilinear: bool,
}

impl Upsample {
    fn mode(&self) -> upsample::Upsample {
        if self.bilinear { upsample::Upsample::Bilinear } else { upsample::Upsample::Nearest }
    }
}

impl Op for Upsample {
    fn name(&self) -> &'static str {
        "upsample"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0] {
            [n, h, w, c] => Ok(vec![*n, h * self.factor, w * self.factor, *c]),
            other => Err(Error::shape("upsample", format!("{other:?} is not [N, H, W, C]"))),
        }
    }

    fn stores_half(&self) -> Halves {
        Halves::ALL
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        upsample::forward(plan, self.mode(), self.factor, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::upsample::forward(self.mode(), self.factor, inputs[0].1, image(inputs[0].0))
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => upsample::backward(plan, self.mode(), self.factor, io.dy, dx),
            None => Ok(()),
        }
    }
}

/// An image in another size, each pixel the nearest of the old ones (see [`upsample::resize`]): [N, H, W, C] to [N, height, width, C]. The upper level of
/// a feature pyramid brought to the size of the one below it, for instance.
#[derive(Debug, Clone, Copy)]
pub struct Resize {
    /// Rows afterwards.
    pub height: usize,
    /// Columns afterwards.
    pub width: usize,
}

impl Op for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0] {
            [n, _, _, c] if self.height * self.width > 0 => Ok(vec![*n, self.height, self.width, *c]),
            other => {
                Err(Error::shape("resize", format!("{other:?} to {} x {}, expected [N, H, W, C] and extents", self.height, self.width)))
            }
        }
    }

    fn stores_half(&self) -> Halves {
        Halves::ALL
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        upsample::resize(plan, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::upsample::resize(inputs[0].1, image(inputs[0].0), [self.height, self.width])
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => upsample::resize_backward(plan, io.dy, dx),
            None => Ok(()),
        }
    }
}
