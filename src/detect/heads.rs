//! What a network says of a batch of inputs: candidates, whatever its head.

use super::proposals::Proposer;
use crate::Result;
use crate::gpu::{Engine, Plan, Tensor};
use crate::kernels::roi_align::NOWHERE;
use crate::nn::{DetectorConfig, DetectorHead, FasterRcnn, Graph, InferencePlan, NodeId, Pause, Proposing, RegionNodes, Weights, Yolo3};

/// A box that may be one, pixels of the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) corners: [f32; 4],
    pub(super) score: f32,
    pub(super) class: u32,
}

/// A network, described.
pub(super) struct Described<'c> {
    config: &'c DetectorConfig,
    batch: usize,
    pub(super) graph: Graph,
    head: Nodes<'c>,
}

enum Nodes<'c> {
    /// Decoded rows, and the inputs that take the anchors, of each map.
    Yolo3(&'c Yolo3, Vec<[NodeId; 2]>),
    FasterRcnn(&'c FasterRcnn, Proposing, RegionNodes),
}

/// A network on a device.
pub(super) struct Heads {
    network: InferencePlan,
    batch: usize,
    classes: usize,
    head: Head,
}

enum Head {
    Yolo3,
    FasterRcnn(Box<TwoStages>),
}

/// What runs between proposing regions and reading them.
struct TwoStages {
    faster: FasterRcnn,
    proposer: Proposer,
    /// Stride of the finest map.
    finest: usize,
    plans: [Plan; 2],
    /// Tensors of what anchors say: logits, then differences.
    said: [Vec<Tensor>; 2],
    boxes: Tensor,
    places: Tensor,
}

impl<'c> Described<'c> {
    /// For so many inputs at once.
    pub(super) fn new(config: &'c DetectorConfig, batch: usize) -> Result<Self> {
        let mut graph = Graph::new();
        let x = graph.input("image", &[batch, config.input, config.input, 4]);
        let head = match &config.head {
            DetectorHead::Yolo3(yolo) => {
                let maps = yolo.maps(config, &mut graph, x)?;
                Nodes::Yolo3(yolo, yolo.decoded(config, &mut graph, &maps)?)
            }
            DetectorHead::FasterRcnn(faster) => {
                let pyramid = faster.pyramid(config, &mut graph, x)?;
                let said = faster.proposing(&mut graph, &pyramid)?;
                graph.pause(&[&said.logits[..], &said.deltas[..]].concat());
                let regions = faster.regions(config, &mut graph, &pyramid, batch * faster.proposals)?;
                Nodes::FasterRcnn(faster, said, regions)
            }
        };
        Ok(Self { config, batch, graph, head })
    }

    /// On a device.
    pub(super) fn build(&self, engine: &Engine, weights: &Weights) -> Result<Heads> {
        let (network, head) = match &self.head {
            Nodes::Yolo3(yolo, maps) => {
                let rows: Vec<NodeId> = maps.iter().map(|[rows, _]| *rows).collect();
                let network = self.graph.inference(engine, weights, &rows)?;
                for (k, [_, anchors]) in maps.iter().enumerate() {
                    engine.write(self.input(&network, *anchors), yolo.anchors_of(k).as_flattened())?;
                }
                (network, Head::Yolo3)
            }
            Nodes::FasterRcnn(faster, said, regions) => {
                let network = self.graph.inference(engine, weights, &[regions.classes, regions.deltas])?;
                let stages = TwoStages::new(engine, self, faster, (said, regions), &network)?;
                (network, Head::FasterRcnn(Box::new(stages)))
            }
        };
        Ok(Heads { network, batch: self.batch, classes: self.config.classes.len(), head })
    }

    fn input<'a>(&self, network: &'a InferencePlan, node: NodeId) -> &'a Tensor {
        &network.inputs[self.graph.input_index(node).expect("an input")]
    }
}

impl Heads {
    /// Inputs at once.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// The images that the network looks at, [N, S, S, 4].
    pub(super) fn images(&self) -> &Tensor {
        &self.network.inputs[0]
    }

    /// Candidates of the first `count` inputs with a score of `least` or more, in no order.
    pub(super) fn candidates(&self, engine: &Engine, count: usize, least: f32) -> Result<Vec<Vec<Candidate>>> {
        match &self.head {
            Head::Yolo3 => {
                self.network.plan.submit(engine)?;
                let maps = self.network.outputs.iter().map(|t| Ok(engine.read::<f32>(t)?)).collect::<Result<Vec<_>>>()?;
                Ok((0..count).map(|n| self.of_rows(&maps, n, least)).collect())
            }
            Head::FasterRcnn(stages) => stages.candidates(engine, &self.network, self.classes, count, least),
        }
    }

