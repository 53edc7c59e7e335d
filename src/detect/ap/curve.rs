//! Precision over recall, and the areas under it.

/// Precision over recall, from the surest detection on: a point for each detection.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Share of the boxes found so far; grows.
    pub recall: Vec<f64>,
    /// Share of the detections so far that found one.
    pub precision: Vec<f64>,
}

impl Curve {
    /// Of detections, the surest first: whether it found a box, and how often it counts; `positives` boxes are to be found.
    pub(super) fn new(found: impl Iterator<Item = (bool, f64)>, positives: f64) -> Self {
        let (mut recall, mut precision) = (Vec::new(), Vec::new());
        let (mut hits, mut all) = (0.0, 0.0);
        for (hit, weight) in found.filter(|(_, weight)| *weight > 0.0) {
            all += weight;
            hits += if hit { weight } else { 0.0 };
            recall.push(hits / positives);
            precision.push(hits / all);
        }
        Self { recall, precision }
    }

    /// The greatest precision at this recall or a greater one, point by point: the monotone envelope.
    pub fn envelope(&self) -> Vec<f64> {
        let mut envelope = self.precision.clone();
        for i in (1..envelope.len()).rev() {
            envelope[i - 1] = envelope[i - 1].max(envelope[i]);
        }
        envelope
    }

    /// The whole area under the envelope, which VOC takes since 2010.
    pub fn all_points(&self) -> f64 {
        let before = std::iter::once(&0.0).chain(&self.recall);
        self.envelope().iter().zip(&self.recall).zip(before).map(|((precision, recall), before)| precision * (recall - before)).sum()
    }

    /// The mean of the envelope at the recalls 0, 0.1, ... 1, as VOC 2007: those recalls are i * 0.1 in f64, as in its MATLAB and in numpy.
    pub fn eleven_points(&self) -> f64 {
        self.mean_at((0..11).map(|i| f64::from(i) * 0.1))
    }

    /// The mean of the envelope at the recalls 0, 0.01, ... 1, as COCO.
    pub fn hundred_one_points(&self) -> f64 {
        self.mean_at((0..101).map(|i| if i == 100 { 1.0 } else { f64::from(i) * 0.01 }))
    }

    /// The mean of the envelope at recalls that grow; 0 beyond what is reached.
    fn mean_at(&self, recalls: impl ExactSizeIterator<Item = f64>) -> f64 {
        let (envelope, count) = (self.envelope(), recalls.len() as f64);
        let at = |r: f64| envelope.get(self.recall.partition_point(|v| *v < r)).copied().unwrap_or(0.0);
        recalls.map(at).sum::<f64>() / count
    }
}
