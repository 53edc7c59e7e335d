//! The ways that are compared, and what becomes of each.

use crate::align::Align;
use crate::dense::FeatureKind;
use crate::kernels::triplet::Mining;
use crate::nn::{EncoderConfig, Head, Sharing};
use crate::refine::Position;
use crate::train::{Loss, RefineTrainConfig, TrainConfig};

/// How a way comes to its candidates.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// An encoder of its own, by these settings.
    Encoder(fn(&mut TrainConfig)),
    /// A graph network behind another way's encoder, by these settings.
    Graph(&'static str, fn(&mut RefineTrainConfig)),
    /// Another way's candidates, slid; queries by themselves, or voting in strips.
    Slid(&'static str, bool),
    /// Correlation with the whole map, without cells; nothing is trained here.
    Dense(FeatureKind),
}

/// One way of the comparison.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) how: How,
}

const fn encoder(name: &'static str, what: &'static str, set: fn(&mut TrainConfig)) -> Way {
    Way { name, what, how: How::Encoder(set) }
}

const fn graph(name: &'static str, what: &'static str, behind: &'static str, set: fn(&mut RefineTrainConfig)) -> Way {
    Way { name, what, how: How::Graph(behind, set) }
}

/// Drops the projection: the vector is the pooled channels.
fn without_projection(c: &mut TrainConfig) {
    if let Head::Pooled { dim, .. } = &mut c.encoder.head {
        *dim = None;
    }
}

fn with_dropout(c: &mut TrainConfig) {
    if let Head::Pooled { dropout, .. } = &mut c.encoder.head {
        *dropout = 0.5;
    }
}

/// The published loss, with what keeps it from drawing all vectors into one point.
fn batch_hard(c: &mut TrainConfig) {
    c.triplet.mining = Mining::Hard;
    if let Head::Pooled { norm, .. } = &mut c.encoder.head {
        *norm = true;
    }
}

/// The project's own recipe, on as many pairs: a grid of vectors, InfoNCE, towers of their own, several views a cell.
fn ours(c: &mut TrainConfig) {
    let own = TrainConfig::default();
    let input = c.encoder.input.min(own.encoder.input);
    // It starts from random values: other networks' fit it not.
    c.init_from = None;
    c.encoder = EncoderConfig { input, sharing: Sharing::Separate, ..own.encoder };
    (c.loss, c.views) = (Loss::Infonce, 3);
    // Hard negatives from the same share of the run on.
    (c.near, c.similar, c.pool) = (own.near, own.similar, own.pool);
    c.similar_from = (c.epochs * own.similar_from).div_ceil(own.epochs);
}

/// What edges know of positions, and whether nodes do.
fn told(c: &mut RefineTrainConfig, position: Position, embedding: bool) {
    (c.refiner.position, c.refiner.embedding) = (position, embedding);
}

/// The graph network as it is by itself, behind our own encoder.
fn our_graph(c: &mut RefineTrainConfig) {
    let own = RefineTrainConfig::default();
    (c.refiner, c.loss, c.strip, c.singles, c.part, c.views) = (own.refiner, own.loss, own.strip, own.singles, own.part, vec![3]);
}

pub(super) const BASE: &str = "base";