    /// Those of one input, of rows of a box, the logit of its being there, and those of the classes.
    fn of_rows(&self, maps: &[Vec<f32>], n: usize, least: f32) -> Vec<Candidate> {
        let sigmoid = |z: f32| 1.0 / (1.0 + (-z).exp());
        let mut all = Vec::new();
        for map in maps {
            let own = map.len() / self.batch;
            for row in map[n * own..(n + 1) * own].chunks_exact(5 + self.classes) {
                let there = sigmoid(row[4]);
                if there < least {
                    continue;
                }
                let classes = row[5..].iter().enumerate().map(|(class, z)| (class as u32, there * sigmoid(*z)));
                let corners = [row[0], row[1], row[2], row[3]];
                all.extend(classes.filter(|(_, score)| *score >= least).map(|(class, score)| Candidate { corners, score, class }));
            }
        }
        all
    }
}

impl TwoStages {
    fn new(
        engine: &Engine,
        described: &Described<'_>,
        faster: &FasterRcnn,
        (said, regions): (&Proposing, &RegionNodes),
        network: &InferencePlan,
    ) -> Result<Self> {
        let (input, graph) = (described.config.input, &described.graph);
        let grids: Vec<usize> = said.logits.iter().map(|m| graph.shape(*m)[1]).collect();
        let Pause { after, read } = network.pause.as_ref().expect("described with a pause");
        let (logits, deltas) = read.split_at(said.logits.len());
        Ok(Self {
            faster: faster.clone(),
            proposer: Proposer::new(engine, faster, input, &grids, described.batch)?,
            finest: input / grids[0],
            plans: network.plan.clone().split_at(*after),
            said: [logits.to_vec(), deltas.to_vec()],
            boxes: described.input(network, regions.boxes).clone(),
            places: described.input(network, regions.places).clone(),
        })
    }

    fn candidates(
        &self,
        engine: &Engine,
        network: &InferencePlan,
        classes: usize,
        count: usize,
        least: f32,
    ) -> Result<Vec<Vec<Candidate>>> {
        let [first, second] = &self.plans;
        first.submit(engine)?;
        let [logits, deltas] = &self.said;
        let mut regions = self.proposer.propose(engine, logits, deltas)?;
        regions.truncate(count);
        let slots = self.boxes.shape()[0];
        let (mut boxes, mut places) = (vec![[0.0f32; 4]; slots], vec![[NOWHERE; 2]; slots]);
        for (slot, (n, region)) in regions.iter().enumerate().flat_map(|(n, all)| all.iter().map(move |r| (n, *r))).enumerate() {
            boxes[slot] = region;
            places[slot] = [n as u32, self.faster.map_of(region, self.finest) as u32];
        }
        engine.write(&self.boxes, boxes.as_flattened())?;
        engine.write(&self.places, places.as_flattened())?;
        second.submit(engine)?;
        let [said, deltas] = [0, 1].map(|i| engine.read::<f32>(&network.outputs[i]));
        let (said, deltas) = (said?, deltas?);
        let mut rows = said.chunks_exact(1 + classes).zip(deltas.chunks_exact(4 * classes));
        let of = |regions: Vec<[f32; 4]>| {
            let rows = regions.into_iter().zip(rows.by_ref());
            rows.flat_map(|(region, (said, deltas))| of_region(region, said, deltas, least)).collect()
        };
        Ok(regions.into_iter().map(of).collect())
    }
}

/// What a region says, class by class.
fn of_region<'a>(region: [f32; 4], said: &'a [f32], deltas: &'a [f32], least: f32) -> impl Iterator<Item = Candidate> + 'a {
    let most = said.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = said.iter().map(|z| (z - most).exp()).sum();
    let scores = said[1..].iter().map(move |z| (z - most).exp() / sum);
    let boxes = deltas.as_chunks::<4>().0.iter();
    scores.zip(boxes).enumerate().filter(move |(_, (score, _))| *score >= least).map(move |(class, (score, d))| {
        let corners = FasterRcnn::REGION.decode(region.map(f64::from), d.map(f64::from)).map(|v| v as f32);
        Candidate { corners, score, class: class as u32 }
    })
}
