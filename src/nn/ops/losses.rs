//! Losses: ops whose output is one number.

use super::{Backward, Forward, Host, Init, Keeps, Op, ParamKind, ParamSpec};
use crate::gpu::{DType, Error, PlanBuilder, Result, Tensor};
use crate::kernels::bridge::{self, Bridge, Gradients};
use crate::kernels::{infonce, matmul, offset_xent, reduce, triplet};
use crate::reference as twin;

/// The shape of a loss of pairs: unit rows [B, D] against [M, D], M >= B, and perhaps what the pairs are [B, B].
fn paired(op: &str, third: &str, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    match inputs {
        [[b, d], [m, e], rest @ ..] if d == e && m >= b => match rest {
            [] => Ok(vec![1]),
            [[i, j]] if i == b && j == b => Ok(vec![1]),
            other => Err(Error::shape(op, format!("{third} of {other:?}, expected [{b}, {b}]"))),
        },
        other => Err(Error::shape(op, format!("{other:?}, expected [B, D], [M, D] with M >= B, and perhaps [B, B]"))),
    }
}

/// Symmetric InfoNCE between unit vectors a [B, D] and b [M, D], M >= B: row i of a belongs to row i of b; what b has beyond
/// B rows are more negatives. The temperature is learned, from 1/0.07. A third input [B, B], where given, weights the
/// positives (overlap of the places).
#[derive(Debug, Clone, Copy)]
pub struct InfoNce {
    /// Label smoothing, 0 to 1.
    pub smoothing: f32,
}

impl InfoNce {
    fn call<'a>(&self, similarity: &'a Tensor, params: &[&'a Tensor], inputs: &[&'a Tensor]) -> infonce::InfoNce<'a> {
        infonce::InfoNce { similarity, log_scale: params[0], weights: inputs.get(2).copied(), smoothing: self.smoothing }
    }
}

impl Op for InfoNce {
    fn name(&self) -> &'static str {
        "infonce"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        paired("infonce", "weights", inputs)
    }

    fn params(&self, _: &[&[usize]]) -> Vec<ParamSpec> {
        let start = (1.0f64 / 0.07).ln() as f32;
        vec![ParamSpec { name: "log_scale", shape: vec![1], init: Init::Constant(start), kind: ParamKind::Free }]
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let (b, m) = (inputs[0][0], inputs[1][0]);
        vec![vec![b, m], infonce::stats_shape(b).to_vec(), vec![1]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let [similarity, stats, accuracy] = io.saved else { unreachable!("saved() names three") };
        matmul::matmul(plan, io.inputs[0], matmul::Op::Plain, io.inputs[1], matmul::Op::Transposed, similarity)?;
        infonce::forward(plan, self.call(similarity, io.params, io.inputs), stats, io.output, accuracy)
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], _: bool) -> Vec<f64> {
        let ([b, d], [m, _]) = (inputs[0].0, inputs[1].0) else { unreachable!("shape() accepted it") };
        let s = twin::matmul::matmul(inputs[0].1, &twin::matmul::transpose(inputs[1].1, *m, *d), *b, *d, *m);
        let w = inputs.get(2).map(|w| w.1.to_vec());
        let loss = twin::infonce::InfoNce { s, b: *b, m: *m, t: params[0][0], w, smoothing: f64::from(self.smoothing) };
        vec![loss.run().0]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let engine = plan.engine();
        let [similarity, stats, _] = io.saved else { unreachable!("saved() names three") };
        if let Some(Some(dw)) = io.dx.get(2) {
            reduce::backward(plan, io.dy, dw, 0.0)?;
        }
        let ds = engine.tensor("similarity gradient", similarity.shape(), DType::F32)?;
        let partial = engine.tensor("temperature gradient", &[similarity.shape()[0]], DType::F32)?;
        let Some(dt) = &io.dparams[0] else { unreachable!("the temperature is trained") };
        infonce::backward(plan, self.call(similarity, io.params, io.inputs), stats, io.dy, &ds, &partial, dt)?;
        if let Some(da) = &io.dx[0] {
            matmul::matmul(plan, &ds, matmul::Op::Plain, io.inputs[1], matmul::Op::Plain, da)?;
        }
        match &io.dx[1] {
            Some(db) => matmul::matmul(plan, &ds, matmul::Op::Transposed, io.inputs[0], matmul::Op::Plain, db),
            None => Ok(()),
        }
    }
}

