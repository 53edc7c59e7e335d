//! Weighted boxes fusion: one list of boxes of several detectors' (Solovyev, Wang and Gabruseva, "Weighted boxes fusion", 2021, arXiv 1910.13302).

use super::boxes::BBox;
use super::dataset::Detection;
use crate::{Error, Result};
use std::collections::HashMap;

/// How boxes are fused.
#[derive(Debug, Clone, PartialEq)]
pub struct Fusion {
    /// Boxes that overlap a fused one by more than this join it.
    pub iou: f64,
    /// Boxes with a lower score, before its weight, are left out.
    pub skip: f64,
    /// A weight a detector.
    pub weights: Vec<f64>,
}

impl Fusion {
    /// The paper's settings for so many detectors that weigh the same: IoU 0.55, nothing left out.
    pub fn new(detectors: usize) -> Self {
        Self { iou: 0.55, skip: 0.0, weights: vec![1.0; detectors] }
    }

    /// One list of an image's boxes by each detector, the surest first.
    ///
    /// Boxes are taken by their weighted scores. One joins the fused box of its category that it overlaps most, if by enough, else it begins a new one. A fused box
    /// is the mean of its boxes by their weighted scores. Its score is their mean times min(n, m) / (sum of the weights) for n boxes of m detectors: what few
    /// detectors see counts less. That is the authors' own program (`ensemble-boxes`, `conf_type` "avg").
    ///
    /// # Errors
    /// Not a list for each weight; weights that are no numbers above 0; a box without area or with a score that is no number of at least 0.
    pub fn fuse(&self, detectors: &[&[Detection]]) -> Result<Vec<Detection>> {
        if detectors.len() != self.weights.len() || detectors.is_empty() {
            let (lists, weights) = (detectors.len(), self.weights.len());
            return Err(Error::invalid(format!("{lists} lists of detections and {weights} weights; fusion takes a weight for each list")));
        }
        if let Some(w) = self.weights.iter().find(|w| !(w.is_finite() && **w > 0.0)) {
            return Err(Error::invalid(format!("a detector has the weight {w}; weights are above 0")));
        }
        if let Some(d) = detectors.iter().copied().flatten().find(|d| !d.bbox.is_sound() || !d.score.is_finite() || d.score < 0.0) {
            let [x0, y0, x1, y1] = d.bbox.corners();
            return Err(Error::invalid(format!(
                "a box from ({x0}, {y0}) to ({x1}, {y1}) with the score {} cannot be fused; boxes have an area and scores are at least 0",
                d.score
            )));
        }
        let weighted = |(list, weight): (&&[Detection], &f64)| {
            let kept = list.iter().filter(|d| d.score >= self.skip && d.score > 0.0);
            kept.map(|d| Detection { score: d.score * weight, ..*d }).collect::<Vec<_>>()
        };
        let mut all: Vec<Detection> = detectors.iter().zip(&self.weights).flat_map(weighted).collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut clusters: Vec<Cluster> = Vec::new();
        let mut squares = Squares::new(&all);
        for d in all {
            match self.fitting(&d, &clusters, &squares) {
                Some(i) => {
                    let from = clusters[i].bbox();
                    clusters[i].add(&d);
                    squares.moved(i, &from, &clusters[i].bbox());
                }
                None => {
                    let cluster = Cluster::of(&d);
                    squares.put(clusters.len(), &cluster.bbox());
                    clusters.push(cluster);
                }
            }
        }
        let total: f64 = self.weights.iter().sum();
        let score = |c: &Cluster| c.score / c.boxes as f64 * self.weights.len().min(c.boxes) as f64 / total;
        let mut fused: Vec<Detection> =
            clusters.iter().map(|c| Detection { bbox: c.bbox(), score: score(c), category: c.category }).collect();
        fused.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(fused)
    }

    /// The cluster that a box overlaps most, if by enough; of equal ones the first.
    fn fitting(&self, d: &Detection, clusters: &[Cluster], squares: &Squares) -> Option<usize> {
        let (mut best, mut overlap) = (None, self.iou);
        for i in squares.about(&d.bbox).into_iter().filter(|i| clusters[*i].category == d.category) {
            let iou = clusters[i].bbox().iou(&d.bbox);
            if iou > overlap {
                (best, overlap) = (Some(i), iou);
            }
        }
        best
    }
}

/// Clusters by the square that their middle lies in: what overlaps a box has its middle in the same square or in one of the eight about it, for no box is
/// longer than a square.
struct Squares {
    side: f64,
    of: HashMap<[i64; 2], Vec<usize>>,
}

