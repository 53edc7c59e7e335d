//! The regions that a region proposal network's anchors propose.

use super::boxes::BBox;
use crate::Result;
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Tensor};
use crate::kernels::nms::{self, Nms};
use crate::nn::FasterRcnn;
use rayon::prelude::*;

/// Regions with a shorter side propose nothing, pixels: as torchvision has it.
const LEAST_SIDE: f64 = 1e-3;

/// Turns what anchors say into the regions of each image of a batch.
pub(crate) struct Proposer {
    input: usize,
    candidates: usize,
    proposals: usize,
    /// Of each map.
    anchors: Vec<Vec<[f32; 4]>>,
    boxes: Tensor,
    scores: Tensor,
    kept: Tensor,
    suppress: Plan,
}

impl Proposer {
    /// For maps of so many cells a side, the finest first, of inputs of side `input`.
    pub(crate) fn new(engine: &Engine, head: &FasterRcnn, input: usize, grids: &[usize], batch: usize) -> Result<Self> {
        let anchors = head.anchor_boxes(input, grids);
        let most: usize = anchors.iter().map(|a| a.len().min(head.candidates)).sum();
        let tensor = |name: &str, shape: &[usize], dtype| engine.tensor(name, shape, dtype);
        let boxes = tensor("proposed", &[batch, most, 4], DType::F32)?;
        let scores = tensor("how surely", &[batch, most], DType::F32)?;
        let kept = tensor("proposals", &[batch, head.proposals.min(most)], DType::U32)?;
        let count = tensor("number of proposals", &[batch], DType::U32)?;
        // A map's candidates suppress each other alone.
        let levels: Vec<u32> =
            anchors.iter().enumerate().flat_map(|(k, a)| std::iter::repeat_n(k as u32, a.len().min(head.candidates))).collect();
        let groups = tensor("levels", &[batch, most], DType::U32)?;
        engine.write(&groups, &levels.repeat(batch))?;
        let mut builder = PlanBuilder::new(engine);
        // A slot without a candidate has this score, and is not kept.
        let how = Nms { iou: head.proposal_iou, score: f32::NEG_INFINITY };
        nms::nms(&mut builder, how, &boxes, &scores, &groups, &kept, &count)?;
        let (candidates, proposals, suppress) = (head.candidates, head.proposals.min(most), builder.finish());
        Ok(Self { input, candidates, proposals, anchors, boxes, scores, kept, suppress })
    }

    /// The regions x0 y0 x1 y1 of each image, pixels of the input, the surest first. `logits` and `deltas` are the maps of [`crate::nn::Proposing`].
    pub(crate) fn propose(&self, engine: &Engine, logits: &[Tensor], deltas: &[Tensor]) -> Result<Vec<Vec<[f32; 4]>>> {
        let read = |all: &[Tensor]| all.iter().map(|t| Ok(engine.read::<f32>(t)?)).collect::<Result<Vec<_>>>();
        let (logits, deltas) = (read(logits)?, read(deltas)?);
        let [batch, most] = [self.scores.shape()[0], self.scores.shape()[1]];
        let (mut boxes, mut scores) = (vec![[0.0f32; 4]; batch * most], vec![f32::NEG_INFINITY; batch * most]);
        boxes.par_chunks_mut(most).zip(scores.par_chunks_mut(most)).enumerate().for_each(|(n, (boxes, scores))| {
            let mut first = 0;
            for ((anchors, logits), deltas) in self.anchors.iter().zip(&logits).zip(&deltas) {
                let each = anchors.len();
                let (logits, deltas) = (&logits[n * each..(n + 1) * each], &deltas.as_chunks::<4>().0[n * each..(n + 1) * each]);
                let surest = surest(logits, self.candidates);
                for (slot, i) in surest.iter().map(|i| *i as usize).enumerate() {
                    let bbox = BBox::from_corners(FasterRcnn::PROPOSAL.decode(anchors[i].map(f64::from), deltas[i].map(f64::from)));
                    // What lies outside, is no number, or is no wider than a hair proposes nothing.
                    if let Some(inside) = bbox.clip([self.input as f64; 2]).filter(|b| b.width().min(b.height()) >= LEAST_SIDE) {
                        (boxes[first + slot], scores[first + slot]) = (inside.corners().map(|v| v as f32), logits[i]);
                    }
                }
                first += each.min(self.candidates);
            }
        });
        engine.write(&self.boxes, boxes.as_flattened())?;
        engine.write(&self.scores, &scores)?;
        self.suppress.submit(engine)?;
        let kept: Vec<u32> = engine.read(&self.kept)?;
        let regions =
            |(n, kept): (usize, &[u32])| kept.iter().take_while(|i| **i != nms::EMPTY).map(|i| boxes[n * most + *i as usize]).collect();
        Ok(kept.chunks(self.proposals).enumerate().map(regions).collect())
    }
}

