//! Distances between distributions of features.

mod sinkhorn;

pub use crate::kernels::sinkhorn_online::Ground as Cost;
pub use sinkhorn::{Gradients, Sinkhorn, Solution, Transport, Weights, mean_cost};
