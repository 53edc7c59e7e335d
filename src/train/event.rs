//! What a run tells, and how it ends.

/// What happens during a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// Sizes, once.
    Start {
        /// Step the run goes on from.
        step: usize,
        /// Steps in all.
        total: usize,
        /// Trained values.
        parameters: usize,
        /// Floating-point operations of a step.
        flops: f64,
        /// Bytes of activations and gradients on the device.
        bytes: u64,
    },
    /// A step is done.
    Step {
        /// Its number, from 1.
        step: usize,
        /// Loss before it.
        loss: f32,
        /// Share of the batch that was right, where the loss tells.
        accuracy: Option<f32>,
        /// Learning rate used.
        lr: f64,
        /// Pairs (of dense features: SAR patches) a second, lately.
        rate: f64,
        /// Of alignment and of mixed precision: what it is called and its value.
        figures: Vec<(&'static str, f32)>,
    },
    /// Validation figures.
    Validation {
        /// Step.
        step: usize,
        /// Of an encoder `{"step", "aligned": {"1": .., ..}, "arbitrary": {..}, "views"}`; of dense features
        /// `{"step", "found", "within_px", "patches", "windows"}`.
        figures: serde_json::Value,
    },
    /// A checkpoint was written at this step.
    Checkpoint(usize),
    /// The loss of this step was not finite, or, under mixed precision, its gradient at a loss scale of 1; the optimiser left the step out.
    Skipped(usize),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The model is written.
    Finished,
    /// Stopped on request; the checkpoint is written.
    Stopped {
        /// Steps done.
        step: usize,
    },
}
