//! A network and what trains it, whatever the task.

use super::course::Course;
use super::start::Start;
use crate::align::{Aligned, Objective};
use crate::gpu::{Engine, OpTime, Plan, Precision, Tensor, medians};
use crate::nn::{Graph, NodeId, Optimizer, StepFactors, TensorMap, TrainingPlan, Weights};
use crate::{Error, Result};

/// A network on the device, with what trains it.
pub(super) struct Learner {
    pub(super) weights: Weights,
    pub(super) plan: TrainingPlan,
    pub(super) optimizer: Optimizer,
    /// What runs beside the encoder where the modalities are aligned.
    pub(super) aligned: Option<Aligned>,
    /// [`crate::nn::NetworkFile::hash`] of the model that the network starts from.
    pub(super) init_hash: Option<String>,
}

impl Learner {
    pub(super) fn new(engine: &Engine, graph: &Graph, loss: NodeId, objective: Option<&Objective>, course: &Course) -> Result<Self> {
        let mut weights = Weights::init(engine, graph, course.seed)?;
        let adversary = objective.map(|o| o.adversary(engine, course.seed)).transpose()?.flatten();
        if let Some(adversary) = &adversary {
            weights.adopt(adversary)?;
        }
        let outputs: Vec<NodeId> = [loss].into_iter().chain(objective.into_iter().flat_map(Objective::outputs)).collect();
        let mut graph = graph.clone();
        graph.set_precision(course.precision);
        let plan = graph.training(engine, &weights, &outputs)?;
        let scale = (course.precision == Precision::Mixed).then_some(&plan.loss_gradient);
        let optimizer = Optimizer::new(engine, &graph, &weights, &plan.gradients, course.optimizer, scale)?;
        let aligned = objective.map(|o| Aligned::new(engine, o, adversary, &plan, course.seed)).transpose()?;
        Ok(Self { weights, plan, optimizer, aligned, init_hash: None })
    }

    /// Puts `start` in place of the random start values.
    pub(super) fn start_from(&mut self, engine: &Engine, start: Start) -> Result<()> {
        if self.weights.load(engine, &start.tensors)? != start.tensors.len() {
            return Err(Error::invalid("the network lacks some of the parameters that it is to start from"));
        }
        self.init_hash = start.hash;
        Ok(())
    }

    /// The weights that are judged and kept: the running mean, if there is one.
    pub(super) fn judged(&self) -> &Weights {
        self.optimizer.mean().unwrap_or(&self.weights)
    }

    /// Everything that a run needs to go on, beside where it stands.
    pub(super) fn read(&self, engine: &Engine) -> Result<TensorMap> {
        let mut tensors = self.weights.read(engine)?;
        tensors.extend(self.optimizer.read(engine)?);
        if let Some(aligned) = &self.aligned {
            tensors.extend(aligned.read(engine)?);
        }
        Ok(tensors)
    }

    /// Restores what [`Learner::read`] gave.
    pub(super) fn load(&self, engine: &Engine, tensors: &TensorMap) -> Result<()> {
        if self.weights.load(engine, tensors)? != self.weights.len() {
            return Err(Error::invalid("some weights are missing"));
        }
        self.optimizer.load(engine, tensors)?;
        Ok(self.aligned.as_ref().map_or(Ok(()), |a| a.load(engine, tensors))?)
    }

    /// Trained values.
    pub(super) fn parameters(&self) -> usize {
        self.plan.gradients.iter().flatten().map(Tensor::len).sum()
    }

    /// All dispatches of a step, at a learning rate of 0.
    pub(super) fn into_plan(self, engine: &Engine) -> Result<Plan> {
        self.optimizer.set(engine, StepFactors { lr: 0.0, step: 1 })?;
        let mut plan = self.plan.plan;
        plan.extend(self.optimizer.plan);
        if let Some(aligned) = &self.aligned {
            plan.extend(aligned.step_plan());
        }
        Ok(plan)
    }

    /// Median time of each dispatch of a step over `steps` runs.
    pub(super) fn profile(self, engine: &Engine, steps: usize) -> Result<Vec<OpTime>> {
        let plan = self.into_plan(engine)?;
        plan.submit(engine)?;
        engine.wait("warm-up")?;
        let runs = (0..steps.max(1)).map(|_| Ok(plan.profile(engine)?)).collect::<Result<Vec<_>>>()?;
        Ok(medians(&runs))
    }
}
