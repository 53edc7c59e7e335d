//! Faster R-CNN in training: anchors and regions are drawn anew in each step.

use super::batch::Shown;
use super::config::{DetectTrainConfig, RegionSampling};
use super::{PARTS, Teacher, input};
use crate::Result;
use crate::detect::{BBox, Dataset, Proposer};
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Tensor};
use crate::kernels::box_match::{self, Match, Matched, Truth};
use crate::kernels::roi_align::NOWHERE;
use crate::kernels::row_list::RowList;
use crate::kernels::softmax_xent::IGNORE;
use crate::nn::{BoxTargets, FasterRcnn, FasterRcnnLoss, FasterRcnnSlots, Graph, Init, NodeId};
use crate::random::Random;
use crate::train::learner::Learner;

/// Streams of random numbers.
const ANCHORS: u64 = 32;
const REGIONS: u64 = 33;

/// No anchor or region is to deny an object of which a box to be ignored covers more than this share.
const COVER: f32 = 0.5;

/// Layers that start from small values, and their standard deviation, as published for those that propose. From values that keep the variance, what the rectifiers of `proposals.conv`
/// get at objects fell below 0 within the first pass and stayed there: no region moved, and AP50 ended at 36 to 56 %.
const SMALL: [&str; 5] = ["proposals.conv", "proposals.there", "proposals.boxes", "regions.classes", "regions.boxes"];
const DEVIATION: f32 = 0.01;

/// The network with its loss.
pub(super) struct Network<'c> {
    pub(super) config: &'c DetectTrainConfig,
    faster: &'c FasterRcnn,
    pub(super) graph: Graph,
    pub(super) loss: FasterRcnnLoss,
    /// Boxes that the inputs of a step may show.
    most: usize,
}

impl<'c> Network<'c> {
    /// For images of a data set.
    pub(super) fn new(config: &'c DetectTrainConfig, faster: &'c FasterRcnn, dataset: &Dataset) -> Result<Self> {
        let (d, sampling) = (&config.detector, &config.sampling);
        let mut graph = Graph::new();
        let x = graph.input("image", &[config.batch, d.input, d.input, 4]);
        let slots = FasterRcnnSlots {
            anchors: config.batch * sampling.anchors_there(),
            regions: config.batch * sampling.regions,
            objects: config.batch * sampling.regions_there(),
        };
        let loss = faster.loss(d, &mut graph, x, slots)?;
        SMALL.iter().try_for_each(|layer| graph.start(&format!("{layer}.weight"), Init::Normal { deviation: DEVIATION }))?;
        Ok(Self { config, faster, graph, loss, most: super::most_boxes(dataset) * PARTS * config.batch })
    }

    /// What writes the inputs of a plan of the network.
    pub(super) fn teacher(&self, engine: &Engine, learner: &Learner) -> Result<FasterRcnnTeacher<'c>> {
        let (c, graph, given) = (self.config, &self.graph, &learner.plan.inputs);
        let input = |node: NodeId| input(graph, given, node);
        let boxes = |of: &BoxTargets| -> Result<BoxInputs> {
            Ok(BoxInputs { rows: of.rows.list(graph, given)?, targets: input(of.targets), weights: input(of.weights) })
        };
        let grids: Vec<usize> = self.loss.said.logits.iter().map(|m| graph.shape(*m)[1]).collect();
        let anchors = self.faster.anchor_boxes(c.detector.input, &grids);
        Ok(FasterRcnnTeacher {
            config: c,
            faster: self.faster,
            proposer: Proposer::new(engine, self.faster, c.detector.input, &grids, c.batch)?,
            matching: Matching::new(engine, &anchors.concat(), c.batch, self.most, &c.sampling)?,
            anchors,
            finest: c.detector.input / grids[0],
            there: self.loss.there.iter().map(|t| t.map(input)).collect(),
            proposed: self.loss.proposed.iter().map(boxes).collect::<Result<_>>()?,
            asked: input(self.loss.asked),
            regions: input(self.loss.regions.boxes),
            places: input(self.loss.regions.places),
            labels: input(self.loss.labels),
            located: boxes(&self.loss.located)?,
            looked_at: input(self.loss.looked_at),
        })
    }
}

/// Tensors of a plan: rows that are to say a box, and what they should say.
struct BoxInputs {
    rows: RowList,
    targets: Tensor,
    weights: Tensor,
}

