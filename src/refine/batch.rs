//! From candidates to what the graph network reads: features, edges to the nearest, relations in metres.

use super::Strip;
use super::network::{FEATURES, Inputs, Position, RELATION, RefineLoss, RefinerConfig, Refining, Supervision, Teacher};
use crate::Result;
use crate::gpu::{Engine, Tensor};
use crate::index::{CellHit, Database};
use crate::kernels::edges::Csr;
use crate::kernels::softmax_xent::IGNORE;
use crate::nn::Graph;

/// Logit of a node that stands for no candidate.
const ABSENT: f32 = -1e4;

/// Queries whose graphs are built together. Strips name ranges of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidates<'a> {
    /// The database of the candidates.
    pub(crate) database: &'a Database,
    /// Candidates of each query, best first.
    pub(crate) hits: &'a [Vec<CellHit>],
    /// Which queries lie along one strip; all queries, in order.
    pub(crate) strips: &'a [Strip],
}

/// What the network reads of some queries, on the host.
#[derive(Debug)]
pub(super) struct Batch {
    features: Vec<f32>,
    base: Vec<f32>,
    relation: Vec<f32>,
    edges: Csr,
}

/// A quarter turn, perhaps with a mirror image, of all positions: graphs have no north.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn(pub(crate) u8);

impl Turn {
    /// As it is.
    pub(crate) const NONE: Self = Self(0);
    /// How many there are.
    pub(crate) const COUNT: usize = 8;

    /// One of them.
    pub(crate) fn number(i: usize) -> Self {
        Self((i % Self::COUNT) as u8)
    }

    pub(super) fn apply(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let x = if self.0 & 1 > 0 { -x } else { x };
        let y = if self.0 & 2 > 0 { -y } else { y };
        if self.0 & 4 > 0 { [y, x] } else { [x, y] }
    }
}

/// A cell's side on the ground, metres: the unit of offsets, and of relations.
pub(super) fn unit(database: &Database) -> f64 {
    let side = f64::from(database.manifest.grid.cell);
    let [x, y] = database.metres([side, side]);
    (x * y).sqrt()
}

impl Batch {
    /// For up to `room` queries; what is beyond them has no candidates.
    pub(super) fn new(config: &RefinerConfig, c: &Candidates<'_>, turn: Turn, room: usize) -> Result<Self> {
        let nodes = config.nodes();
        let mut features = vec![0.0; room * nodes * FEATURES];
        let mut base = vec![ABSENT; room * nodes];
        for (q, hits) in c.hits.iter().enumerate() {
            let scores: Vec<f32> = hits.iter().take(config.top).map(|h| h.score).collect();
            let best = scores.first().copied().unwrap_or(0.0);
            let gap = best - scores.get(1).copied().unwrap_or(best);
            let n = scores.len().max(1) as f32;
            let mean = scores.iter().sum::<f32>() / n;
            let spread = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-3);
            for i in 0..nodes {
                let none = i == config.top;
                let row = q * nodes + i;
                let score = if none { Some(&best) } else { scores.get(i) };
                let Some(score) = score else { continue };
                base[row] = if none { 0.0 } else { -config.sharpness * best };
                let own = [
                    f32::from(u8::from(none)),
                    10.0 * (score - best),
                    if none { 0.0 } else { (score - mean) / spread },
                    if none { 0.0 } else { 1.0 / (1.0 + i as f32) },
                    10.0 * gap,
                    10.0 * spread,
                    4.0 * best,
                ];
                features[row * FEATURES..][..FEATURES].copy_from_slice(&own);
            }
        }
        let (list, relations) = edges(config, c, turn);
        let csr = Csr::new(room * nodes, room * nodes, &list)?;
        let mut relation = vec![0.0; config.slots(room) * RELATION];
        for (slot, from) in csr.order().iter().enumerate() {
            relation[slot * RELATION..][..RELATION].copy_from_slice(&relations[*from as usize]);
        }
        Ok(Self { features, base, relation, edges: csr })
    }

    pub(super) fn write(&self, engine: &Engine, inputs: &Inputs) -> Result<()> {
        engine.write(&inputs.features, &self.features)?;
        engine.write(&inputs.base, &self.base)?;
        engine.write(&inputs.relation, &self.relation)?;
        Ok(inputs.edges.write(engine, &self.edges)?)
    }
}

/// A candidate in its strip's frame.
#[derive(Debug, Clone, Copy)]
struct Place {
    query: usize,
    row: u32,
    /// Metres, with the query's own way along the strip taken off.
    at: [f64; 2],
}

