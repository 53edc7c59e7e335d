//! What a matching model is: two towers to bounded vectors whose distance says whether two patches show the same ground.

use super::encoder::EncoderConfig;
use super::weights::Network;
use serde::{Deserialize, Serialize};

/// A bridge network: an encoder with [`Head::Bounded`](super::Head::Bounded), and what it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeNetwork {
    /// Both towers.
    pub encoder: EncoderConfig,
    /// Side of the patches it was trained on, pixels of the optical image.
    pub patch: u32,
    /// What is added to the mean square under the root of a distance.
    pub eps: f32,
}

impl Network for BridgeNetwork {
    const KINDS: [&'static str; 2] = ["matching model", "matching checkpoint"];
}

impl BridgeNetwork {
    /// Distance of two vectors: sqrt(|f - h|^2 / c + eps), as [`crate::kernels::bridge`] has it.
    pub fn distance(&self, f: &[f32], h: &[f32]) -> f64 {
        let squares: f64 = f.iter().zip(h).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        (squares / f.len().max(1) as f64 + f64::from(self.eps)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::bridge::Bridge;
    use crate::nn::{Architecture, Head, Sharing};
    use crate::reference::bridge;

    #[test]
    fn distances_are_those_of_the_loss() {
        let encoder = EncoderConfig::new(Architecture::Resnet50, 64, Sharing::Separate, Head::bounded());
        let network = BridgeNetwork { encoder, patch: 256, eps: 1e-4 };
        let (f, h) = ([0.25f32, 0.5, 0.75], [0.5f32, 0.5, 0.25]);
        let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let twin = bridge::run(Bridge { eps: 1e-4, ..Bridge::default() }, &wide(&f), &wide(&h), &[0], 3);
        assert!((network.distance(&f, &h) - twin.distances[0]).abs() < 1e-12);
    }
}
