//! Locating by dense matching: a SAR image is cut into patches at the map's scale; each is correlated with the whole map.
//!
//! As with [`crate::index::locate`], the image's own place is not used: only the ground size of its pixels and the direction of north.

use super::fix::{Calibration, Ellipse, Evidence};
use super::matcher::{Match, Matcher, Peak, SearchConfig};
use super::vote::vote;
use crate::index::{LocateConfig, Patch, patches};
use crate::kernels::sampler::{self, PatchRecord};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Frame, Image, PageCache, compose, inverse, lonlat_distance_m};
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Instant;

/// What to look up.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseConfig {
    /// Side of a patch, map pixels.
    pub patch: u32,
    /// Distance between patches, map pixels.
    pub step: u32,
    /// Ground size of a SAR pixel, metres; wins over the image's own georeference, and is needed where it has none.
    pub pixel_m: Option<f64>,
    /// Only places within so many metres of where the image's own georeference puts a patch.
    pub prior_m: Option<f64>,
    /// Rotations of the image to try, degrees clockwise; 0 is how its georeference turns it.
    pub rotations: Vec<f64>,
    /// Factors of the image's scale to try.
    pub scales: Vec<f64>,
    /// A fix less probable than this is "not found"; none takes the features' own threshold.
    pub threshold: Option<f64>,
    /// Whether the patches vote together.
    pub vote: bool,
    /// How each patch is searched.
    pub search: SearchConfig,
}

impl DenseConfig {
    /// Patches of `patch` map pixels side by side, as the image's georeference turns and scales them, which vote together.
    pub fn new(patch: u32) -> Self {
        Self {
            patch,
            step: patch,
            pixel_m: None,
            prior_m: None,
            rotations: vec![0.0],
            scales: vec![1.0],
            threshold: None,
            vote: true,
            search: SearchConfig::default(),
        }
    }

    /// Every rotation with every scale, the plain one first.
    pub fn variants(&self) -> Vec<(f64, f64)> {
        let mut all: Vec<(f64, f64)> = self.rotations.iter().flat_map(|r| self.scales.iter().map(|s| (*r, *s))).collect();
        all.sort_by(|a, b| (a.0.abs() + (a.1 - 1.0).abs()).total_cmp(&(b.0.abs() + (b.1 - 1.0).abs())));
        all
    }

    fn check(&self) -> Result<()> {
        let finite = self.rotations.iter().chain(&self.scales).all(|v| v.is_finite()) && self.scales.iter().all(|s| *s > 0.0);
        if self.rotations.is_empty() || self.scales.is_empty() || !finite {
            return Err(Error::invalid("rotations and scales to try must be numbers, one of each at least, scales above 0"));
        }
        if self.prior_m.is_some_and(|m| !(m.is_finite() && m > 0.0)) {
            return Err(Error::invalid("the prior must be a distance in metres above 0"));
        }
        if self.threshold.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
            return Err(Error::invalid("the threshold is a probability, 0 to 1"));
        }
        Ok(())
    }
}

/// A patch and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseFix {
    /// Its centre in the SAR image, SAR pixels.
    pub sar_px: [f64; 2],
    /// Where the image's own georeference puts it, map pixels; not used in the search unless as a prior.
    pub own_px: Option<[f64; 2]>,
    /// Its peaks.
    pub found: Match,
    /// The peak that is the fix; none where there is no peak at all.
    pub peak: Option<Peak>,
    /// The probability that the fix is right.
    pub probability: f64,
    /// Whether it is probable enough; else the answer is "not found".
    pub accepted: bool,
    /// Where the true place lies with a probability of 95 %.
    pub ellipse: Option<Ellipse>,
    /// Rotation (degrees) and factor of scale of the fix, of those tried.
    pub variant: (f64, f64),
}

/// What became of a SAR image.
#[derive(Debug)]
pub struct DenseLocated {
    /// How it lies on the map.
    pub frame: Frame,
    /// Its patches.
    pub fixes: Vec<DenseFix>,
    /// Patches left out for want of data.
    pub no_data: usize,
    /// Patches that the vote agrees on; none where they did not vote.
    pub agreeing: Option<usize>,
    /// Seconds of the search, features included.
    pub seconds: f64,
}

/// What the highest peak of a match is worth.
pub fn evidence(found: &Match) -> Evidence {
    let height = |p: Option<&Peak>| p.map_or(0.0, |p| (f64::from(p.score) - found.mean) / found.noise.max(1e-12));
    Evidence { height: height(found.peaks.first()), runner_up: height(found.peaks.get(1)), offsets: found.offsets }
}

/// Fix, probability and ellipse of a patch by itself.
pub fn fix(found: &Match, calibration: &Calibration, metres: f64) -> (Option<Peak>, f64, Option<Ellipse>) {
    let peak = found.peaks.first().copied();
    let probability = if peak.is_some() { calibration.probability(&evidence(found)) } else { 0.0 };
    let ellipse = peak.map(|p| Ellipse::new(calibration.covariance(&p, found.noise, metres), metres));
    (peak, probability, ellipse)
}

