use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::nms::{self as kernel, EMPTY, Nms};
use echogrid::reference::{boxes::iou, nms as twin};

const HALF: Nms = Nms { iou: 0.5, score: f32::NEG_INFINITY };

/// Boxes of whole numbers: areas and what they have in common are exact, and half of them too.
fn whole(n: usize, seed: u64, field: f32, side: f32) -> Vec<f32> {
    let r = random(4 * n, seed);
    let one = |r: &[f32]| {
        let [x, y] = [r[0], r[1]].map(|v| (v * field).round());
        let [w, h] = [r[2], r[3]].map(|v| (v.abs() * side).round());
        [x, y, x + w, y + h]
    };
    r.chunks(4).flat_map(one).collect()
}

fn words(e: &Engine, shape: &[usize], v: &[u32]) -> Tensor {
    e.upload("words", shape, DType::U32, v).unwrap()
}

/// The lists and their lengths, the same of two runs; what is left of a list is empty.
fn run(e: &Engine, nms: Nms, batch: usize, k: usize, boxes: &[f32], scores: &[f32], groups: &[u32]) -> Vec<Vec<u32>> {
    let n = scores.len() / batch;
    let (tb, ts, tg) = (up(e, &[batch, n, 4], boxes), up(e, &[batch, n], scores), words(e, &[batch, n], groups));
    let (kept, count) = (words(e, &[batch, k], &vec![77; batch * k]), words(e, &[batch], &vec![77; batch]));
    let plan = plan(e, |p| kernel::nms(p, nms, &tb, &ts, &tg, &kept, &count));
    let all = [0; 2].map(|_| {
        plan.submit(e).unwrap();
        (e.read::<u32>(&kept).unwrap(), e.read::<u32>(&count).unwrap())
    });
    assert!(all[0] == all[1], "two runs differ");
    let (kept, count) = &all[0];
    let row = |(list, count): (&[u32], &u32)| {
        assert!(list[*count as usize..].iter().all(|v| *v == EMPTY), "behind the last");
        list[..*count as usize].to_vec()
    };
    kept.chunks(k).zip(count).map(row).collect()
}

#[track_caller]
fn check(e: &Engine, nms: Nms, batch: usize, k: usize, boxes: &[f32], scores: &[f32], groups: &[u32]) -> usize {
    let (n, got) = (scores.len() / batch, run(e, nms, batch, k, boxes, scores, groups));
    for (b, got) in got.iter().enumerate() {
        let of = b * n..(b + 1) * n;
        let want = twin::nms(nms, &f64s(&boxes[4 * of.start..4 * of.end]), &scores[of.clone()], &groups[of], k);
        assert!(*got == want, "row {b} of {batch} x {n}, k = {k}: {} kept, {} by the twin", got.len(), want.len());
    }
    got.iter().map(Vec::len).sum()
}

/// One box, whole words and blocks and not, many ties of score, several rows and groups, lists too short and too long.
#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (batch, n, k, kinds) in [(1, 1, 1, 1), (3, 31, 40, 2), (2, 33, 5, 1), (1, 128, 128, 3), (1, 129, 200, 1), (2, 1024, 700, 2)] {
            let boxes = whole(batch * n, 1, 40.0, 30.0);
            let scores: Vec<f32> = random(batch * n, 2).iter().map(|v| (v * 16.0).round() / 16.0).collect();
            let groups: Vec<u32> = (0..batch * n).map(|i| (i * 7 % kinds) as u32).collect();
            check(e, HALF, batch, k, &boxes, &scores, &groups);
            check(e, Nms { iou: 0.25, score: 0.25 }, batch, k, &boxes, &scores, &groups);
        }
        // Nothing overlaps, and everything.
        for (n, field, kept) in [(3001, 1e6, 3001), (1500, 0.0, 1)] {
            let boxes: Vec<f32> = whole(n, 3, field, 0.0).chunks(4).flat_map(|b| [b[0], b[1], b[0] + 8.0, b[1] + 8.0]).collect();
            assert_eq!(check(e, HALF, 1, n, &boxes, &random(n, 4), &vec![9; n]), kept);
        }
    }
}

/// Ten thousand boxes, of two images or of one with many classes.
#[test]
fn many_boxes() {
    let (engines, _lock) = engines();
    for e in engines {
        for (batch, n, kinds) in [(1, 10_000, 1), (2, 5000, 20)] {
            let groups: Vec<u32> = (0..batch * n).map(|i| (i % kinds) as u32).collect();
            let kept = check(e, HALF, batch, n, &whole(batch * n, 5, 500.0, 120.0), &random(batch * n, 6), &groups);
            assert!(kept > 500 && kept < 9990, "{kept} kept");
        }
    }
}