/// Indices of the greatest logits, falling; of equal ones the first goes first.
fn surest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut all: Vec<u32> = (0..logits.len() as u32).collect();
    let falling = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if count < all.len() {
        all.select_nth_unstable_by(count, falling);
        all.truncate(count);
    }
    all.sort_unstable_by(falling);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::AdapterChoice;

    fn head() -> FasterRcnn {
        FasterRcnn {
            maps: 2,
            pooled: false,
            width: 4,
            anchors: vec![[8.0, 8.0], [16.0, 16.0]],
            bins: 3,
            hidden: 4,
            candidates: 3,
            proposal_iou: 0.5,
            proposals: 4,
            box_weight: 1.0,
        }
    }

    #[test]
    fn the_surest_anchors_propose_and_suppress_their_like_in_their_map() {
        let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)");
        // 4 x 4 cells of 8 px and 2 x 2 of 16, an anchor each, of two images.
        let proposer = Proposer::new(&engine, &head(), 32, &[4, 2], 2).unwrap();
        let (mut fine, mut coarse) = (vec![-9.0f32; 32], vec![-9.0f32; 8]);
        let (mut fine_deltas, coarse_deltas) = (vec![0.0f32; 128], vec![0.0f32; 32]);
        // Image 0: a cell, its neighbour moved onto it and less sure, and one that leaves the input.
        (fine[5], fine[6], fine[15]) = (3.0, 2.0, 1.0);
        fine_deltas[4 * 6] = -1.0;
        fine_deltas[4 * 15] = 9.0;
        coarse[0] = 4.0;
        // Image 1: one that is no number, and two equally sure.
        fine[16] = 5.0;
        fine_deltas[4 * 16] = f32::NAN;
        (fine[16 + 2], fine[16 + 1]) = (1.0, 1.0);
        let up = |name: &str, shape: &[usize], v: &[f32]| engine.upload_f32(name, shape, v).unwrap();
        let logits = [up("l", &[2, 4, 4, 1], &fine), up("l", &[2, 2, 2, 1], &coarse)];
        let deltas = [up("d", &[2, 4, 4, 4], &fine_deltas), up("d", &[2, 2, 2, 4], &coarse_deltas)];
        let [a, b] = proposer.propose(&engine, &logits, &deltas).unwrap().try_into().unwrap();
        // The coarse map's first anchor covers nothing of the fine one's group; its others follow.
        assert_eq!(a[..2], [[0.0, 0.0, 16.0, 16.0], [8.0, 8.0, 16.0, 16.0]]);
        assert_eq!(a[2..], [[16.0, 0.0, 32.0, 16.0], [0.0, 16.0, 16.0, 32.0]], "what is moved onto another or out of the input is none");
        assert_eq!(b[..2], [[8.0, 0.0, 16.0, 8.0], [16.0, 0.0, 24.0, 8.0]]);
        assert_eq!(b.len(), 4);
    }

    #[test]
    fn equal_logits_go_in_order() {
        assert_eq!(surest(&[1.0, 3.0, 3.0, -1.0, 3.0], 2), [1, 2]);
        assert_eq!(surest(&[1.0, 2.0], 9), [1, 0]);
    }
}