/// Edges \[source, target\] and what each knows of its ends.
fn edges(config: &RefinerConfig, c: &Candidates<'_>, turn: Turn) -> (Vec<[u32; 2]>, Vec<[f32; RELATION]>) {
    let nodes = config.nodes();
    let unit = unit(c.database);
    let (mut list, mut relations) = (Vec::new(), Vec::new());
    for strip in c.strips {
        let mut places = Vec::new();
        for (q, along) in strip.queries.clone().zip(&strip.offsets_m) {
            for (i, hit) in c.hits[q].iter().take(config.top).enumerate() {
                let [x, y] = c.database.metres(hit.centre_px);
                places.push(Place { query: q, row: (q * nodes + i) as u32, at: turn.apply([x - along[0], y - along[1]]) });
            }
        }
        for to in &places {
            let mut near: Vec<(f64, &Place)> = places.iter().filter(|p| p.row != to.row).map(|p| (square(delta(p, to)), p)).collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.row.cmp(&b.1.row)));
            let own = near.iter().filter(|(_, p)| p.query == to.query).take(config.near);
            let others = near.iter().filter(|(_, p)| p.query != to.query).take(config.near);
            for (_, from) in own.chain(others) {
                list.push([from.row, to.row]);
                relations.push(relation(config.position, delta(from, to), unit, from.query == to.query));
            }
            list.push([to.row, (to.query * nodes + config.top) as u32]);
            relations.push([0.0; RELATION]);
        }
    }
    (list, relations)
}

fn delta(from: &Place, to: &Place) -> [f64; 2] {
    [from.at[0] - to.at[0], from.at[1] - to.at[1]]
}

fn square([x, y]: [f64; 2]) -> f64 {
    x * x + y * y
}

/// What an edge is told: where its source lies from its target, how near that is, whether both are of one query.
fn relation(position: Position, [x, y]: [f64; 2], unit: f64, same: bool) -> [f32; RELATION] {
    let d = x.hypot(y);
    let same = f32::from(u8::from(same));
    match position {
        // Far away only the direction matters: the first two stay within 1 cell's length of 0, the third falls off from 1.
        Position::Metric => {
            let short = 1.0 / unit.max(d);
            [(x * short) as f32, (y * short) as f32, (1.0 / (1.0 + (4.0 * d / unit).powi(2))) as f32, (d / unit).ln_1p() as f32, same]
        }
        Position::Bearing if d > 0.0 => [(x / d) as f32, (y / d) as f32, 0.0, 0.0, same],
        Position::Bearing | Position::None => [0.0, 0.0, 0.0, 0.0, same],
    }
}

/// The truth about some queries: which candidate is right, and where the query lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Truth {
    /// Its place among the candidates; none where it is not there.
    pub(crate) right: Option<usize>,
    /// The query's centre, map pixels.
    pub(crate) map_px: [f64; 2],
}

/// What a training plan reads, step by step.
#[derive(Debug)]
pub(crate) struct Trainer {
    config: RefinerConfig,
    margin: f32,
    inputs: Inputs,
    teacher: Teacher,
}

impl Trainer {
    /// For a plan of `graph` with these inputs.
    pub(crate) fn new(
        engine: &Engine,
        config: &RefinerConfig,
        loss: &RefineLoss,
        graph: &Graph,
        net: &Refining,
        supervision: &Supervision,
        inputs: &[Tensor],
    ) -> Result<Self> {
        let teacher = Teacher::new(graph, supervision, inputs)?;
        Ok(Self { config: config.clone(), margin: loss.margin, inputs: Inputs::new(engine, graph, net, inputs)?, teacher })
    }

    /// Writes everything of a step but the vectors: what the network reads and what its loss compares with.
    pub(crate) fn write(&self, engine: &Engine, c: &Candidates<'_>, truth: &[Truth], turn: Turn) -> Result<()> {
        let room = self.teacher.labels.len();
        Batch::new(&self.config, c, turn, room)?.write(engine, &self.inputs)?;
        self.teach(engine, c, truth, turn)
    }

    fn teach(&self, engine: &Engine, c: &Candidates<'_>, truth: &[Truth], turn: Turn) -> Result<()> {
        let (config, teacher) = (&self.config, &self.teacher);
        let (nodes, room) = (config.nodes(), teacher.labels.len());
        let unit = unit(c.database);
        let mut labels = vec![IGNORE; room];
        let (mut target, mut counts) = (vec![0.0f32; room * nodes * 2], vec![0.0f32; room * nodes * 2]);
        let mut rivals = Vec::new();
        for (q, t) in truth.iter().enumerate() {
            let right = t.right.filter(|r| *r < config.top);
            let label = right.unwrap_or(config.top);
            labels[q] = label as u32;
            if let Some(i) = right {
                let (from, to) = (c.database.metres(c.hits[q][i].centre_px), c.database.metres(t.map_px));
                let [x, y] = turn.apply([to[0] - from[0], to[1] - from[1]]);
                let row = (q * nodes + i) * 2;
                (target[row], target[row + 1]) = ((x / unit) as f32, (y / unit) as f32);
                counts[row..row + 2].fill(1.0);
            }
            let there = c.hits[q].len().min(config.top);
            let row = |i: usize| (q * nodes + i) as u32;
            rivals.extend((0..there).chain([config.top]).filter(|i| *i != label).map(|i| [row(label), row(i)]));
        }
        let mut margins = vec![0.0f32; teacher.margin.len()];
        margins[..rivals.len()].fill(self.margin);
        engine.write(&teacher.labels, &labels)?;
        engine.write(&teacher.target, &target)?;
        engine.write(&teacher.counts, &counts)?;
        engine.write(&teacher.margin, &margins)?;
        Ok(teacher.rivals.write(engine, &Csr::new(room * nodes, room * nodes, &rivals)?)?)
    }
}
