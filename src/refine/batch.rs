//! From candidates to what the graph network reads: features, edges to the nearest, relations in metres.

use super::Strip;
use super::network::{FEATURES, Inputs, PLACE, Position, RELATION, RefineLoss, RefinerConfig, Refining, Supervision, Teacher};
use super::slide::shift;
use crate::Result;
use crate::gpu::{Engine, Tensor};
use crate::index::{CellHit, Database};
use crate::kernels::edges::Csr;
use crate::kernels::slide::Slide;
use crate::kernels::softmax_xent::IGNORE;
use crate::nn::Graph;
use rayon::prelude::*;

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
    /// Among how many cells each query was looked for.
    pub(crate) cells: &'a [usize],
}

/// What the network reads of some queries, on the host.
#[derive(Debug)]
pub(super) struct Batch {
    features: Vec<f32>,
    base: Vec<f32>,
    places: Vec<f32>,
    shifts: Vec<u32>,
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

/// Where the strip of a query `along` its way begins, metres, if the query is where this candidate lies.
pub(super) fn start_m(database: &Database, hit: &CellHit, along: [f64; 2]) -> [f64; 2] {
    let [x, y] = database.metres(hit.centre_px);
    [x - along[0], y - along[1]]
}

/// A cell's side on the ground, metres: the unit of relations.
fn unit(database: &Database) -> f64 {
    let side = f64::from(database.manifest.grid.cell);
    let [x, y] = database.metres([side, side]);
    (x * y).sqrt()
}

impl Batch {
    /// For up to `room` queries; what is beyond them has no candidates.
    pub(super) fn new(config: &RefinerConfig, slide: Slide, c: &Candidates<'_>, turn: Turn, room: usize) -> Result<Self> {
        let nodes = config.nodes();
        let mut shifts = vec![0; room * config.top];
        for (hits, shifts) in c.hits.iter().zip(shifts.chunks_mut(config.top)) {
            hits.iter().zip(shifts).for_each(|(h, s)| *s = shift(slide, c.database, h));
        }
        let mut features = vec![0.0; room * nodes * FEATURES];
        let mut base = vec![ABSENT; room * nodes];
        // These two at a scale that the network learns from: a third of it, and 1 / views, it did not tell apart.
        let views = 2.0 * (c.database.manifest.grid.views.max(1) as f32).ln();
        for (q, hits) in c.hits.iter().enumerate() {
            let scores: Vec<f32> = hits.iter().take(config.top).map(|h| h.score).collect();
            // How sure one may be hangs on how many cells there are, and on how far apart their views.
            let cells = (c.cells[q].max(1) as f32).log10();
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
                let own: [f32; 10] = [
                    f32::from(u8::from(none)),
                    10.0 * (score - best),
                    if none { 0.0 } else { (score - mean) / spread },
                    if none { 0.0 } else { 1.0 / (1.0 + i as f32) },
                    10.0 * gap,
                    10.0 * spread,
                    4.0 * best,
                    if none { 0.0 } else { slide.share(shifts[q * config.top + i] as usize) as f32 },
                    cells,
                    views,
                ];
                features[row * FEATURES..][..own.len()].copy_from_slice(&own);
            }
        }
        let (list, relations) = edges(config, c, turn);
        let csr = Csr::new(room * nodes, room * nodes, &list)?;
        let mut relation = vec![0.0; config.slots(room) * RELATION];
        for (slot, from) in csr.order().iter().enumerate() {
            relation[slot * RELATION..][..RELATION].copy_from_slice(&relations[*from as usize]);
        }
        let places = if config.embedding { places(config, c, turn, room) } else { Vec::new() };
        Ok(Self { features, base, places, shifts, relation, edges: csr })
    }

    pub(super) fn write(&self, engine: &Engine, inputs: &Inputs) -> Result<()> {
        engine.write(&inputs.features, &self.features)?;
        engine.write(&inputs.base, &self.base)?;
        if let Some(places) = &inputs.places {
            engine.write(places, &self.places)?;
        }
        engine.write(&inputs.relation, &self.relation)?;
        engine.write(&inputs.shifts, &self.shifts)?;
        Ok(inputs.edges.write(engine, &self.edges)?)
    }
}

