//! The ways that are compared, and what becomes of each.

use crate::align::{Align, ClassBy, Sides};
use crate::eval::metrics::QueryResult;
use crate::train::TrainConfig;
use serde::{Deserialize, Serialize};

/// One way of the comparison.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) set: fn(&mut TrainConfig),
}

pub(super) const WAYS: [Way; 12] = [
    Way { name: "none", what: "InfoNCE alone", set: |_| {} },
    Way { name: "critic-gp", what: "Wasserstein critic, gradient penalty", set: |c| c.align.method = Align::CriticGp },
    Way {
        name: "critic-gp-sar",
        what: "the same, moving the SAR encoder alone",
        set: |c| (c.align.method, c.align.sides) = (Align::CriticGp, Sides::Sar),
    },
    Way { name: "critic-clip", what: "Wasserstein critic, clipped weights", set: |c| c.align.method = Align::CriticClip },
    Way { name: "class", what: "class adversary, gradient reversal", set: |c| c.align.method = Align::Class },
    Way {
        name: "class-flip",
        what: "class adversary, flipped labels",
        set: |c| (c.align.method, c.align.class_by) = (Align::Class, ClassBy::Flip),
    },
    Way { name: "sinkhorn", what: "Sinkhorn divergence", set: |c| c.align.method = Align::Sinkhorn },
    Way { name: "mmd", what: "maximum mean discrepancy", set: |c| c.align.method = Align::Mmd },
    Way { name: "coral", what: "distance of covariances", set: |c| c.align.method = Align::Coral },
    Way { name: "random-channel", what: "no loss: half of the maps show one random band", set: |c| c.augment.random_channel = 0.5 },
    Way { name: "recolour", what: "no loss: half of the maps in a random radiometry", set: |c| c.augment.recolour = 0.5 },
    Way {
        name: "mix-statistics",
        what: "no loss: half of the pairs mix their feature statistics",
        set: |c| c.augment.mix_statistics = 0.5,
    },
];

/// What became of one training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) way: String,
    pub(super) seed: u64,
    pub(super) config: TrainConfig,
    pub(super) adapter: String,
    /// Outcome of each query, anywhere and on the grid.
    pub(super) arbitrary: Vec<QueryResult>,
    pub(super) aligned: Vec<QueryResult>,
}

impl Run {
    /// Whether each query anywhere was found first.
    pub(super) fn right(&self) -> Vec<f64> {
        self.arbitrary.iter().map(|q| f64::from(u8::from(q.right_rank == Some(1)))).collect()
    }
}
