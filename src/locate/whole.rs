//! From the fixes of its patches to one answer for an image.

use super::fix::{Displacement, Fix, Place, Places, Verdict};
use super::options::Method;
use crate::Result;
use crate::dense::{Calibration, Ellipse, Match, Variant};
use crate::scene::{Frame, Image, compose, inverse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An image is "here" from this probability on, and if several patches agree or it holds but one.
pub const HERE: f64 = 0.9;

/// A fix this far off the truth is right, metres.
pub const RIGHT_M: f64 = 100.0;

/// What became of an image.
#[derive(Debug, Clone)]
pub struct Located {
    /// Its name.
    pub file: String,
    /// How it was looked for.
    pub method: Method,
    /// Whether it lies on the map.
    pub verdict: Verdict,
    /// Its middle, with probability and ellipse; none where the verdict is "not on this map".
    pub place: Option<Place>,
    /// That the place is right, also where that is too little to be an answer; none where the method does not say.
    pub probability: Option<f64>,
    /// Its corners on the ground, longitude and latitude: upper left, upper right, lower right, lower left of the image. Empty without a place.
    pub footprint: Vec<[f64; 2]>,
    /// From SAR pixels to map pixels: rows of factors of x and y, and a constant.
    pub to_map: Option<[[f64; 3]; 2]>,
    /// From SAR pixels to the map's coordinates, GDAL's order.
    pub geotransform: Option<[f64; 6]>,
    /// How it lies against what its frame says.
    pub variant: Variant,
    /// Patches that agree on the place; none where they did not vote.
    pub agreeing: Option<usize>,
    /// Its patches.
    pub fixes: Vec<Fix>,
    /// Where its own georeference puts its middle.
    pub claimed: Option<Place>,
    /// How far the place lies from that.
    pub displaced: Option<Displacement>,
    /// How it was taken to lie, but for its place.
    pub frame: Frame,
    /// Its width and height, pixels.
    pub size: [u32; 2],
    /// The image, where pictures are wanted ([`super::Options::surfaces`]), of the first [`PICTURED`](super::PICTURED) of a call.
    pub image: Option<Arc<Image>>,
    /// Side of a patch, map pixels.
    pub side_px: f64,
    /// Distance between patches, map pixels.
    pub step: u32,
    /// A fix less probable than this was not found; none where the method does not say.
    pub threshold: Option<f64>,
    /// Turns and scales that were tried of each patch.
    pub variants: usize,
    /// Patches left out for want of data.
    pub no_data: usize,
    /// Patches left out because nothing lies within the prior.
    pub outside: usize,
    /// What the surface of each patch says, by dense matching.
    pub matches: Vec<Match>,
    /// Seconds by part.
    pub seconds: BTreeMap<String, f64>,
    /// What is doubtful.
    pub warnings: Vec<String>,
}

/// How the patches that agree place an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// From SAR pixels to map pixels.
    pub(super) to_map: [[f64; 3]; 2],
    pub(super) variant: Variant,
    /// Covariance of the middle (xx, xy, yy), square metres.
    pub(super) covariance_m2: [f64; 3],
}

/// A patch that counts: where it lies in the image (SAR pixels), on the map (map pixels), and the covariance of that, square metres.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) sar_px: [f64; 2],
    pub(super) map_px: [f64; 2],
    pub(super) covariance_m2: [f64; 3],
}

/// Places an image by its anchors, one at least: their mean shift, turned and scaled as `variant` says; where that was searched for, three
/// anchors and more find it out themselves.
///
/// What scatters from patch to patch is averaged over as many as are independent (`share` of a patch is its own); half of the floor
/// is taken to be common to all.
pub(super) fn place(
    frame: &Frame,
    size: [u32; 2],
    anchors: &[Anchor],
    variant: Variant,
    searched: bool,
    share: f64,
    calibration: Option<&Calibration>,
) -> Placed {
    let n = anchors.len() as f64;
    let mean = |of: &dyn Fn(&Anchor) -> [f64; 2]| [0, 1].map(|d| anchors.iter().map(|a| of(a)[d]).sum::<f64>() / n);
    let (image, map) = (mean(&|a| frame.relative(a.sar_px)), mean(&|a| a.map_px));
    let mut variant = variant;
    if searched && anchors.len() >= 3 {
        // The similarity of least squares, as the quotient of two complex numbers.
        let (mut re, mut im, mut norm) = (0.0, 0.0, 0.0);
        for a in anchors {
            let p = frame.relative(a.sar_px);
            let ([x, y], [u, v]) = ([p[0] - image[0], p[1] - image[1]], [a.map_px[0] - map[0], a.map_px[1] - map[1]]);
            re += x * u + y * v;
            im += x * v - y * u;
            norm += x * x + y * y;
        }
        let fitted = Variant::new(im.atan2(re).to_degrees(), re.hypot(im) / norm.max(1e-9));
        // What no search has tried is no better known by a few patches.
        if fitted.turn_between(variant) <= 5.0 && (fitted.scale / variant.scale - 1.0).abs() <= 0.08 {
            variant = fitted;
        }
    }
    let middle = size.map(|v| f64::from(v) / 2.0);
    let local = compose(variant.to_map(), inverse(&frame.matrix_at(middle)));
    let relative = frame.relative(middle);
    let turned = variant.to_map().map(|row| row[0] * (relative[0] - image[0]) + row[1] * (relative[1] - image[1]));
    let to_map = [0, 1].map(|d| {
        let here = map[d] + turned[d];
        [local[d][0], local[d][1], here - local[d][0] * middle[0] - local[d][1] * middle[1]]
    });
    let independent = 1.0 + (n - 1.0) * share;
    let common = calibration.map_or(0.0, |c| (c.floor_m / 2.0).powi(2));
    let covariance_m2 = [0, 1, 2].map(|i| {
        let own = anchors.iter().map(|a| a.covariance_m2[i]).sum::<f64>() / n;
        own / independent + if i == 1 { 0.0 } else { common * (1.0 - 1.0 / independent) }
    });
    Placed { to_map, variant, covariance_m2 }
}