/// Where each candidate lies from the middle of its query's, in cells: by the logarithm, so that far ones stay apart and near ones too.
fn places(config: &RefinerConfig, c: &Candidates<'_>, turn: Turn, room: usize) -> Vec<f32> {
    let unit = unit(c.database);
    let mut told = vec![0.0; room * config.nodes() * PLACE];
    for (q, hits) in c.hits.iter().enumerate() {
        let at: Vec<[f64; 2]> = hits.iter().take(config.top).map(|h| turn.apply(start_m(c.database, h, [0.0; 2]))).collect();
        let middle = [0, 1].map(|d| at.iter().map(|p| p[d]).sum::<f64>() / at.len().max(1) as f64);
        for (i, p) in at.iter().enumerate() {
            for d in 0..2 {
                let v = (p[d] - middle[d]) / unit;
                told[(q * config.nodes() + i) * PLACE + d] = (v.signum() * v.abs().ln_1p()) as f32;
            }
        }
    }
    told
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
    let of_strip = |strip: &Strip| {
        let mut edges = Vec::new();
        let mut places = Vec::new();
        for (q, along) in strip.queries.clone().zip(&strip.offsets_m) {
            for (i, hit) in c.hits[q].iter().take(config.top).enumerate() {
                let at = turn.apply(start_m(c.database, hit, *along));
                places.push(Place { query: q, row: (q * nodes + i) as u32, at });
            }
        }
        for to in &places {
            let mut near: Vec<(f64, &Place)> = places.iter().filter(|p| p.row != to.row).map(|p| (square(delta(p, to)), p)).collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.row.cmp(&b.1.row)));
            let own = near.iter().filter(|(_, p)| p.query == to.query).take(config.near);
            let others = near.iter().filter(|(_, p)| p.query != to.query).take(config.near);
            for (_, from) in own.chain(others) {
                edges.push(([from.row, to.row], relation(config.position, delta(from, to), unit, from.query == to.query)));
            }
            edges.push(([to.row, (to.query * nodes + config.top) as u32], [0.0; RELATION]));
        }
        edges
    };
    // In the strips' order, whichever thread does which.
    c.strips.par_iter().map(of_strip).collect::<Vec<_>>().into_iter().flatten().unzip()
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
    let place = match position {
        // Far away only the direction matters: the first two stay within 1 cell's length of 0, the third falls off from 1.
        Position::Metric => {
            let short = 1.0 / unit.max(d);
            [x * short, y * short, 1.0 / (1.0 + (4.0 * d / unit).powi(2)), (d / unit).ln_1p()]
        }
        Position::Bearing if d > 0.0 => [x / d, y / d, 0.0, 0.0],
        Position::Bearing | Position::None => [0.0; 4],
    };
    let mut told = [0.0; RELATION];
    told.iter_mut().zip(place).for_each(|(t, p)| *t = p as f32);
    told[4] = f32::from(u8::from(same));
    told
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
        config: &RefinerConfig,
        loss: &RefineLoss,
        graph: &Graph,
        net: &Refining,
        supervision: &Supervision,
        inputs: &[Tensor],
    ) -> Result<Self> {
        let teacher = Teacher::new(graph, supervision, inputs)?;
        Ok(Self { config: config.clone(), margin: loss.margin, inputs: Inputs::new(graph, net, inputs)?, teacher })
    }

    /// Writes everything of a step but the vectors: what the network reads, and which candidate of each query is right, if one is.
    pub(crate) fn write(&self, engine: &Engine, c: &Candidates<'_>, truth: &[Option<usize>], turn: Turn) -> Result<()> {
        let room = self.teacher.labels.len();
        Batch::new(&self.config, self.inputs.slide, c, turn, room)?.write(engine, &self.inputs)?;
        self.teach(engine, c, truth)
    }

    fn teach(&self, engine: &Engine, c: &Candidates<'_>, truth: &[Option<usize>]) -> Result<()> {
        let (config, teacher) = (&self.config, &self.teacher);
        let (nodes, room) = (config.nodes(), teacher.labels.len());
        let mut labels = vec![IGNORE; room];
        let mut rivals = Vec::new();
        for (q, right) in truth.iter().enumerate() {
            let label = right.filter(|r| *r < config.top).unwrap_or(config.top);
            labels[q] = label as u32;
            let there = c.hits[q].len().min(config.top);
            let row = |i: usize| (q * nodes + i) as u32;
            rivals.extend((0..there).chain([config.top]).filter(|i| *i != label).map(|i| [row(label), row(i)]));
        }
        let mut margins = vec![0.0f32; teacher.margin.len()];
        margins[..rivals.len()].fill(self.margin);
        engine.write(&teacher.labels, &labels)?;
        engine.write(&teacher.margin, &margins)?;
        Ok(teacher.rivals.write(engine, &Csr::new(room * nodes, room * nodes, &rivals)?)?)
    }
}
