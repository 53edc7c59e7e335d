use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::box_match::{self as kernel, IGNORE, MOST, Match, Matched, NEGATIVE, POSITIVE, Truth};
use echogrid::reference::{box_match as twin, boxes as geometry};

/// Quarters: shares of whole pixels are on a threshold or not, and f32 tells.
const RPN: Match = Match { high: 0.75, low: 0.25, low_quality: Some(0.0), cover: 0.5 };

/// Boxes of whole pixels, small ones, so that f32 tells any two overlaps apart: their areas are below 2^9.
fn whole(n: usize, seed: u64, field: f32) -> Vec<f32> {
    let one = |r: &[f32]| {
        let [x, y] = [r[0], r[1]].map(|v| (v * field).round());
        let [w, h] = [r[2], r[3]].map(|v| (v.abs() * 15.0).round());
        [x, y, x + w, y + h]
    };
    random(4 * n, seed).chunks(4).flat_map(one).collect()
}

fn words(e: &Engine, shape: &[usize], v: &[u32]) -> Tensor {
    e.upload("words", shape, DType::U32, v).unwrap()
}

struct Case {
    anchors: Vec<f32>,
    shared: bool,
    boxes: Vec<f32>,
    starts: Vec<u32>,
    ignored: Vec<u32>,
}

/// Rows, overlaps and labels.
type Got = (Vec<u32>, Vec<f32>, Vec<u32>);

fn run(e: &Engine, by: Match, case: &Case) -> Got {
    let (images, slots) = (case.starts.len() - 1, case.ignored.len());
    let count = case.anchors.len() / 4 / if case.shared { 1 } else { images };
    let shape = [images, count, 4];
    let anchors = up(e, &shape[usize::from(case.shared)..], &case.anchors);
    let (boxes, starts) = (up(e, &[slots, 4], &case.boxes), words(e, &[images + 1], &case.starts));
    let ignored = words(e, &[slots], &case.ignored);
    let stale = vec![77; images * count];
    let (rows, labels) = (words(e, &[images, count], &stale), words(e, &[images, count], &stale));
    let overlaps = out(e, &[images, count]);
    let truth = Truth { boxes: &boxes, starts: &starts, ignored: &ignored };
    let to = Matched { rows: &rows, overlaps: &overlaps, labels: &labels };
    let overlaps = run_twice(e, &overlaps, |p| kernel::assign(p, by, &anchors, &truth, &to));
    (e.read(&rows).unwrap(), overlaps, e.read(&labels).unwrap())
}

fn want(by: Match, case: &Case) -> Vec<(u32, f64, u32)> {
    let images = case.starts.len() - 1;
    let all = f64s(&case.anchors);
    let of = |image: usize| if case.shared { &all[..] } else { &all[image * all.len() / images..(image + 1) * all.len() / images] };
    let range = |image: usize| case.starts[image] as usize..case.starts[image + 1] as usize;
    (0..images).flat_map(|i| twin::assign(by, of(i), &f64s(&case.boxes), range(i), &case.ignored)).collect()
}

/// How many anchors got each label: negative, positive, neither.
#[track_caller]
fn check(e: &Engine, by: Match, case: &Case) -> [usize; 3] {
    let ((rows, overlaps, labels), want) = (run(e, by, case), want(by, case));
    close(&overlaps, &want.iter().map(|w| w.1).collect::<Vec<_>>(), 0.0, 4.0 * EPS);
    for (i, w) in want.iter().enumerate() {
        assert!((rows[i], labels[i]) == (w.0, w.2), "anchor {i} of {:?}: {:?}, not {w:?}", case.starts, (rows[i], labels[i]));
    }
    [NEGATIVE, POSITIVE, IGNORE].map(|l| labels.iter().filter(|v| **v == l).count())
}

/// Images without boxes, with one, and with more than a group of lanes; some of them to be ignored, some places not used; anchors shared or an
/// image's own, fewer and more than a chunk.
#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (counts, anchors, field) in
            [(vec![1], 1, 0.0), (vec![0, 3, 9, 0, 1], 77, 12.0), (vec![70], 2500, 60.0), (vec![5; 40], 130, 20.0)]
        {
            let (images, used) = (counts.len(), counts.iter().sum::<usize>());
            let starts: Vec<u32> = (0..=images).map(|i| counts[..i].iter().sum::<usize>() as u32).collect();
            let slots = used + 5;
            let boxes = whole(slots, 1, field);
            let ignored: Vec<u32> = (0..slots).map(|g| u32::from(g % 5 == 4)).collect();
            for shared in [true, false] {
                let anchors = whole(if shared { anchors } else { anchors * images }, 2, field);
                let case = Case { anchors, shared, boxes: boxes.clone(), starts: starts.clone(), ignored: ignored.clone() };
                for low_quality in [None, Some(0.0), Some(0.5)] {
                    let labels = check(e, Match { low_quality, ..RPN }, &case);
                    let some = labels[0] > 0 && labels[2] > 0 && (labels[1] > 0 || low_quality != Some(0.0));
                    assert!(used < 9 || some, "{labels:?}");
                }
            }
        }
    }
}

