//! What became of the detections of a category.

use super::curve::Curve;

/// A detection that counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Verdict {
    pub(super) score: f64,
    /// Position of its image in the data set.
    pub(super) image: usize,
    /// How many of its category in its image are surer.
    pub(super) rank: usize,
    /// Whether it found a box.
    pub(super) hit: bool,
}

/// What became of the detections of a category at one IoU: the surest first, those that are to be ignored left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdicts {
    pub(super) found: Vec<Verdict>,
    /// Boxes to be found, image by image.
    pub(super) positives: Vec<usize>,
}

impl Verdicts {
    /// Of images judged one by one in an order; `images` is how many there are.
    pub(super) fn new(images: usize, judged: impl IntoIterator<Item = (usize, Image)>) -> Self {
        let (mut found, mut positives) = (Vec::new(), vec![0; images]);
        for (at, image) in judged {
            positives[at] += image.positives;
            let counted = image.outcomes.iter().enumerate().filter_map(|(rank, (score, hit))| Some((rank, *score, (*hit)?)));
            found.extend(counted.map(|(rank, score, hit)| Verdict { score, image: at, rank, hit }));
        }
        // Stable, as numpy's mergesort: equal scores keep the order of the images.
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self { found, positives }
    }

    /// Boxes to be found.
    pub fn positives(&self) -> usize {
        self.positives.iter().sum()
    }

    /// Precision over recall; none where there is no box to be found.
    pub fn curve(&self) -> Option<Curve> {
        self.weighted_curve(|_| 1.0)
    }

    /// The same where an image counts as often as `weight` says.
    pub(super) fn weighted_curve(&self, weight: impl Fn(usize) -> f64) -> Option<Curve> {
        let positives: f64 = self.positives.iter().enumerate().map(|(image, n)| *n as f64 * weight(image)).sum();
        (positives > 0.0).then(|| Curve::new(self.found.iter().map(|v| (v.hit, weight(v.image))), positives))
    }

    /// Share of the boxes that the surest `most` of each image find; none where there is no box.
    pub(super) fn recall(&self, most: usize) -> Option<f64> {
        let hits = self.found.iter().filter(|v| v.hit && v.rank < most).count();
        let positives = self.positives();
        (positives > 0).then(|| hits as f64 / positives as f64)
    }
}

/// What became of the detections of one image, the surest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Image {
    /// Score, and whether it found a box; none for one to be ignored.
    pub(super) outcomes: Vec<(f64, Option<bool>)>,
    /// Boxes to be found.
    pub(super) positives: usize,
}
