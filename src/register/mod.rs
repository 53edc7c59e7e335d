//! Registering a SAR image to a map: fixes, a robust fit, the image resampled.

mod fit;

pub use fit::{Consensus, ConsensusConfig, Fit, FitConfig, Limits, Model, ModelKind, TiePoint, consensus, fit};