/// Triplet loss between unit vectors a [B, D] and b [M, D], M >= B ([`triplet::forward`]): row i of a belongs to row i of b, all other
/// pairs are negatives. A third input [B, B], where given, says instead what each pair is: above 0 positive, 0 negative, below 0 neither
/// (ground that is partly shared); its gradient is 0.
#[derive(Debug, Clone, Copy)]
pub struct Triplet(pub triplet::Triplet);

impl Triplet {
    /// Which of [`super::super::TrainingPlan::saved`] holds the accuracy.
    pub const ACCURACY: usize = 2;
}

impl Op for Triplet {
    fn name(&self) -> &'static str {
        "triplet"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        paired("triplet", "a mask", inputs)
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let (b, m) = (inputs[0][0], inputs[1][0]);
        vec![vec![b, m], triplet::records_shape(self.0, b, m).to_vec(), vec![1]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let [similarity, records, accuracy] = io.saved else { unreachable!("saved() names three") };
        matmul::matmul(plan, io.inputs[0], matmul::Op::Plain, io.inputs[1], matmul::Op::Transposed, similarity)?;
        triplet::forward(plan, self.0, similarity, io.inputs.get(2).copied(), records, io.output, accuracy)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let ([b, d], [m, _]) = (inputs[0].0, inputs[1].0) else { unreachable!("shape() accepted it") };
        let s = twin::matmul::matmul(inputs[0].1, &twin::matmul::transpose(inputs[1].1, *m, *d), *b, *d, *m);
        vec![twin::triplet::run(self.0, &s, inputs.get(2).map(|w| w.1), *b, *m).0]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let [similarity, records, _] = io.saved else { unreachable!("saved() names three") };
        if let Some(Some(dw)) = io.dx.get(2) {
            reduce::backward(plan, io.dy, dw, 0.0)?;
        }
        if io.dx[..2].iter().all(Option::is_none) {
            return Ok(());
        }
        let ds = plan.engine().tensor("similarity gradient", similarity.shape(), DType::F32)?;
        triplet::backward(plan, self.0, records, io.dy, &ds)?;
        if let Some(da) = &io.dx[0] {
            matmul::matmul(plan, &ds, matmul::Op::Plain, io.inputs[1], matmul::Op::Plain, da)?;
        }
        match &io.dx[1] {
            Some(db) => matmul::matmul(plan, &ds, matmul::Op::Transposed, io.inputs[0], matmul::Op::Plain, db),
            None => Ok(()),
        }
    }
}

/// The loss of a bridge network ([`bridge::forward`]): rows f [N, C] and h [N, C] of which row i belongs to row i, and, an input of indices
/// \[N negatives\], which rows of h are the negatives of each row of f.
#[derive(Debug, Clone, Copy)]
pub struct BridgeLoss(pub Bridge);

impl BridgeLoss {
    /// Which of [`super::super::TrainingPlan::saved`] holds the distances [N, 1 + negatives]: of the pair, then of its negatives.
    pub const DISTANCES: usize = 0;
}