/// Eight boxes side by side that are of the first image and of the last of many, each with anchors of its own: all between would have to be gone over.
#[test]
fn boxes_of_images_far_apart_are_all_seen() {
    let (engines, _lock) = engines();
    let (images, anchors) = (5000, 100);
    let starts: Vec<u32> = [0].into_iter().chain(vec![4; images - 1]).chain([8]).collect();
    let case = Case { anchors: whole(anchors * images, 2, 12.0), shared: false, boxes: whole(8, 1, 12.0), starts, ignored: vec![0; 8] };
    for e in engines {
        let labels = check(e, Match { low_quality: Some(0.0), high: 1.0, low: 1.0, ..RPN }, &case);
        assert!(labels[1] >= 4, "{labels:?}");
    }
}

/// What the labels say, by hand.
#[test]
fn labels_are_as_said() {
    let (engines, _lock) = engines();
    for e in engines {
        let row = |x: f32, w: f32| [x, 0.0, x + w, 4.0];
        let boxes = [row(0.0, 4.0), row(20.0, 8.0), row(40.0, 8.0), row(100.0, 4.0), row(60.0, 0.0)].concat();
        let anchors = [
            row(0.0, 4.0),  // the first box
            row(0.0, 8.0),  // half of it
            row(22.0, 2.0), // a quarter of the second, whose best anchors are this and the next
            row(24.0, 2.0),
            row(40.0, 4.0),  // within what is to be ignored
            row(44.0, 8.0),  // half within: not more than half
            row(200.0, 4.0), // nowhere near
            row(60.0, 0.0),  // no area
        ]
        .concat();
        let case = Case { anchors, shared: true, boxes, starts: vec![0, 5], ignored: vec![0, 0, 1, 0, 0] };
        let (rows, overlaps, labels) = run(e, RPN, &case);
        assert_eq!(overlaps, [1.0, 0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(rows, [0, 0, 1, 1, 0, 0, 0, 0]);
        assert_eq!(labels, [POSITIVE, IGNORE, POSITIVE, POSITIVE, IGNORE, NEGATIVE, NEGATIVE, NEGATIVE]);
        // The box that nothing touches, and the one without area, make no anchor positive; nor does one below the least overlap.
        let (_, _, labels) = run(e, Match { low_quality: Some(0.25), ..RPN }, &case);
        assert_eq!(labels[2..4], [IGNORE; 2]);
    }
}

/// The size that detectors have.
#[test]
fn many_anchors() {
    let (engines, _lock) = engines();
    for e in engines {
        let (boxes, ignored) = (whole(100, 3, 120.0), (0..100).map(|g| u32::from(g % 10 == 0)).collect());
        let case = Case { anchors: whole(100_000, 4, 120.0), shared: true, boxes, starts: vec![0, 60, 100], ignored };
        let labels = check(e, RPN, &case);
        assert!(labels.iter().all(|n| *n > 50), "{labels:?}");
    }
}

#[test]
fn overlaps_equal_the_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, m) in [(1, 1), (17, 3), (100, 129), (3, 1000)] {
            let (a, b) = (random(4 * n, 5), random(4 * m, 6));
            let (ta, tb, to) = (up(e, &[n, 4], &a), up(e, &[m, 4], &b), out(e, &[n, m]));
            let (a, b) = (f64s(&a), f64s(&b));
            let want: Vec<f64> = a.chunks(4).flat_map(|a| b.chunks(4).map(|b| geometry::iou(a, b))).collect();
            // Differences, products and sums are rounded once each, and the quotient by 2.5 units.
            close(&run_twice(e, &to, |p| kernel::overlaps(p, &ta, &tb, &to)), &want, 0.0, 20.0 * EPS);
        }
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (boxes, starts, ignored) = (out(e, &[3, 4]), words(e, &[3], &[0; 3]), words(e, &[3], &[0; 3]));
    let (rows, overlaps) = (words(e, &[2, 5], &[0; 10]), out(e, &[2, 5]));
    let truth = Truth { boxes: &boxes, starts: &starts, ignored: &ignored };
    let to = Matched { rows: &rows, overlaps: &overlaps, labels: &rows };
    let anchors = out(e, &[5, 4]);
    says(kernel::assign(&mut p, RPN, &out(e, &[4, 4]), &truth, &to), "`anchors` must be F32 [5, 4]");
    says(kernel::assign(&mut p, RPN, &out(e, &[1, 5, 4]), &truth, &to), "`anchors` must be F32 [2, 5, 4]");
    says(kernel::assign(&mut p, RPN, &anchors, &Truth { starts: &rows, ..truth }, &to), "`starts` must be U32 [3]");
    says(kernel::assign(&mut p, RPN, &anchors, &truth, &Matched { labels: &overlaps, ..to }), "`labels` must be U32 [2, 5]");
    says(kernel::assign(&mut p, Match { low: 0.8, ..RPN }, &anchors, &truth, &to), "`low` not above `high`");
    says(kernel::assign(&mut p, Match { cover: f32::NAN, ..RPN }, &anchors, &truth, &to), "shares from 0 to 1");
    let (many, flags) = (out(e, &[MOST + 1, 4]), words(e, &[MOST + 1], &vec![0; MOST + 1]));
    says(kernel::assign(&mut p, RPN, &anchors, &Truth { boxes: &many, ignored: &flags, ..truth }, &to), "boxes of a batch is 262145");
    says(kernel::overlaps(&mut p, &boxes, &anchors, &overlaps), "`out` must be F32 [3, 5]");
}