/// Any coordinates: of boxes that stay no two overlap, and what went has a reason, but for rounding.
#[test]
fn any_boxes() {
    let (e, _lock) = engine();
    let n = 2500;
    let boxes: Vec<f32> = random(4 * n, 7)
        .chunks(4)
        .flat_map(|r| [200.0 * r[0], 200.0 * r[1], 200.0 * r[0] + 40.0 * r[2].abs(), 200.0 * r[1] + 40.0 * r[3].abs()])
        .collect();
    let (scores, wide) = (random(n, 8), f64s(&boxes));
    let kept = run(e, Nms { iou: 0.7, ..HALF }, 1, n, &boxes, &scores, &vec![0; n]).remove(0);
    let overlap = |a: u32, b: u32| iou(&wide[4 * a as usize..][..4], &wide[4 * b as usize..][..4]);
    // Differences, products and sums are rounded once each: a share is off by less than 16 eps.
    let off = 16.0 * EPS;
    for (i, a) in kept.iter().enumerate() {
        assert!(kept[..i].iter().all(|b| overlap(*a, *b) < 0.7 + off && scores[*b as usize] >= scores[*a as usize]));
    }
    for a in (0..n as u32).filter(|a| !kept.contains(a)) {
        assert!(kept.iter().any(|b| overlap(a, *b) > 0.7 - off && scores[*b as usize] >= scores[a as usize]), "box {a} is gone");
    }
}

/// What is never kept, and boxes without area, which nothing suppresses and which suppress nothing.
#[test]
fn odd_floats() {
    let (engines, _lock) = engines();
    for e in engines {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let square = [0.0, 0.0, 4.0, 4.0];
        let boxes = [
            square,
            square,
            square,
            [1.0, 1.0, 1.0, 3.0],
            [1.0, 1.0, 1.0, 3.0],
            [3.0, 3.0, 1.0, 1.0],
            [nan, 0.0, 4.0, 4.0],
            [0.0, 0.0, inf, 4.0],
            square,
            square,
        ]
        .concat();
        let scores = [nan, 0.5, 0.5, 0.9, 0.4, 0.3, 0.8, 0.8, inf, -inf];
        let groups = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
        let got = run(e, HALF, 1, 10, &boxes, &scores, &groups);
        assert_eq!(got, [[8, 3, 1, 4, 5]]);
        // A threshold of 0: whatever is touched goes; of 1: nothing does.
        let row = |x: f32| [x, 0.0, x + 2.0, 2.0];
        let boxes = [row(0.0), row(1.0), row(2.0), row(0.0)].concat();
        assert_eq!(run(e, Nms { iou: 0.0, ..HALF }, 1, 4, &boxes, &[0.4, 0.3, 0.2, 0.1], &[0; 4]), [[0, 2]]);
        assert_eq!(run(e, Nms { iou: 1.0, ..HALF }, 1, 4, &boxes, &[0.4, 0.3, 0.2, 0.1], &[0; 4]), [[0, 1, 2, 3]]);
        // Of equal scores the first; a score that is not above the least one goes.
        assert_eq!(run(e, Nms { score: 0.1, ..HALF }, 1, 4, &boxes, &[0.4, 0.4, 0.1, 0.4], &[0; 4]), [[0, 1]]);
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (boxes, scores, groups) = (out(e, &[2, 3, 4]), out(e, &[2, 3]), words(e, &[2, 3], &[0; 6]));
    let (kept, count) = (words(e, &[2, 5], &[0; 10]), words(e, &[2], &[0; 2]));
    says(kernel::nms(&mut p, HALF, &out(e, &[2, 4, 4]), &scores, &groups, &kept, &count), "`boxes` must be F32 [2, 3, 4]");
    says(kernel::nms(&mut p, HALF, &boxes, &out(e, &[6]), &groups, &kept, &count), "`scores` must be [B, N]");
    says(kernel::nms(&mut p, HALF, &boxes, &scores, &out(e, &[2, 3]), &kept, &count), "`groups` must be U32 [2, 3]");
    says(kernel::nms(&mut p, HALF, &boxes, &scores, &groups, &words(e, &[1, 5], &[0; 5]), &count), "2 rows of 3 boxes, 1 lists of 5");
    says(kernel::nms(&mut p, HALF, &boxes, &scores, &groups, &kept, &kept), "`count` must be U32 [2]");
    says(kernel::nms(&mut p, Nms { iou: 1.5, ..HALF }, &boxes, &scores, &groups, &kept, &count), "from 0 to 1");
    says(kernel::nms(&mut p, Nms { score: f32::NAN, ..HALF }, &boxes, &scores, &groups, &kept, &count), "a number");
}