impl BoxInputs {
    fn write(&self, engine: &Engine, said: &[(u32, [f64; 4])]) -> Result<()> {
        let slots = self.weights.len();
        let (mut targets, mut weights) = (vec![[0.0f32; 4]; slots], vec![0.0f32; slots]);
        for (slot, (_, deltas)) in said.iter().enumerate() {
            targets[slot] = deltas.map(|v| v as f32);
            weights[slot] = 1.0;
        }
        self.rows.write(engine, &said.iter().map(|(row, _)| *row).collect::<Vec<_>>())?;
        engine.write(&self.targets, targets.as_flattened())?;
        Ok(engine.write(&self.weights, &weights)?)
    }
}

/// Anchors assigned to the boxes that a step's inputs show.
struct Matching {
    plan: Plan,
    boxes: Tensor,
    starts: Tensor,
    ignored: Tensor,
    rows: Tensor,
    labels: Tensor,
}

impl Matching {
    fn new(engine: &Engine, anchors: &[[f32; 4]], batch: usize, most: usize, sampling: &RegionSampling) -> Result<Self> {
        let tensor = |name: &str, shape: &[usize], dtype| engine.tensor(name, shape, dtype);
        let (boxes, ignored) = (tensor("shown", &[most, 4], DType::F32)?, tensor("ignored", &[most], DType::U32)?);
        let starts = tensor("shown by", &[batch + 1], DType::U32)?;
        let all = [batch, anchors.len()];
        let (rows, labels) = (tensor("boxes of anchors", &all, DType::U32)?, tensor("labels of anchors", &all, DType::U32)?);
        let overlaps = tensor("overlaps of anchors", &all, DType::F32)?;
        let anchors = engine.upload_f32("anchors", &[anchors.len(), 4], anchors.as_flattened())?;
        let [low, high] = sampling.anchor_iou.map(|v| v as f32);
        let mut builder = PlanBuilder::new(engine);
        let by = Match { high, low, low_quality: Some(0.0), cover: COVER };
        let truth = Truth { boxes: &boxes, starts: &starts, ignored: &ignored };
        box_match::assign(&mut builder, by, &anchors, &truth, &Matched { rows: &rows, overlaps: &overlaps, labels: &labels })?;
        Ok(Self { plan: builder.finish(), boxes, starts, ignored, rows, labels })
    }

    fn write(&self, engine: &Engine, shown: &[Vec<Shown>]) -> Result<()> {
        let most = self.ignored.len();
        let all = || shown.iter().flatten();
        let mut boxes: Vec<[f32; 4]> = all().map(|s| s.bbox.corners().map(|v| v as f32)).collect();
        let mut ignored: Vec<u32> = all().map(|s| u32::from(s.class.is_none())).collect();
        boxes.resize(most, [0.0; 4]);
        ignored.resize(most, 0);
        let ends = shown.iter().scan(0, |end, s| {
            *end += s.len() as u32;
            Some(*end)
        });
        let starts: Vec<u32> = [0].into_iter().chain(ends).collect();
        engine.write(&self.boxes, boxes.as_flattened())?;
        engine.write(&self.ignored, &ignored)?;
        Ok(engine.write(&self.starts, &starts)?)
    }
}

/// Draws anchors and regions, and says what they should say.
pub(super) struct FasterRcnnTeacher<'c> {
    config: &'c DetectTrainConfig,
    faster: &'c FasterRcnn,
    proposer: Proposer,
    matching: Matching,
    /// Of each map.
    anchors: Vec<Vec<[f32; 4]>>,
    finest: usize,
    there: Vec<[Tensor; 2]>,
    proposed: Vec<BoxInputs>,
    asked: Tensor,
    regions: Tensor,
    places: Tensor,
    labels: Tensor,
    located: BoxInputs,
    looked_at: Tensor,
}

impl Teacher for FasterRcnnTeacher<'_> {
    fn plan(&self) -> Option<&Plan> {
        Some(&self.matching.plan)
    }

    fn start(&self, engine: &Engine, shown: &[Vec<Shown>]) -> Result<()> {
        self.matching.write(engine, shown)
    }

    fn pause(&self, engine: &Engine, step: usize, shown: &[Vec<Shown>], said: &[Tensor]) -> Result<()> {
        self.ask_anchors(engine, step, shown)?;
        let (logits, deltas) = said.split_at(self.anchors.len());
        let proposals = self.proposer.propose(engine, logits, deltas)?;
        self.look_at_regions(engine, step, shown, &proposals)
    }
}

