//! What one kind of training adds to the loop of all.

use super::course::Course;
use super::learner::Learner;
use crate::Result;
use crate::gpu::{Engine, Plan, Tensor};
use crate::nn::{Network, NetworkManifest, TensorMap};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What one kind of training adds to the loop.
pub(super) trait Task {
    /// The run's settings; a checkpoint of other ones is refused.
    type Config: Serialize + DeserializeOwned + PartialEq;
    /// What is trained.
    type Network: Network;
    /// What is remembered from step to step; checkpoints carry it.
    type State: Serialize + DeserializeOwned + Default;

    /// The settings.
    fn config(&self) -> &Self::Config;
    /// The network.
    fn network(&self) -> &Self::Network;
    /// The course.
    fn course(&self) -> Course;
    /// Whether these settings go on with a run of others that has done so many steps.
    fn goes_on_from(&self, saved: &Self::Config, _done: usize) -> bool {
        saved == self.config()
    }
    /// Ground size of a patch on the first scene, metres.
    fn patch_m(&self) -> f64;
    /// Ground size of a feature pixel, metres, where there are any.
    fn pixel_m(&self) -> Option<f64>;
    /// The manifest of the finished model, from that of the run.
    fn finished(&self, run: NetworkManifest<Self::Network>) -> Result<NetworkManifest<Self::Network>> {
        Ok(run)
    }
    /// Parameters that the model carries and the run does not train.
    fn kept(&self) -> TensorMap {
        TensorMap::new()
    }
    /// What cuts a step's patches: it comes before the network's own dispatches.
    fn sampling(&self) -> &Plan;
    /// Prepares an epoch. Every earlier step has been reported.
    fn start_epoch(&mut self, engine: &Engine, learner: &Learner, epoch: usize, state: &mut Self::State) -> Result<()>;
    /// Prepares what is left of an epoch that an earlier call has begun.
    fn resume_epoch(&mut self, _engine: &Engine, _learner: &Learner, _epoch: usize) -> Result<()> {
        Ok(())
    }
    /// Writes what the step reads.
    fn start_step(&mut self, engine: &Engine, step: usize, state: &mut Self::State) -> Result<()>;
    /// Writes what the rest of a step reads that hangs on what the network said so far, where its graph has a pause.
    fn pause(&mut self, _engine: &Engine, _learner: &Learner, _step: usize) -> Result<()> {
        Ok(())
    }
    /// What a step tells beside its loss.
    fn watched<'l>(&self, _learner: &'l Learner) -> Option<&'l Tensor> {
        None
    }
    /// Takes note of what a step (from 0) told; gives its accuracy. Steps come in order, each once.
    fn note(&mut self, _step: usize, _told: &[f32], _state: &mut Self::State) -> Option<f32> {
        None
    }
    /// Figures on the validation scene.
    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value>;
}

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "S: DeserializeOwned"))]
pub(super) struct Progress<S> {
    /// Steps done.
    pub(super) step: usize,
    /// What the task remembers from step to step.
    pub(super) state: S,
    /// Validation figures so far.
    pub(super) validation: Vec<serde_json::Value>,
    /// [`crate::nn::NetworkFile::hash`] of the model that the run started from.
    #[serde(default)]
    pub(super) init_hash: Option<String>,
}