impl Op for BridgeLoss {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let k = self.0.negatives;
        match inputs {
            [[n, c], [m, d], [e]] if n == m && c == d && *e == n * k && k > 0 => Ok(vec![1]),
            other => Err(Error::shape("bridge", format!("{other:?}, expected [N, C] twice and the {k} negatives of each row [{k} N]"))),
        }
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let n = inputs[0][0];
        vec![vec![n, 1 + self.0.negatives], vec![n]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let ([f, h, partners], [distances, terms]) = (io.inputs, io.saved) else { unreachable!("shape() and saved() say so") };
        bridge::forward(plan, self.0, f, h, partners, distances, terms, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let partners: Vec<usize> = inputs[2].1.iter().map(|p| *p as usize).collect();
        vec![twin::bridge::run(self.0, inputs[0].1, inputs[1].1, &partners, inputs[0].0[1]).loss]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let [f, h, partners] = io.inputs else { unreachable!("shape() accepted it") };
        let links = plan.engine().tensor("links", &bridge::links_shape(self.0, f.shape()[0]), DType::U32)?;
        let [df, dh, _] = io.dx else { unreachable!("shape() accepted it") };
        let distances = &io.saved[Self::DISTANCES];
        let g = Gradients { distances, links: &links, dloss: io.dy, df: df.as_ref(), dh: dh.as_ref() };
        bridge::backward(plan, self.0, f, h, partners, g)
    }
}

/// Cross-entropy of correlation scores [P, V, U, W] over all offsets of all windows against those near the true one, which the second
/// input [P, 4] tells ([`offset_xent::OffsetXent::target`]). The temperature is learned.
#[derive(Debug, Clone, Copy)]
pub struct OffsetXent {
    /// A fixed factor of the scores.
    pub factor: f32,
    /// Offsets this far from the true one count as right, pixels.
    pub radius: f32,
    /// Logit scale at the start.
    pub start: f32,
    /// Largest logit scale.
    pub most: f32,
}

impl OffsetXent {
    /// Which of [`super::super::TrainingPlan::saved`] holds what the loss was of each patch ([`offset_xent::stats_shape`]).
    pub const STATS: usize = 1;
    /// Which of them holds the accuracy.
    pub const ACCURACY: usize = 2;

    fn call<'a>(&self, params: &[&'a Tensor], inputs: &[&'a Tensor]) -> offset_xent::OffsetXent<'a> {
        let (scores, target) = (inputs[0], inputs[1]);
        offset_xent::OffsetXent { scores, target, log_scale: params[0], factor: self.factor, radius: self.radius, most: self.most }
    }
}

impl Op for OffsetXent {
    fn name(&self) -> &'static str {
        "offset xent"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match (inputs[0], inputs[1]) {
            ([p, _, _, _], [q, 4]) if p == q => Ok(vec![1]),
            (a, b) => Err(Error::shape("offset xent", format!("scores {a:?} with targets {b:?}, expected [P, V, U, W] and [P, 4]"))),
        }
    }

    fn params(&self, _: &[&[usize]]) -> Vec<ParamSpec> {
        vec![ParamSpec { name: "log_scale", shape: vec![1], init: Init::Constant(self.start.ln()), kind: ParamKind::Free }]
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        vec![offset_xent::parts_shape(inputs[0]).to_vec(), offset_xent::stats_shape(inputs[0][0]).to_vec(), vec![1]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let [parts, stats, accuracy] = io.saved else { unreachable!("saved() names three") };
        offset_xent::forward(plan, self.call(io.params, io.inputs), parts, stats, io.output, accuracy)
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], _: bool) -> Vec<f64> {
        let loss = twin::offset_xent::OffsetXent {
            s: inputs[0].1.to_vec(),
            shape: inputs[0].0.try_into().expect("shape() accepted it"),
            target: inputs[1].1.to_vec(),
            t: params[0][0],
            factor: f64::from(self.factor),
            radius: f64::from(self.radius),
            most: f64::from(self.most),
        };
        vec![loss.run().loss]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let stats = &io.saved[Self::STATS];
        let Some(dt) = &io.dparams[0] else { unreachable!("the temperature is trained") };
        let scratch;
        let ds = match &io.dx[0] {
            Some(ds) => ds,
            None => {
                scratch = plan.engine().tensor("unused gradient", io.inputs[0].shape(), DType::F32)?;
                &scratch
            }
        };
        offset_xent::backward(plan, self.call(io.params, io.inputs), stats, io.dy, ds, dt)
    }
}