impl FasterRcnnTeacher<'_> {
    /// The random numbers of an image of a step.
    fn random(&self, stream: u64, step: usize, n: usize) -> Random {
        Random::new(self.config.seed, stream << 40 | (step * self.config.batch + n) as u64)
    }

    /// Draws the anchors that are asked whether something is there, and where.
    fn ask_anchors(&self, engine: &Engine, step: usize, shown: &[Vec<Shown>]) -> Result<()> {
        let sampling = &self.config.sampling;
        let (rows, labels) = (engine.read::<u32>(&self.matching.rows)?, engine.read::<u32>(&self.matching.labels)?);
        let total: usize = self.anchors.iter().map(Vec::len).sum();
        let shown: Vec<&Shown> = shown.iter().flatten().collect();
        let mut taught: Vec<[Vec<f32>; 2]> = self.anchors.iter().map(|a| [0; 2].map(|_| vec![0.0; a.len() * self.config.batch])).collect();
        let mut said: Vec<Vec<(u32, [f64; 4])>> = vec![Vec::new(); self.anchors.len()];
        let mut asked = 0;
        for n in 0..self.config.batch {
            let labels = &labels[n * total..(n + 1) * total];
            let of = |label: u32| (0..total).filter(move |i| labels[*i] == label).collect::<Vec<_>>();
            let mut random = self.random(ANCHORS, step, n);
            let [there, not] = [box_match::POSITIVE, box_match::NEGATIVE].map(of);
            let drawn = draw(there, not, sampling.anchors, sampling.anchors_there(), &mut random);
            asked += drawn.iter().map(Vec::len).sum::<usize>();
            for (there, i) in [true, false].into_iter().zip(&drawn).flat_map(|(there, all)| all.iter().map(move |i| (there, *i))) {
                let (k, own) = self.map_and_own(i);
                let at = n * self.anchors[k].len() + own;
                taught[k][0][at] = f32::from(u8::from(there));
                taught[k][1][at] = 1.0;
                if there {
                    let target = shown[rows[n * total + i] as usize].bbox.corners();
                    said[k].push((at as u32, FasterRcnn::PROPOSAL.encode(self.anchors[k][own].map(f64::from), target)?));
                }
            }
        }
        engine.write(&self.asked, &[asked.max(1) as f32])?;
        for ((taught, to), (said, proposed)) in taught.iter().zip(&self.there).zip(said.iter().zip(&self.proposed)) {
            taught.iter().zip(to).try_for_each(|(values, t)| engine.write(t, values))?;
            proposed.write(engine, said)?;
        }
        Ok(())
    }

    /// The map of an anchor, and its number there.
    fn map_and_own(&self, mut anchor: usize) -> (usize, usize) {
        for (k, anchors) in self.anchors.iter().enumerate() {
            match anchor.checked_sub(anchors.len()) {
                Some(rest) => anchor = rest,
                None => return (k, anchor),
            }
        }
        unreachable!("an anchor of one of the maps")
    }

    /// Draws the regions that are looked at, out of what was proposed and the boxes themselves.
    fn look_at_regions(&self, engine: &Engine, step: usize, shown: &[Vec<Shown>], proposals: &[Vec<[f32; 4]>]) -> Result<()> {
        let (sampling, classes) = (&self.config.sampling, self.config.detector.classes.len());
        let slots = self.labels.len();
        let (mut boxes, mut places, mut labels) = (vec![[0.0f32; 4]; slots], vec![[NOWHERE; 2]; slots], vec![IGNORE; slots]);
        let mut said = Vec::new();
        let mut slot = 0;
        for (n, (proposals, shown)) in proposals.iter().zip(shown).enumerate() {
            let [there, not] = regions(proposals, shown, sampling.region_iou);
            let drawn = draw(there, not, sampling.regions, sampling.regions_there(), &mut self.random(REGIONS, step, n));
            for region in drawn.concat() {
                boxes[slot] = region.corners;
                places[slot] = [n as u32, self.faster.map_of(region.corners, self.finest) as u32];
                labels[slot] = region.of.map_or(0, |(class, _)| 1 + class as u32);
                if let Some((class, target)) = region.of {
                    let deltas = FasterRcnn::REGION.encode(region.corners.map(f64::from), target.corners())?;
                    said.push(((slot * classes + class) as u32, deltas));
                }
                slot += 1;
            }
        }
        engine.write(&self.regions, boxes.as_flattened())?;
        engine.write(&self.places, places.as_flattened())?;
        engine.write(&self.labels, &labels)?;
        engine.write(&self.looked_at, &[slot.max(1) as f32])?;
        self.located.write(engine, &said)
    }
}