impl Squares {
    fn new(boxes: &[Detection]) -> Self {
        let side = boxes.iter().map(|d| d.bbox.width().max(d.bbox.height())).fold(f64::MIN_POSITIVE, f64::max);
        Self { side, of: HashMap::new() }
    }

    fn square(&self, b: &BBox) -> [i64; 2] {
        b.center().map(|v| (v / self.side).floor() as i64)
    }

    fn put(&mut self, cluster: usize, at: &BBox) {
        self.of.entry(self.square(at)).or_default().push(cluster);
    }

    fn moved(&mut self, cluster: usize, from: &BBox, to: &BBox) {
        let from = self.square(from);
        if from != self.square(to) {
            self.of.entry(from).or_default().retain(|i| *i != cluster);
            self.put(cluster, to);
        }
    }

    /// Clusters that may overlap a box, the first first.
    fn about(&self, b: &BBox) -> Vec<usize> {
        let [x, y] = self.square(b);
        let near = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| [x.saturating_add(dx), y.saturating_add(dy)]));
        let mut all: Vec<usize> = near.filter_map(|s| self.of.get(&s)).flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Boxes that are one.
struct Cluster {
    category: usize,
    boxes: usize,
    /// Sum of the weighted scores, and of the corners times those.
    score: f64,
    corners: [f64; 4],
}

impl Cluster {
    fn of(d: &Detection) -> Self {
        let mut cluster = Self { category: d.category, boxes: 0, score: 0.0, corners: [0.0; 4] };
        cluster.add(d);
        cluster
    }

    fn add(&mut self, d: &Detection) {
        self.boxes += 1;
        self.score += d.score;
        self.corners.iter_mut().zip(d.bbox.corners()).for_each(|(sum, v)| *sum += d.score * v);
    }

