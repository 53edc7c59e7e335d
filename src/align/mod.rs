//! The gap between the modalities: how far apart the embeddings of map and SAR lie as distributions, and losses that draw them
//! together.

mod adversary;
mod config;
mod objective;
mod sinkhorn;
#[cfg(test)]
mod tests;

pub use crate::kernels::sinkhorn_online::Ground as Cost;
pub use adversary::Adversary;
pub use config::{Align, AlignConfig, ClassBy, Sides};
pub use objective::{Aligned, Figures, Objective};
pub use sinkhorn::{Gradients, Sinkhorn, Solution, Transport, Weights, mean_cost};