/// A region of an image, and the class and box of the object that it shows, if it does.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Region {
    corners: [f32; 4],
    of: Option<(usize, BBox)>,
}

/// The regions of an image that show an object, and those that show none; what lies in a box to be ignored is neither. The boxes themselves are regions too.
fn regions(proposals: &[[f32; 4]], shown: &[Shown], least: f64) -> [Vec<Region>; 2] {
    let own = shown.iter().filter(|s| s.class.is_some()).map(|s| s.bbox.corners().map(|v| v as f32));
    let (mut there, mut not) = (Vec::new(), Vec::new());
    for corners in proposals.iter().copied().chain(own) {
        let bbox = BBox::from_corners(corners.map(f64::from));
        let objects = shown.iter().filter_map(|s| Some((s.bbox.iou(&bbox), s.class?, s.bbox)));
        // The first of equals.
        let best = objects.reduce(|a, b| if b.0 > a.0 { b } else { a });
        match best {
            Some((iou, class, target)) if iou >= least => there.push(Region { corners, of: Some((class, target)) }),
            _ if shown.iter().any(|s| s.class.is_none() && bbox.share_in(&s.bbox) > f64::from(COVER)) => (),
            _ => not.push(Region { corners, of: None }),
        }
    }
    [there, not]
}

/// `count` of both lists, up to `most` of the first, drawn at random.
fn draw<T>(mut first: Vec<T>, mut second: Vec<T>, count: usize, most: usize, random: &mut Random) -> [Vec<T>; 2] {
    let mut some = |of: &mut Vec<T>, count: usize| {
        for i in 0..count.min(of.len()) {
            let j = i + random.below(of.len() - i);
            of.swap(i, j);
        }
        of.truncate(count);
    };
    some(&mut first, most.min(count));
    some(&mut second, count - first.len());
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(corners: [f64; 4], class: Option<usize>) -> Shown {
        Shown { bbox: BBox::from_corners(corners), class }
    }

    #[test]
    fn regions_show_the_object_that_they_overlap_most() {
        let objects =
            [shown([0.0, 0.0, 10.0, 10.0], Some(1)), shown([4.0, 0.0, 14.0, 10.0], Some(0)), shown([30.0, 30.0, 60.0, 60.0], None)];
        let proposals = [[4.0f32, 0.0, 13.0, 10.0], [0.0, 0.0, 4.0, 4.0], [35.0, 35.0, 45.0, 45.0]];
        let [there, not] = regions(&proposals, &objects, 0.5);
        // The second box by 0.9; then the boxes themselves.
        assert_eq!(there.iter().map(|r| r.of.unwrap().0).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(there[0].of.unwrap().1, objects[1].bbox);
        assert_eq!(not, [Region { corners: proposals[1], of: None }], "what lies in a crowd denies nothing");
    }

    #[test]
    fn draws_fill_up_with_what_is_nothing() {
        let mut random = Random::new(3, 4);
        let [first, second] = draw((0..10).collect(), (100..200).collect(), 8, 2, &mut random);
        assert_eq!((first.len(), second.len()), (2, 6));
        assert!(first.iter().all(|v| *v < 10) && second.iter().all(|v| *v >= 100));
        let mut once = second.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 6);
        let [none, few] = draw(Vec::new(), vec![1, 2], 8, 2, &mut random);
        assert!(none.is_empty() && few.len() == 2);
        // Each of ten is drawn as often: a fifth of 2,000 times, within four deviations.
        let mut counts = [0; 10];
        (0..2000).for_each(|_| draw((0..10).collect(), Vec::<usize>::new(), 8, 2, &mut random)[0].iter().for_each(|i| counts[*i] += 1));
        assert!(counts.iter().all(|c| (f64::from(*c) - 400.0).abs() < 4.0 * (2000.0 * 0.2 * 0.8f64).sqrt()), "{counts:?}");
    }
}