/// What is doubtful about an image. `settled` says that how it lies needs no word: turns were searched for, or it is surely found.
pub(super) fn doubts(image: &Image, frame: &Frame, settled: bool) -> Vec<String> {
    let raster = &image.raster;
    let mut all = raster.warnings().to_vec();
    if let (true, Err(e)) = (raster.geo().is_some() || raster.control_points() > 0, raster.placement()) {
        all.push(format!("the image's own georeference is not used: {e}"));
    }
    if !frame.oriented && !settled {
        all.push(format!(
            "{}: the image does not say how it lies: it is taken to lie as the map does, and what is turned by some degrees may be found beside its place; try --rotation-range DEGREES (dense matching), or give it a georeference",
            raster.path().display()
        ));
    }
    all
}

/// Applies an affine transform.
pub(super) fn apply(m: &[[f64; 3]; 2], p: [f64; 2]) -> [f64; 2] {
    m.map(|row| row[0] * p[0] + row[1] * p[1] + row[2])
}

impl Located {
    /// Puts the image where its patches do.
    ///
    /// # Errors
    /// A position outside the projection's domain.
    pub(super) fn settle(&mut self, places: &Places, placed: Option<Placed>) -> Result<()> {
        let size = self.size.map(f64::from);
        let middle = size.map(|v| v / 2.0);
        if let Some(own) = &self.frame.own {
            self.claimed = own.apply(middle).ok().and_then(|p| places.at(p).ok());
        }
        let Some(placed) = placed.filter(|_| self.verdict != Verdict::NotHere) else { return Ok(()) };
        let to_map = placed.to_map;
        let ellipse = self.probability.is_some().then(|| Ellipse::new(placed.covariance_m2, 1.0));
        let place = Place { probability: self.probability, ellipse, ..places.at(apply(&to_map, middle))? };
        let corners = [[0.0, 0.0], [size[0], 0.0], size, [0.0, size[1]]].map(|c| apply(&to_map, c));
        self.footprint = places.ring(corners)?;
        // GDAL's order: constant, factor of x, factor of y.
        let [t0, t1, t2, t3, t4, t5] = places.geo().coefficients();
        let row = |c0: f64, cx: f64, cy: f64| {
            let [x, y] = to_map;
            [c0 + cx * x[2] + cy * y[2], cx * x[0] + cy * y[0], cx * x[1] + cy * y[1]]
        };
        let (x, y) = (row(t0, t1, t2), row(t3, t4, t5));
        self.geotransform = Some([x[0], x[1], x[2], y[0], y[1], y[2]]);
        self.displaced = self.claimed.map(|c| Displacement::between(c.lonlat, place.lonlat));
        (self.place, self.to_map, self.variant) = (Some(place), Some(to_map), placed.variant);
        Ok(())
    }

    /// The same, no more probable than what is known of how it lies.
    #[must_use]
    pub(super) fn at_most(mut self, probability: f64, threshold: f64) -> Self {
        let lowered = self.probability.map_or(0.0, |p| p.min(probability));
        self.probability = Some(lowered);
        if let Some(place) = &mut self.place {
            place.probability = Some(lowered);
        }
        for fix in &mut self.fixes {
            fix.probability = fix.probability.map(|p| p.min(probability));
            fix.place = fix.place.filter(|_| fix.probability >= Some(threshold)).map(|p| Place { probability: fix.probability, ..p });
            if fix.place.is_none() {
                fix.footprint.clear();
                fix.variant = None;
            }
        }
        if lowered < HERE {
            self.verdict = self.verdict.min(if lowered < threshold { Verdict::NotHere } else { Verdict::Check });
        }
        self
    }

    /// Map pixels of its corners, where it has a place.
    pub fn corners_px(&self) -> Option<[[f64; 2]; 4]> {
        let m = self.to_map?;
        let size = self.size.map(f64::from);
        Some([[0.0, 0.0], [size[0], 0.0], size, [0.0, size[1]]].map(|c| apply(&m, c)))
    }

    /// Patches with a place.
    pub fn found(&self) -> usize {
        self.fixes.iter().filter(|f| f.found()).count()
    }
}