pub(super) const WAYS: [Way; 26] = [
    encoder(BASE, "triplets, one shared trunk, pooled vector, projection", |_| {}),
    encoder("class", "+ class adversary", |c| c.align.method = Align::Class),
    encoder("critic", "+ Wasserstein critic, clipped, weight 0.01, as published", |c| {
        (c.align.method, c.align.weight) = (Align::CriticClip, Some(0.01));
    }),
    encoder("critic-light", "the same at a tenth of the weight", |c| {
        (c.align.method, c.align.weight) = (Align::CriticClip, Some(0.001));
    }),
    encoder("critic-gp", "+ Wasserstein critic, gradient penalty, weight 1", |c| c.align.method = Align::CriticGp),
    encoder("no-projection", "without projection", without_projection),
    encoder("dropout", "with drop-out 0.5", with_dropout),
    encoder("random-channel", "rival: half of the maps show one random band", |c| c.augment.random_channel = 0.5),
    encoder("recolour", "rival: half of the maps in a random radiometry", |c| c.augment.recolour = 0.5),
    encoder("mix-statistics", "rival: half of the pairs mix their statistics", |c| c.augment.mix_statistics = 0.5),
    encoder("batch-hard", "`base` by batch-hard triplets, vectors normalised over the batch", batch_hard),
    encoder("infonce", "`base` by InfoNCE", |c| c.loss = Loss::Infonce),
    graph("graph-none", "`base` + graph, no positions", BASE, |c| told(c, Position::None, false)),
    graph("graph-attention", "`base` + graph, positions in the attention", BASE, |c| told(c, Position::Metric, false)),
    graph("graph-embedding", "`base` + graph, positions embedded in nodes", BASE, |c| told(c, Position::None, true)),
    graph("graph", "`base` + graph, both", BASE, |c| told(c, Position::Metric, true)),
    graph("graph-20", "the same of 20 candidates", BASE, |c| {
        told(c, Position::Metric, true);
        c.refiner.top = 20;
    }),
    graph("critic-graph", "`critic` + graph, both: the whole system as published", "critic", |c| told(c, Position::Metric, true)),
    graph("light-graph", "`critic-light` + graph, both", "critic-light", |c| told(c, Position::Metric, true)),
    graph("joint", "a graph like that, from random values, and `base` trained on with it", BASE, |c| {
        told(c, Position::Metric, true);
        c.joint = true;
    }),
    encoder("grid", "ours: a grid of vectors, InfoNCE", ours),
    Way { name: "grid-slide", what: "ours: `grid`, candidates slid", how: How::Slid("grid", false) },
    Way { name: "grid-strips", what: "ours: `grid-slide`, voting in strips", how: How::Slid("grid", true) },
    graph("grid-graph", "ours: `grid` + graph in strips", "grid", our_graph),
    Way { name: "dense-structure", what: "ours: correlation of structure, untrained", how: How::Dense(FeatureKind::Structure) },
    Way { name: "dense-learned", what: "ours: correlation of the shipped features", how: How::Dense(FeatureKind::Learned) },
];

/// The way of a name.
pub(super) fn way(name: &str) -> &'static Way {
    WAYS.iter().find(|w| w.name == name).expect("ways name ways")
}

impl Way {
    /// The way whose encoder this one takes.
    pub(super) fn behind(&self) -> Option<&'static str> {
        match self.how {
            How::Encoder(_) | How::Dense(_) => None,
            How::Graph(behind, _) | How::Slid(behind, _) => Some(behind),
        }
    }

    /// Whether queries are taken strip by strip.
    pub(super) fn in_strips(&self) -> bool {
        matches!(self.name, "grid-strips" | "grid-graph")
    }

    /// The settings of its encoder; none where it has none.
    pub(super) fn encoder(&self, base: &TrainConfig, seed: u64) -> Option<TrainConfig> {
        let mut config = TrainConfig { seed, ..base.clone() };
        match self.how {
            How::Encoder(set) => set(&mut config),
            How::Graph(behind, _) | How::Slid(behind, _) => return way(behind).encoder(base, seed),
            How::Dense(_) => return None,
        }
        Some(config)
    }

    /// The settings of its graph network; none where it has none.
    pub(super) fn graph(&self, base: &RefineTrainConfig, seed: u64) -> Option<RefineTrainConfig> {
        let How::Graph(_, set) = self.how else { return None };
        let mut config = RefineTrainConfig { seed, joint: false, ..base.clone() };
        set(&mut config);
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_stand_behind_encoders_that_come_before_them() {
        for (i, w) in WAYS.iter().enumerate() {
            assert!(WAYS[..i].iter().all(|o| o.name != w.name), "{}", w.name);
            if let Some(behind) = w.behind() {
                let at = WAYS.iter().position(|o| o.name == behind).unwrap();
                assert!(at < i && matches!(WAYS[at].how, How::Encoder(_)), "{}", w.name);
            }
        }
    }
}