    fn bbox(&self) -> BBox {
        BBox::from_corners(self.corners.map(|v| v / self.score))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::path::PathBuf;

    fn found(corners: [f64; 4], score: f64, category: usize) -> Detection {
        Detection { bbox: BBox::from_corners(corners), score, category }
    }

    fn near(d: &Detection, corners: [f64; 4], score: f64, by: f64) {
        let off = d.bbox.corners().iter().zip(corners).map(|(a, b)| (a - b).abs()).fold((d.score - score).abs(), f64::max);
        assert!(off <= by, "{d:?}, expected {corners:?} {score}");
    }

    #[test]
    fn two_detectors_that_agree_and_one_that_stands_alone() {
        let a = [found([0.0, 0.0, 10.0, 10.0], 0.8, 0), found([50.0, 50.0, 60.0, 60.0], 0.6, 0)];
        let b = [found([1.0, 0.0, 11.0, 10.0], 0.4, 0), found([0.0, 0.0, 10.0, 10.0], 0.9, 1)];
        let fused = Fusion::new(2).fuse(&[&a, &b]).unwrap();
        assert_eq!(fused.iter().map(|d| d.category).collect::<Vec<_>>(), [0, 1, 0]);
        // x by (0.8 * 0 + 0.4 * 1) / 1.2; the mean score of two boxes of two detectors.
        near(&fused[0], [1.0 / 3.0, 0.0, 10.0 + 1.0 / 3.0, 10.0], 0.6, 1e-12);
        // Seen by one of two: half the score.
        near(&fused[1], [0.0, 0.0, 10.0, 10.0], 0.45, 1e-12);
        near(&fused[2], [50.0, 50.0, 60.0, 60.0], 0.3, 1e-12);
    }

    #[test]
    fn weights_and_the_least_score_count() {
        let (a, b) =
            ([found([0.0, 0.0, 10.0, 10.0], 0.5, 0)], [found([0.0, 0.0, 10.0, 12.0], 0.5, 0), found([30.0, 0.0, 40.0, 9.0], 0.2, 0)]);
        let fusion = Fusion { weights: vec![3.0, 1.0], skip: 0.3, ..Fusion::new(2) };
        let fused = fusion.fuse(&[&a, &b]).unwrap();
        assert_eq!(fused.len(), 1);
        // Weighted scores 1.5 and 0.5: y1 by (1.5 * 10 + 0.5 * 12) / 2, score (2 / 2) * 2 / 4.
        near(&fused[0], [0.0, 0.0, 10.0, 10.5], 0.5, 1e-12);
        // An overlap that is just reached is not enough: 10 / 20.
        let halves = [found([0.0, 0.0, 10.0, 2.0], 0.9, 0), found([0.0, 0.0, 10.0, 1.0], 0.8, 0)];
        let one = Fusion { iou: 0.5, ..Fusion::new(1) };
        assert_eq!(one.fuse(&[&halves]).unwrap().len(), 2);
    }

    /// A scene's worth of boxes, as if each were held against each.
    #[test]
    fn squares_lose_nothing() {
        let mut random = crate::random::Random::new(5, 6);
        let mut one = |_| {
            let [x, y] = [0; 2].map(|_| random.range(0.0, 900.0));
            let [w, h] = [0; 2].map(|_| random.range(4.0, 40.0));
            found([x, y, x + w, y + h], random.range(0.1, 1.0), random.below(2))
        };
        let lists = [0; 2].map(|_| (0..1500).map(&mut one).collect::<Vec<_>>());
        let fusion = Fusion { iou: 0.3, ..Fusion::new(2) };
        let fused = fusion.fuse(&[&lists[0], &lists[1]]).unwrap();
        let mut all: Vec<Detection> = lists.concat();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut clusters: Vec<Cluster> = Vec::new();
        for d in &all {
            let (mut best, mut overlap) = (None, 0.3);
            for (i, c) in clusters.iter().enumerate().filter(|(_, c)| c.category == d.category) {
                let iou = c.bbox().iou(&d.bbox);
                if iou > overlap {
                    (best, overlap) = (Some(i), iou);
                }
            }
            match best {
                Some(i) => clusters[i].add(d),
                None => clusters.push(Cluster::of(d)),
            }
        }
        assert!(clusters.len() < 2950, "{}", clusters.len());
        let sorted = |mut v: Vec<[f64; 4]>| {
            v.sort_by(|a, b| a[0].total_cmp(&b[0]));
            v
        };
        let want = sorted(clusters.iter().map(|c| c.bbox().corners()).collect());
        assert_eq!(sorted(fused.iter().map(|d| d.bbox.corners()).collect()), want);
    }

    #[test]
    fn what_cannot_be_fused_is_refused() {
        let sound = [found([0.0, 0.0, 1.0, 1.0], 0.5, 0)];
        assert!(Fusion::new(2).fuse(&[&sound]).unwrap_err().to_string().contains("1 lists of detections and 2 weights"));
        let e = Fusion { weights: vec![0.0], ..Fusion::new(1) }.fuse(&[&sound]).unwrap_err().to_string();
        assert!(e.contains("the weight 0"), "{e}");
        for bad in [found([0.0, 0.0, 0.0, 1.0], 0.5, 0), found([0.0, 0.0, 1.0, 1.0], -0.5, 0), found([0.0, 0.0, 1.0, 1.0], f64::NAN, 0)] {
            assert!(Fusion::new(1).fuse(&[&[bad]]).unwrap_err().to_string().contains("cannot be fused"));
        }
        assert!(Fusion::new(1).fuse(&[&[]]).unwrap().is_empty());
    }

    /// What `benches/peers/fusion.py` writes.
    #[derive(Deserialize)]
    struct Fixture {
        weights: Vec<f64>,
        iou: f64,
        skip: f64,
        boxes: Vec<Vec<[f64; 4]>>,
        scores: Vec<Vec<f64>>,
        labels: Vec<Vec<usize>>,
        fused: Vec<Fused>,
    }

    #[derive(Deserialize)]
    struct Fused {
        #[serde(rename = "box")]
        corners: [f64; 4],
        score: f64,
        label: usize,
    }

    #[test]
    fn the_authors_program_fuses_the_same() {
        let folder = std::env::var_os("ECHOGRID_FUSION")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detect"), PathBuf::from);
        let mut count = 0;
        for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if !path.file_name().unwrap().to_string_lossy().starts_with("fusion_") {
                continue;
            }
            count += 1;
            let f: Fixture = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let list = |i: usize| -> Vec<Detection> {
                let all = f.boxes[i].iter().zip(&f.scores[i]).zip(&f.labels[i]);
                all.map(|((b, s), l)| found(*b, *s, *l)).collect()
            };
            let lists: Vec<Vec<Detection>> = (0..f.boxes.len()).map(list).collect();
            let lists: Vec<&[Detection]> = lists.iter().map(Vec::as_slice).collect();
            let fused = Fusion { iou: f.iou, skip: f.skip, weights: f.weights }.fuse(&lists).unwrap();
            assert_eq!(fused.len(), f.fused.len(), "{}", path.display());
            for (ours, theirs) in fused.iter().zip(&f.fused) {
                assert_eq!(ours.category, theirs.label, "{}", path.display());
                // Its sums of up to some ten coordinates below 1 are float32: 10 roundings of 6e-8.
                near(ours, theirs.corners, theirs.score, 1e-6);
            }
        }
        assert!(count >= 3);
    }
}