/// Records that cut a patch out in each variant.
pub(crate) fn variant_records(centre: [f64; 2], matrix: [[f64; 2]; 2], variants: &[(f64, f64)], side: usize) -> Result<Vec<PatchRecord>> {
    let one = |(degrees, scale): &(f64, f64)| {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let turn = [[cos * scale, -sin * scale], [sin * scale, cos * scale]];
        Ok(PatchRecord::from_affine(0, centre, compose(matrix, turn), side)?)
    };
    variants.iter().map(one).collect()
}

/// Cuts a SAR image into patches and finds each on the map. `progress(done, total)` counts patches.
///
/// # Errors
/// As [`Frame::new`] and [`patches`]; patches larger than the database was made for; a prior for an image without a georeference; the
/// device.
pub fn locate_dense(
    matcher: &Matcher<'_>,
    sar: &Arc<Image>,
    config: &DenseConfig,
    progress: impl FnMut(usize, usize),
) -> Result<DenseLocated> {
    config.check()?;
    let start = Instant::now();
    let database = matcher.database();
    let (map, layout) = (&database.manifest.map, &database.manifest.layout);
    let frame = Frame::new(map, sar, config.pixel_m)?;
    if config.prior_m.is_some() && frame.own.is_none() {
        return Err(Error::invalid(format!(
            "{}: a prior limits the search around the image's own georeference, and it has none; leave --prior out",
            sar.raster.path().display()
        )));
    }
    let side = layout.query_side(f64::from(config.patch))?;
    // What is cut out is a whole number of feature pixels.
    let cut = LocateConfig { patch: config.patch, step: config.step, top: 1, pixel_m: config.pixel_m, prior_m: None };
    let (patches, no_data) = patches(sar, &frame, &cut, side)?;
    let variants = config.variants();
    let matrix = compose(frame.matrix, [[layout.step, 0.0], [0.0, layout.step]]);
    let records = patches.iter().map(|p| variant_records(p.sar_px, matrix, &variants, side)).collect::<Result<Vec<_>>>()?.concat();
    let mut cache = PageCache::new(matcher.engine(), vec![sar.clone()], DEFAULT_PAGES)?;
    let taps = sampler::taps_for(frame.scale() * layout.step);
    let mut search = matcher.prepare(&cache, side, taps, records.len(), config.search)?;
    let mut found = search.run(&mut cache, &records, variants.len(), progress)?;
    if let Some(metres) = config.prior_m {
        within(&mut found, &patches, database, metres)?;
    }
    let calibration = matcher.model().calibration();
    let metres = map.ground_m() * layout.step;
    let votes = (config.vote && patches.len() > 1).then(|| {
        let to_map = inverse(&frame.matrix);
        let expected: Vec<[f64; 2]> =
            patches.iter().map(|p| [0, 1].map(|d| to_map[d][0] * p.sar_px[0] + to_map[d][1] * p.sar_px[1])).collect();
        // Registration errors differ by some pixels from patch to patch; a rotation or scale between those tried bends the image.
        let stretch = if variants.len() > 1 { 0.03 } else { 0.01 };
        vote(&found, &expected, 6.0 * layout.step, stretch)
    });
    let threshold = config.threshold.unwrap_or(calibration.threshold);
    let mut fixes = Vec::with_capacity(patches.len());
    for (i, (patch, found)) in patches.into_iter().zip(found).enumerate() {
        let (mut peak, mut probability, mut ellipse) = fix(&found, calibration, metres);
        if let Some(chosen) = votes.as_ref().filter(|v| v.agreeing > 1).and_then(|v| v.chosen[i]) {
            let v = votes.as_ref().expect("filtered");
            let root = |credit: f64| (2.0 * credit).sqrt();
            let joint = Evidence { height: root(v.credit), runner_up: root(v.runner_up), offsets: found.offsets };
            let joint = calibration.probability(&joint);
            if chosen > 0 || joint > probability {
                let p = found.peaks[chosen];
                (peak, ellipse) = (Some(p), Some(Ellipse::new(calibration.covariance(&p, found.noise, metres), metres)));
                probability = joint;
            }
        }
        let variant = peak.map_or((0.0, 1.0), |p| variants[p.variant.min(variants.len() - 1)]);
        let accepted = peak.is_some() && probability >= threshold;
        fixes.push(DenseFix { sar_px: patch.sar_px, own_px: patch.own_px, found, peak, probability, accepted, ellipse, variant });
    }
    let agreeing = votes.map(|v| v.agreeing);
    Ok(DenseLocated { frame, fixes, no_data, agreeing, seconds: start.elapsed().as_secs_f64() })
}

/// Drops peaks farther than `metres` from where the image's own georeference puts the patch.
fn within(found: &mut [Match], patches: &[Patch], database: &super::DenseDatabase, metres: f64) -> Result<()> {
    let (geo, crs) = database.manifest.map.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    for (m, patch) in found.iter_mut().zip(patches) {
        let Some(own) = patch.own_px else {
            m.peaks.clear();
            continue;
        };
        let here = lonlat(own)?;
        let mut keep = Vec::with_capacity(m.peaks.len());
        for p in &m.peaks {
            if lonlat_distance_m(lonlat(p.map_px)?, here) <= metres {
                keep.push(*p);
            }
        }
        m.peaks = keep;
    }
    Ok(())
}
