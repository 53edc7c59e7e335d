use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::detect::boxes::BBox;
use crate::detect::coco as files;
use crate::detect::dataset::{Annotated, Category, Truth};
use crate::eval::metrics::Estimate;
use crate::random::Random;

/// What `benches/peers/coco_ap.py` writes.
#[derive(Deserialize)]
struct Fixture {
    truth: Value,
    found: Value,
    figures: [f64; 12],
}

/// A file's name, data set and detections, and pycocotools' figures.
type Case = (String, Dataset, Vec<Vec<Detection>>, [f64; 12]);

/// The fixtures of the project, or of the folder that `ECHOGRID_COCO_AP` names.
fn fixtures() -> Vec<Case> {
    let folder = std::env::var_os("ECHOGRID_COCO_AP")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detect"), PathBuf::from);
    let dir = tempfile::tempdir().unwrap();
    let [truth, found] = ["truth.json", "found.json"].map(|name| dir.path().join(name));
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.file_name().unwrap().to_string_lossy().starts_with("coco_ap_"));
    let read = |path: PathBuf| {
        let fixture: Fixture = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::write(&truth, fixture.truth.to_string()).unwrap();
        std::fs::write(&found, fixture.found.to_string()).unwrap();
        let dataset = files::read(&truth, None).unwrap();
        let detections = files::read_detections(&found, &dataset).unwrap();
        (path.display().to_string(), dataset, detections, fixture.figures)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn the_twelve_figures_are_those_of_pycocotools() {
    let all = fixtures();
    assert!(all.len() >= 4);
    for (name, dataset, detections, figures) in all {
        let ours = coco(&dataset, &detections, MAX_DETECTIONS).unwrap().twelve();
        for (i, (a, b)) in ours.iter().zip(&figures).enumerate() {
            assert!((a - b).abs() < 1e-9, "{name}: figure {i} is {a}, pycocotools' {b}");
        }
    }
}

#[test]
fn thresholds_are_those_of_numpy() {
    assert_eq!((IOU_THRESHOLDS[0], IOU_THRESHOLDS[5], IOU_THRESHOLDS[9]), (0.5, 0.75, 0.95));
    assert!(IOU_THRESHOLDS.iter().enumerate().all(|(i, t)| (t - (0.5 + 0.05 * i as f64)).abs() < 1e-15));
}

/// A data set of one image of 100 x 100 px and one category.
fn one_image(boxes: &[([f64; 4], bool, bool)]) -> Dataset {
    let truth = |(id, &(xywh, crowd, difficult)): (u64, &([f64; 4], bool, bool))| {
        let bbox = BBox::from_xywh(xywh);
        Truth { id, bbox, category: 0, area: bbox.area(), crowd, difficult }
    };
    let boxes = (1..).zip(boxes).map(truth).collect();
    let image = Annotated { id: 1, file: "a.png".into(), width: 100, height: 100, group: None, boxes };
    Dataset { categories: vec![Category { id: 1, name: "ship".into() }], images: vec![image] }
}

fn found(xywh: [f64; 4], score: f64) -> Detection {
    Detection { bbox: BBox::from_xywh(xywh), score, category: 0 }
}

fn near(a: Option<f64>, b: f64) {
    assert!((a.unwrap() - b).abs() < 1e-12, "{a:?}, expected {b}");
}

/// Three boxes; the surest detection finds the first, the next nothing, the third the second box, the fourth that one again, and the third box is missed:
/// recall 1/3, 1/3, 2/3, 2/3 with precision 1, 1/2, 2/3, 1/2.
#[test]
fn areas_under_a_curve_of_the_hand() {
    let dataset = one_image(&[
        ([0.0, 0.0, 10.0, 10.0], false, false),
        ([20.0, 0.0, 10.0, 10.0], false, false),
        ([40.0, 0.0, 10.0, 10.0], false, false),
    ]);
    let detections = vec![vec![
        found([20.0, 0.0, 10.0, 10.0], 0.7),
        found([0.0, 0.0, 10.0, 10.0], 0.9),
        found([70.0, 70.0, 10.0, 10.0], 0.8),
        found([21.0, 0.0, 10.0, 10.0], 0.6),
    ]];
    near(all_points(&dataset, &detections, 0.5, 100).unwrap(), 1.0 / 3.0 + (1.0 / 3.0) * (2.0 / 3.0));
    let figures = voc(&dataset, &detections, 0.5).unwrap();
    near(figures.ap_voc12, 5.0 / 9.0);
    // Recalls 0 to 0.3 at precision 1, 0.4 to 0.6 at 2/3; 6 * 0.1 is just above 0.6 and below 2/3.
    near(figures.ap_voc07, (4.0 + 3.0 * 2.0 / 3.0) / 11.0);
    // 0 to 0.33 at 1, 0.34 to 0.66 at 2/3.
    let coco = coco(&dataset, &detections, 100).unwrap();
    near(coco.ap50, (34.0 + 33.0 * 2.0 / 3.0) / 101.0);
    assert_eq!((coco.ap_medium, coco.ap_large), (None, None));
    near(coco.ar_1, 1.0 / 3.0);
    near(coco.ar, 2.0 / 3.0);
}

/// COCO gives a detection the best box that is left, VOC the best box and no other.
#[test]
fn a_second_detection_between_two_boxes_is_judged_by_both_rules() {
    let dataset = one_image(&[([0.0, 0.0, 10.0, 10.0], false, false), ([2.0, 0.0, 10.0, 10.0], false, false)]);
    // Both overlap most with the first box, by 1 and by 9.5 / 10.5; the second also with the other, by 8.5 / 11.5 = 0.739.
    let detections = vec![vec![found([0.0, 0.0, 10.0, 10.0], 0.9), found([0.5, 0.0, 10.0, 10.0], 0.8)]];
    near(all_points(&dataset, &detections, 0.5, 100).unwrap(), 1.0);
    near(voc(&dataset, &detections, 0.5).unwrap().ap_voc12, 0.5);
    // An overlap that is just reached is enough.
    let halves = vec![vec![found([0.0, 0.0, 10.0, 5.0], 0.9)]];
    let one = one_image(&[([0.0, 0.0, 10.0, 10.0], false, false)]);
    near(voc(&one, &halves, 0.5).unwrap().ap_voc12, 1.0);
    near(all_points(&one, &halves, 0.5, 100).unwrap(), 1.0);
    near(all_points(&one, &halves, 0.51, 100).unwrap(), 0.0);
}

#[test]
fn crowds_and_difficult_boxes_are_neither_found_nor_missed() {
    let plain = ([0.0, 0.0, 10.0, 10.0], false, false);
    let small = vec![vec![found([0.0, 0.0, 10.0, 10.0], 0.5), found([42.0, 42.0, 5.0, 5.0], 0.9), found([50.0, 50.0, 5.0, 5.0], 0.8)]];
    // Small detections inside of a crowd are in it by their own area.
    let crowd = one_image(&[plain, ([40.0, 40.0, 30.0, 30.0], true, false)]);
    near(all_points(&crowd, &small, 0.5, 100).unwrap(), 1.0);
    // VOC knows no crowds: by the overlap over the union they are false.
    near(voc(&crowd, &small, 0.5).unwrap().ap_voc12, 1.0 / 3.0);
    let difficult = one_image(&[plain, ([42.0, 42.0, 5.0, 5.0], false, true)]);
    near(voc(&difficult, &small, 0.5).unwrap().ap_voc12, 0.5);
    // pycocotools does not look at `ignore`: the box is found, and one detection is false.
    near(all_points(&difficult, &small, 0.5, 100).unwrap(), 0.5 + 0.5 * (2.0 / 3.0));
}

/// Average precision by brute force over all thresholds of the score: VOC's matching from scratch at each, the greatest precision at or beyond each recall.
fn brute_force(dataset: &Dataset, detections: &[Vec<Detection>], eleven: bool) -> f64 {
    let positives = dataset.images.iter().flat_map(|i| &i.boxes).filter(|b| !b.difficult).count() as f64;
    let mut scores: Vec<f64> = detections.iter().flatten().map(|d| d.score).collect();
    scores.sort_by(f64::total_cmp);
    let points: Vec<[f64; 2]> = scores
        .iter()
        .map(|bar| {
            let (mut right, mut wrong) = (0.0, 0.0);
            for (image, found) in dataset.images.iter().zip(detections) {
                let mut claims: BTreeMap<usize, usize> = BTreeMap::new();
                for d in found.iter().filter(|d| d.score >= *bar) {
                    let best = (0..image.boxes.len()).max_by(|a, b| {
                        let [a, b] = [a, b].map(|i| d.bbox.iou(&image.boxes[*i].bbox));
                        a.total_cmp(&b)
                    });
                    match best.filter(|b| d.bbox.iou(&image.boxes[*b].bbox) >= 0.5) {
                        Some(b) if image.boxes[b].difficult => {}
                        Some(b) => *claims.entry(b).or_default() += 1,
                        None => wrong += 1.0,
                    }
                }
                right += claims.len() as f64;
                wrong += claims.values().map(|n| n - 1).sum::<usize>() as f64;
            }
            [right / positives, if right > 0.0 { right / (right + wrong) } else { 0.0 }]
        })
        .collect();
    let best = |recall: f64| points.iter().filter(|p| p[0] >= recall).map(|p| p[1]).fold(0.0, f64::max);
    if eleven {
        return (0..11).map(|i| best(f64::from(i) * 0.1)).sum::<f64>() / 11.0;
    }
    (0..positives as usize).map(|i| best((i + 1) as f64 / positives)).sum::<f64>() / positives
}

/// Random boxes and detections with scores of their own; in every third image none.
fn random_case(seed: u64) -> (Dataset, Vec<Vec<Detection>>) {
    let mut random = Random::new(seed, 0);
    let mut dataset = Dataset { images: vec![], ..one_image(&[]) };
    let mut detections = Vec::new();
    for id in 0..6u64 {
        let count = if id % 3 == 2 { 0 } else { 1 + random.below(6) };
        let boxes: Vec<_> = (0..count)
            .map(|_| {
                let xywh = [random.range(0.0, 70.0), random.range(0.0, 70.0), random.range(5.0, 30.0), random.range(5.0, 30.0)];
                (xywh, false, random.unit() < 0.2)
            })
            .collect();
        let mut image = one_image(&boxes).images.remove(0);
        image.id = 50 - id;
        image.group = Some((id / 2).to_string());
        let mut list = Vec::new();
        for (xywh, ..) in &boxes {
            for _ in 0..random.below(4) {
                let moved = xywh.map(|v| v + random.range(-3.0, 3.0));
                list.push(found(moved, random.unit()));
            }
        }
        for _ in 0..random.below(3) {
            list.push(found([random.range(0.0, 70.0), random.range(0.0, 70.0), 10.0, 10.0], random.unit()));
        }
        dataset.images.push(image);
        detections.push(list);
    }
    (dataset, detections)
}

#[test]
fn voc_is_brute_force_over_all_thresholds() {
    let mut values = Vec::new();
    for seed in 0..40 {
        let (dataset, detections) = random_case(seed);
        let figures = voc(&dataset, &detections, 0.5).unwrap();
        near(figures.ap_voc12, brute_force(&dataset, &detections, false));
        near(figures.ap_voc07, brute_force(&dataset, &detections, true));
        values.extend(figures.ap_voc12);
    }
    assert!(values.iter().any(|v| *v < 0.3) && values.iter().any(|v| *v > 0.6), "{values:?}");
}

#[test]
fn the_order_of_images_does_not_matter_but_their_ids_do() {
    let (mut dataset, mut detections) = random_case(3);
    // Equal scores everywhere: only the order tells them apart.
    detections.iter_mut().flatten().for_each(|d| d.score = 0.5);
    let before = coco(&dataset, &detections, 100).unwrap();
    dataset.images.reverse();
    detections.reverse();
    assert_eq!(coco(&dataset, &detections, 100).unwrap(), before);
    dataset.images.iter_mut().for_each(|i| i.id = 100 - i.id);
    assert_ne!(coco(&dataset, &detections, 100).unwrap(), before);
}

#[test]
fn fewer_detections_may_count() {
    let dataset = one_image(&[([0.0, 0.0, 10.0, 10.0], false, false), ([20.0, 0.0, 10.0, 10.0], false, false)]);
    let detections = vec![vec![found([0.0, 0.0, 10.0, 10.0], 0.9), found([20.0, 0.0, 10.0, 10.0], 0.8)]];
    near(all_points(&dataset, &detections, 0.5, 1).unwrap(), 0.5);
    near(coco(&dataset, &detections, 1).unwrap().ar, 0.5);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let dataset = one_image(&[]);
    let e = coco(&dataset, &[], 100).unwrap_err().to_string();
    assert!(e.contains("0 lists of detections for 1 images"), "{e}");
    let stray = Detection { category: 1, ..found([0.0, 0.0, 1.0, 1.0], 0.5) };
    assert!(voc(&dataset, &[vec![stray]], 0.5).unwrap_err().to_string().contains("category 1 of 1"));
    let e = all_points(&dataset, &[vec![found([0.0, 0.0, 1.0, 1.0], f64::NAN)]], 0.5, 100).unwrap_err().to_string();
    assert!(e.contains("image 1") && e.contains("no number"), "{e}");
    // Nothing to be found: nothing is known.
    assert_eq!(coco(&dataset, &[vec![]], 100).unwrap().twelve(), [-1.0; 12]);
    assert!(interval(&dataset, &[vec![]], Measure::Coco, 100, 1).is_err());
}

/// Groups of equal images have no spread; with one in two found, that of a share.
#[test]
fn intervals_go_over_groups() {
    let image = |id: u64, group: String| Annotated {
        id,
        group: Some(group),
        ..one_image(&[([0.0, 0.0, 10.0, 10.0], false, false)]).images.remove(0)
    };
    let hit = vec![found([0.0, 0.0, 10.0, 10.0], 0.9)];
    let build = |hits: &dyn Fn(u64) -> bool, group: &dyn Fn(u64) -> u64| {
        let dataset = Dataset { images: (0..100).map(|id| image(id, group(id).to_string())).collect(), ..one_image(&[]) };
        let detections: Vec<Vec<Detection>> = (0..100).map(|id| if hits(id) { hit.clone() } else { vec![] }).collect();
        (dataset, detections)
    };
    let of =
        |(dataset, detections): (Dataset, Vec<Vec<Detection>>)| interval(&dataset, &detections, Measure::AllPoints(0.5), 100, 7).unwrap();
    let all = of(build(&|_| true, &|id| id));
    assert_eq!((all.value, all.ci95), (1.0, [1.0, 1.0]));
    // All detections are right, so the area is the recall: a share of 1/2 of 100, then of 20 groups that are whole right or wrong.
    let half = |e: Estimate| (e.ci95[1] - e.ci95[0]) / 2.0;
    let single = of(build(&|id| id % 2 == 0, &|id| id));
    let grouped = of(build(&|id| id / 5 % 2 == 0, &|id| id / 5));
    assert!((single.value - 0.5).abs() < 1e-12 && (grouped.value - 0.5).abs() < 1e-12);
    assert!((half(single) / (1.96 * 0.05) - 1.0).abs() < 0.15, "{single:?}");
    assert!((half(grouped) / (1.96 * 0.1118) - 1.0).abs() < 0.15, "{grouped:?}");
    let (dataset, detections) = build(&|id| id % 2 == 0, &|_| 1);
    assert!(interval(&dataset, &detections, Measure::Voc12, 100, 7).unwrap_err().to_string().contains("two groups"));
}

/// What finds all where another finds every other image is better by a half; what finds the same is not.
#[test]
fn differences_are_paired() {
    let hit = vec![found([0.0, 0.0, 10.0, 10.0], 0.9)];
    let one = one_image(&[([0.0, 0.0, 10.0, 10.0], false, false)]).images.remove(0);
    let dataset = Dataset { images: (0..100).map(|id| Annotated { id, ..one.clone() }).collect(), ..one_image(&[]) };
    let run =
        |hits: &dyn Fn(usize) -> bool| -> Vec<Vec<Detection>> { (0..100).map(|i| if hits(i) { hit.clone() } else { vec![] }).collect() };
    let (half, other, all) = (run(&|i| i % 2 == 0), run(&|i| i % 2 == 1), run(&|_| true));
    let of = |a: &[Vec<Vec<Detection>>], b: &[Vec<Vec<Detection>>]| paired_interval(&dataset, [a, b], Measure::AllPoints(0.5), 100, 7);
    let same = of(&[half.clone(), all.clone()], &[half.clone(), all.clone()]).unwrap();
    assert_eq!((same.value, same.ci95), (0.0, [0.0, 0.0]));
    let better = of(&[half.clone(), half.clone()], &[all.clone(), all.clone()]).unwrap();
    let width = (better.ci95[1] - better.ci95[0]) / 2.0;
    assert!((better.value - 0.5).abs() < 1e-12 && (width / (1.96 * 0.05) - 1.0).abs() < 0.15, "{better:?}");
    // Halves that find nothing in common differ by nothing but chance: twice a share's deviation.
    let apart = of(std::slice::from_ref(&half), &[other]).unwrap();
    assert!(apart.value.abs() < 1e-12 && ((apart.ci95[1] - apart.ci95[0]) / 2.0 / (1.96 * 0.1) - 1.0).abs() < 0.15, "{apart:?}");
    assert!(of(std::slice::from_ref(&half), &[half.clone(), all]).unwrap_err().to_string().contains("1 and 2 runs"));
}

/// The interval's figure is the measure's own.
#[test]
fn every_measure_has_its_interval() {
    let (dataset, detections) = random_case(11);
    let coco = coco(&dataset, &detections, 100).unwrap();
    let voc = voc(&dataset, &detections, 0.5).unwrap();
    let whole = all_points(&dataset, &detections, 0.5, 100).unwrap();
    let known = [
        (Measure::Coco, coco.ap),
        (Measure::Coco50, coco.ap50),
        (Measure::Voc07, voc.ap_voc07),
        (Measure::Voc12, voc.ap_voc12),
        (Measure::AllPoints(0.5), whole),
    ];
    for (measure, value) in known {
        let e = interval(&dataset, &detections, measure, 100, 5).unwrap();
        near(value, e.value);
        assert!(e.ci95[0] <= e.value && e.value <= e.ci95[1] && e.ci95[0] < e.ci95[1], "{measure:?}: {e:?}");
    }
}
