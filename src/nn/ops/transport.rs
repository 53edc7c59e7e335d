//! Optimal transport between batches of features.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{Engine, Error, PlanBuilder, Result, Tensor};
use crate::kernels::sinkhorn_small::{self as small, MOST, Other, Problems, STATS, Settings};
use crate::reference::sinkhorn_small as twin;

/// The debiased Sinkhorn divergence between two batches of unit vectors under the cost 1 - cosine, from their products: inputs
/// G_ab [N, M], G_aa [N, N] and G_bb [M, M], the latter two symmetric; output \[1\]. Equal weights. The gradient holds the potentials
/// (envelope theorem): it is as exact as the iterations leave the plans.
#[derive(Debug, Clone, Copy)]
pub struct SinkhornDivergence {
    /// Weight of the entropy; costs are 0 to 2.
    pub eps: f32,
    /// Most iterations of each of the three problems; they end sooner when the marginal error is 1e-5.
    pub iterations: u32,
}

impl SinkhornDivergence {
    /// Which of [`super::super::TrainingPlan::saved`] holds the divergence, the greatest marginal error, the most iterations, and 1
    /// where all three problems converged.
    pub const STATS: usize = 7;

    fn settings(&self) -> Settings {
        Settings { tolerance: 1e-5, most: self.iterations, base: 1.0, slope: -1.0, ..Settings::new(self.eps) }
    }

    /// Calls `each` with the three problems, the weight of each one's value and which input it is of.
    fn problems(
        engine: &Engine,
        inputs: &[&Tensor],
        saved: &[Tensor],
        mut each: impl FnMut(&Problems<'_>, f32, usize) -> Result<()>,
    ) -> Result<()> {
        let (n, m) = (inputs[0].shape()[0], inputs[0].shape()[1]);
        let weights = |n: usize| engine.upload_f32("transport weights", &[1, n], &vec![1.0 / n as f32; n]);
        let (a, b) = (weights(n)?, weights(m)?);
        let [f, g, own_f, own_g, ..] = saved else { unreachable!("saved() names four first") };
        let one = |t: &Tensor| t.reshape(&[&[1], t.shape()].concat());
        each(&Problems { c: &one(inputs[0])?, a: &a, f, other: Some(Other { b: &b, g }) }, 1.0, 0)?;
        each(&Problems { c: &one(inputs[1])?, a: &a, f: own_f, other: None }, -0.5, 1)?;
        each(&Problems { c: &one(inputs[2])?, a: &b, f: own_g, other: None }, -0.5, 2)
    }
}

impl Op for SinkhornDivergence {
    fn name(&self) -> &'static str {
        "sinkhorn divergence"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        self.settings().check("sinkhorn divergence")?;
        match *inputs {
            [[n, m], [a, b], [c, d]] if [a, b] == [n, n] && [c, d] == [m, m] && (1..=MOST).contains(n) && (1..=MOST).contains(m) => {
                Ok(vec![1])
            }
            _ => Err(Error::shape("sinkhorn divergence", format!("{inputs:?}, expected [N, M], [N, N], [M, M] of 1 to {MOST}"))),
        }
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let (n, m) = (inputs[0][0], inputs[0][1]);
        let potentials = [n, m, n, m].map(|n| vec![1, n]);
        potentials.into_iter().chain([STATS, STATS, STATS, 4].map(|words| vec![1, words])).collect()
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let [_, _, _, _, ab, aa, bb, stats] = io.saved else { unreachable!("saved() names eight") };
        let own = [ab, aa, bb];
        let engine = plan.engine();
        Self::problems(engine, io.inputs, io.saved, |p, _, input| small::solve(plan, p, &self.settings(), own[input]))?;
        small::divergence(plan, own, stats, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let (n, m) = (inputs[0].0[0], inputs[0].0[1]);
        let (a, b) = (vec![1.0 / n as f64; n], vec![1.0 / m as f64; m]);
        let value = |c: &[f64], a: &[f64], b: Option<&[f64]>| twin::solve(c, a, b, &self.settings()).value;
        vec![value(inputs[0].1, &a, Some(&b)) - 0.5 * (value(inputs[1].1, &a, None) + value(inputs[2].1, &b, None))]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let engine = plan.engine();
        Self::problems(engine, io.inputs, io.saved, |p, weight, input| match &io.dx[input] {
            // The cost falls as the product rises.
            Some(dx) => small::transport_plan(plan, p, &self.settings(), -weight, io.dy, &dx.reshape(p.c.shape())?),
            None => Ok(()),
        })
    }
}
