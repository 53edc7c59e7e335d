//! Locating by dense matching: a SAR image is cut into patches at the map's scale; each is correlated with the whole map.
//!
//! As with [`crate::index::locate`], the image's own place is not used: only the ground size of its pixels and the direction of north.

use super::closer::Closer;
use super::domain::Distance;
use super::fix::{Calibration, Ellipse, Evidence};
use super::matcher::{Match, Matcher, Peak, SearchConfig};
use super::vote::vote;
use crate::index::{CellHit, Database, LocateConfig, Patch, patches};
use crate::kernels::sampler::{self, PatchRecord};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Frame, Image, Mirrored, PageCache, compose, lonlat_distance_m};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// How far a patch's corner may lie from where the nearest rotation or scale that is tried puts it, feature pixels.
const CORNER_PX: f64 = 1.5;

/// Values from -`range` to `range`, 0 among them, so close that a corner of a patch of `side` feature pixels lies at most
/// 1.5 of them from where the nearest of these puts it: rotations in radians, or scales less 1.
pub fn spread(range: f64, side: usize) -> Vec<f64> {
    let corner = side as f64 / std::f64::consts::SQRT_2;
    let n = (range.abs() * corner / (2.0 * CORNER_PX) - 1e-9).ceil().max(0.0) as i32;
    (-n..=n).map(|i| if n == 0 { 0.0 } else { range.abs() * f64::from(i) / f64::from(n) }).collect()
}

/// What retrieval says beforehand of where the patches of an image lie.
///
/// A peak in one of its patch's cells rises by `weight` times the cell's cosine, in standard deviations of the patch's surface: the
/// highest of several cells counts, cosines below 0 do not.
#[derive(Debug, Clone, PartialEq)]
pub struct Hints {
    /// Centre of each patch in the SAR image, and the cells found for it.
    pub patches: Vec<([f64; 2], Vec<Hint>)>,
    /// Standard deviations for a cosine of 1; 0 lets the cells choose the places that are searched, and no more.
    pub weight: f64,
}

/// A cell that may hold a patch's centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hint {
    /// Left, top, right, bottom, map pixels.
    pub within: [f64; 4],
    /// Cosine of its best view.
    pub cosine: f32,
}

impl Hint {
    /// The cell of a hit: what lies nearer to its centre than to those of its neighbours.
    pub fn new(database: &Database, hit: &CellHit) -> Self {
        let grid = &database.manifest.grid;
        let half = f64::from(grid.cell.max(grid.stride)) / 2.0;
        let [x, y] = database.cell_px[hit.cell as usize];
        Self { within: [x - half, y - half, x + half, y + half], cosine: hit.score }
    }

    /// Whether a place on the map lies in it.
    pub fn holds(&self, [x, y]: [f64; 2]) -> bool {
        let [x0, y0, x1, y1] = self.within;
        (x0..=x1).contains(&x) && (y0..=y1).contains(&y)
    }
}

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
    /// Whether an image without a georeference is mirrored.
    pub mirrored: Mirrored,
    /// Rotations of the image to try, degrees clockwise; 0 is how its georeference turns it.
    pub rotations: Vec<f64>,
    /// Factors of the image's scale to try.
    pub scales: Vec<f64>,
    /// A fix less probable than this is "not found"; none takes the features' own threshold.
    pub threshold: Option<f64>,
    /// Whether the patches vote together.
    pub vote: bool,
    /// What retrieval found, as a prior.
    pub hints: Option<Hints>,
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
            mirrored: Mirrored::Auto,
            rotations: vec![0.0],
            scales: vec![1.0],
            threshold: None,
            vote: true,
            hints: None,
            search: SearchConfig::default(),
        }
    }

    /// Tries rotations of up to `degrees` and scales of up to `share` off, both ways, for patches of `side` feature pixels: see [`spread`].
    #[must_use]
    pub fn around(mut self, degrees: f64, share: f64, side: usize) -> Self {
        self.rotations = spread(degrees.to_radians(), side).into_iter().map(f64::to_degrees).collect();
        self.scales = spread(share, side).into_iter().map(|s| 1.0 + s).collect();
        self
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
        if self.hints.as_ref().is_some_and(|h| !(h.weight.is_finite() && h.weight >= 0.0)) {
            return Err(Error::invalid("the weight of the index's cosines must be a number, 0 or above"));
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
    /// Side of a patch, map pixels: a whole number of feature pixels.
    pub side_px: f64,
    /// Patches that the vote agrees on; none where they did not vote.
    pub agreeing: Option<usize>,
    /// How far the images lie from what the features' calibration was made of.
    pub distance: Distance,
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

/// A turn clockwise by degrees and a factor of scale.
pub fn turn((degrees, scale): (f64, f64)) -> [[f64; 2]; 2] {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [[cos * scale, -sin * scale], [sin * scale, cos * scale]]
}

/// Records that cut a patch out in each variant.
pub(crate) fn variant_records(centre: [f64; 2], matrix: [[f64; 2]; 2], variants: &[(f64, f64)], side: usize) -> Result<Vec<PatchRecord>> {
    let one = |v: &(f64, f64)| Ok(PatchRecord::from_affine(0, centre, compose(matrix, turn(*v)), side)?);
    variants.iter().map(one).collect()
}

/// Cuts a SAR image into patches and finds each on the map. `progress(done, total)` counts patches. With `closer` and the map, the best places of
/// each patch are searched again at a finer scale. Where it is not known whether the image is mirrored, both ways are searched, and the one whose
/// fixes are more probable is kept.
///
/// # Errors
/// As [`Frame::new`] and [`patches`]; patches larger than the database was made for; a prior for an image without a georeference; the
/// device.
pub fn locate_dense(
    matcher: &Matcher<'_>,
    sar: &Arc<Image>,
    config: &DenseConfig,
    closer: Option<(&Closer, &Arc<Image>)>,
    mut progress: impl FnMut(usize, usize),
) -> Result<DenseLocated> {
    config.check()?;
    let start = Instant::now();
    let frame = Frame::new(&matcher.database().manifest.map, sar, config.pixel_m)?;
    if config.prior_m.is_some() && frame.own.is_none() {
        return Err(Error::invalid(format!(
            "{}: a prior limits the search around the image's own georeference, and it has none; leave --prior out",
            sar.raster.path().display()
        )));
    }
    let frames = frame.ways(config.mirrored)?;
    let ways = frames.len();
    let sure = |l: &DenseLocated| l.fixes.iter().map(|f| f.probability).sum::<f64>();
    let mut best: Option<DenseLocated> = None;
    for (i, frame) in frames.into_iter().enumerate() {
        let one = locate_as(frame, ways, matcher, sar, config, closer, |done, total| progress(i * total + done, ways * total))?;
        if best.as_ref().is_none_or(|b| sure(&one) > sure(b)) {
            best = Some(one);
        }
    }
    let best = best.expect("one way at least");
    Ok(DenseLocated { seconds: start.elapsed().as_secs_f64(), ..best })
}

/// Locates an image that lies as a frame says, of `ways` that are tried.
fn locate_as(
    frame: Frame,
    ways: usize,
    matcher: &Matcher<'_>,
    sar: &Arc<Image>,
    config: &DenseConfig,
    closer: Option<(&Closer, &Arc<Image>)>,
    progress: impl FnMut(usize, usize),
) -> Result<DenseLocated> {
    let database = matcher.database();
    let (map, layout) = (&database.manifest.map, &database.manifest.layout);
    let side = layout.query_side(f64::from(config.patch))?;
    fits(sar, &frame, layout, config.patch)?;
    // What is cut out is a whole number of feature pixels.
    let cut =
        LocateConfig { patch: config.patch, step: config.step, top: 1, pixel_m: config.pixel_m, prior_m: None, mirrored: Mirrored::No };
    let (patches, no_data) = patches(sar, &frame, &cut, side)?;
    let variants = config.variants();
    let cut = |p: [f64; 2]| compose(frame.matrix_at(p), [[layout.step, 0.0], [0.0, layout.step]]);
    let records = patches.iter().map(|p| variant_records(p.sar_px, cut(p.sar_px), &variants, side)).collect::<Result<Vec<_>>>()?.concat();
    let mut cache = PageCache::new(matcher.engine(), vec![sar.clone()], DEFAULT_PAGES)?;
    let taps = sampler::taps_for(frame.scale() * layout.step);
    // The best of each tile, too, where peaks are chosen by more than their height.
    let tiles = config.search.tiles || config.prior_m.is_some();
    let mut search = matcher.prepare(&cache, side, taps, records.len(), SearchConfig { tiles, ..config.search })?;
    let mut found = search.run(&mut cache, &records, variants.len(), progress)?;
    // A place that is right by chance is as likely in each way.
    found.iter_mut().for_each(|m| m.offsets *= ways as f64);
    if let Some(metres) = config.prior_m {
        within(&mut found, &patches, database, metres, &config.search)?;
    }
    if let Some(hints) = &config.hints {
        credit(&mut found, &patches, hints);
    }
    if let Some((closer, image)) = closer {
        for (m, patch) in found.iter_mut().zip(&patches) {
            let variant = m.peaks.first().map_or(0, |p| p.variant.min(variants.len() - 1));
            let pose = (patch.sar_px, compose(frame.matrix_at(patch.sar_px), turn(variants[variant])));
            let mut fine = closer.look(matcher.engine(), matcher.model(), image, &mut cache, database, pose, f64::from(config.patch), m)?;
            fine.peaks.iter_mut().for_each(|p| p.variant = variant);
            *m = Match { tiles: m.tiles.take(), ..fine };
        }
    }
    let distance = super::domain::distance(matcher, sar, frame.scale() * layout.step)?;
    let calibration = &matcher.model().calibration().at(&distance);
    let metres = closer.map_or(map.ground_m() * layout.step, |(c, _)| c.metres);
    let expected: Vec<[f64; 2]> = patches.iter().map(|p| frame.relative(p.sar_px)).collect();
    let votes = (config.vote && patches.len() > 1).then(|| {
        // Registration errors differ by some pixels from patch to patch; a rotation or scale between those tried bends the image.
        let stretch = if variants.len() > 1 { 0.03 } else { 0.01 };
        let share = (f64::from(config.step) / f64::from(config.patch)).min(1.0).powi(2);
        vote(&found, &expected, 6.0 * layout.step, stretch, layout.step, share)
    });
    // Where the patches that agree put each, if any of them is near.
    let agreed: Vec<([f64; 2], [f64; 2])> = match votes.as_ref().filter(|v| v.agreeing > 1 && variants.len() == 1) {
        Some(v) => (0..found.len()).filter_map(|i| Some((expected[i], found[i].peaks[v.chosen[i]?].map_px))).collect(),
        None => Vec::new(),
    };
    let threshold = config.threshold.unwrap_or(calibration.threshold);
    let mut fixes = Vec::with_capacity(patches.len());
    for (i, (patch, found)) in patches.into_iter().zip(found).enumerate() {
        let (mut peak, mut probability, mut ellipse) = fix(&found, calibration, metres);
        if let Some(v) = votes.as_ref().filter(|v| v.agreeing > 1) {
            let root = |credit: f64| (2.0 * credit.max(0.0)).sqrt();
            let joint = Evidence { height: root(v.credit), runner_up: root(v.runner_up), offsets: found.offsets };
            let joint = calibration.probability(&joint);
            match (v.chosen[i], peak) {
                (Some(chosen), _) if chosen > 0 || joint > probability => {
                    let p = found.peaks[chosen];
                    (peak, ellipse) = (Some(p), Some(Ellipse::new(calibration.covariance(&p, found.noise, metres), metres)));
                    probability = joint;
                }
                // An image is whole: what lies elsewhere is right only if those that agree are wrong.
                (None, Some(p)) if contradicts(&agreed, expected[i], p.map_px, f64::from(config.patch)) => probability *= 1.0 - joint,
                _ => {}
            }
        }
        let variant = peak.map_or((0.0, 1.0), |p| variants[p.variant.min(variants.len() - 1)]);
        let accepted = peak.is_some() && probability >= threshold;
        fixes.push(DenseFix { sar_px: patch.sar_px, own_px: patch.own_px, found, peak, probability, accepted, ellipse, variant });
    }
    let agreeing = votes.map(|v| v.agreeing);
    Ok(DenseLocated { frame, fixes, no_data, side_px: side as f64 * layout.step, agreeing, distance, seconds: 0.0 })
}

/// Whether a place lies more than half a patch from where the nearest agreeing patch, no farther than three patches off, puts it.
///
/// `agreed` are such patches' places in the image, at the map's scale, and on the map.
fn contradicts(agreed: &[([f64; 2], [f64; 2])], expected: [f64; 2], place: [f64; 2], patch: f64) -> bool {
    let apart = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let nearest = agreed.iter().min_by(|a, b| apart(a.0, expected).total_cmp(&apart(b.0, expected)));
    nearest.is_some_and(|(image, map)| {
        let there = [0, 1].map(|d| map[d] + expected[d] - image[d]);
        apart(*image, expected) <= 3.0 * patch && apart(there, place) > patch / 2.0
    })
}

/// Refuses an image that is smaller than one patch, and says how large a patch it holds.
fn fits(sar: &Image, frame: &Frame, layout: &super::Layout, patch: u32) -> Result<()> {
    let raster = &sar.raster;
    let size = [raster.width(), raster.height()].map(f64::from);
    let unit = frame.extent(1.0);
    let most = (size[0] / unit[0]).min(size[1] / unit[1]);
    if f64::from(patch) * unit[0] <= size[0] + 0.5 && f64::from(patch) * unit[1] <= size[1] + 0.5 {
        return Ok(());
    }
    let advice = match layout.query_side(most.floor()) {
        Ok(_) => format!("give --patch {:.0} or less, or take a larger image", most.floor()),
        Err(_) => "too little to be found; take a larger image".into(),
    };
    Err(Error::invalid(format!(
        "{}: {}x{} px of {:.2} m is smaller than one patch of {patch} map pixels: it covers {most:.0}; {advice} (or check --pixel-size)",
        raster.path().display(),
        raster.width(),
        raster.height(),
        frame.pixel_m
    )))
}

/// Keeps peaks within `metres` of where the image's own georeference puts the patch. The matches must have tiles.
fn within(found: &mut [Match], patches: &[Patch], database: &super::DenseDatabase, metres: f64, search: &SearchConfig) -> Result<()> {
    let (geo, crs) = database.manifest.map.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    for (m, patch) in found.iter_mut().zip(patches) {
        let here = patch.own_px.map(lonlat).transpose()?;
        let near = |p: [f64; 2]| -> Result<bool> {
            match here {
                Some(here) => Ok(lonlat_distance_m(lonlat(p)?, here) <= metres),
                None => Ok(false),
            }
        };
        keep_where(m, search, database.manifest.layout.step, near)?;
    }
    Ok(())
}

/// Keeps a match's peaks at places that pass; where higher ones elsewhere crowded out those, the best of each tile there stands in. The
/// match must have tiles; `step` is the map pixels a feature pixel.
///
/// # Errors
/// What `passes` returns.
pub fn keep_where(m: &mut Match, search: &SearchConfig, step: f64, passes: impl Fn([f64; 2]) -> Result<bool>) -> Result<()> {
    let apart = search.apart as f64 * step;
    let tiles = m.tiles.take().unwrap_or_default();
    let mut keep = Vec::with_capacity(m.peaks.len());
    for p in &m.peaks {
        if passes(p.map_px)? {
            keep.push(*p);
        }
    }
    let (variant, all) = (m.peaks.first().map_or(0, |p| p.variant), tiles.len());
    let mut others = Vec::new();
    for (at, score) in &tiles {
        let map_px = at.map(f64::from);
        if passes(map_px)? {
            // Its shape is not known: a fix to some feature pixels.
            others.push(Peak { map_px, score: *score, curvature: [0.0; 3], variant });
        }
    }
    m.offsets *= others.len() as f64 / all.max(1) as f64;
    others.sort_by(|a, b| b.score.total_cmp(&a.score));
    for p in others {
        if keep.len() >= search.top {
            break;
        }
        if keep.iter().all(|k: &Peak| (0..2).any(|d| (k.map_px[d] - p.map_px[d]).abs() > apart)) {
            keep.push(p);
        }
    }
    keep.sort_by(|a, b| b.score.total_cmp(&a.score));
    m.peaks = keep;
    m.tiles = search.tiles.then_some(tiles);
    Ok(())
}

/// Raises peaks that lie in a cell that retrieval found for their patch.
fn credit(found: &mut [Match], patches: &[Patch], hints: &Hints) {
    let key = |p: [f64; 2]| p.map(f64::to_bits);
    let cells: HashMap<[u64; 2], &[Hint]> = hints.patches.iter().map(|(p, c)| (key(*p), &c[..])).collect();
    for (m, patch) in found.iter_mut().zip(patches) {
        if let Some(cells) = cells.get(&key(patch.sar_px)) {
            raise(m, cells, hints.weight);
        }
    }
}

/// Raises a match's peaks by `weight` standard deviations of its surface times the cosine of the cell they lie in: see [`Hints`].
pub fn raise(m: &mut Match, cells: &[Hint], weight: f64) {
    for peak in &mut m.peaks {
        let best = cells.iter().filter(|c| c.holds(peak.map_px)).map(|c| f64::from(c.cosine)).fold(0.0, f64::max);
        peak.score += (weight * best * m.noise) as f32;
    }
    m.peaks.sort_by(|a, b| b.score.total_cmp(&a.score));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_stay_near_what_is_tried() {
        assert_eq!(spread(0.0, 100), [0.0]);
        for (range, side) in [(0.05, 120), (0.3, 12), (std::f64::consts::PI, 40), (1e-4, 60)] {
            let all = spread(range, side);
            assert!(all.contains(&0.0) && (all[0] + range).abs() < 1e-12 && (all[all.len() - 1] - range).abs() < 1e-12, "{all:?}");
            let corner = side as f64 / 2f64.sqrt();
            assert!(all.windows(2).all(|w| (w[1] - w[0]) / 2.0 * corner <= CORNER_PX + 1e-9), "{all:?}");
        }
    }

    #[test]
    fn a_place_far_from_where_neighbours_put_it_contradicts_them() {
        let agreed = [([0.0, 0.0], [1000.0, 500.0]), ([200.0, 0.0], [1205.0, 500.0])];
        for (expected, place, want) in [
            ([200.0, 200.0], [1210.0, 690.0], false),
            ([200.0, 200.0], [1210.0, 590.0], true),
            ([0.0, 200.0], [4000.0, 4000.0], true),
            // Too far from any of them to tell.
            ([2000.0, 200.0], [4000.0, 4000.0], false),
        ] {
            assert_eq!(contradicts(&agreed, expected, place, 200.0), want, "{expected:?} {place:?}");
        }
        assert!(!contradicts(&[], [0.0; 2], [1.0; 2], 200.0));
    }

    #[test]
    fn a_cell_of_the_index_raises_its_peaks() {
        let peak = |x: f64, score| Peak { map_px: [x, 50.0], score, curvature: [1.0, 0.0, 1.0], variant: 0 };
        let m = Match { peaks: vec![peak(900.0, 0.5), peak(50.0, 0.48)], mean: 0.0, noise: 0.1, offsets: 1e4, tiles: None };
        let patch = Patch { sar_px: [7.0, 8.0], record: PatchRecord::empty(), own_px: None, hits: Vec::new() };
        let cell = Hint { within: [0.0, 0.0, 100.0, 100.0], cosine: 0.5 };
        for (weight, first) in [(1.0, 50.0), (0.1, 900.0), (0.0, 900.0)] {
            let mut found = [m.clone()];
            credit(&mut found, std::slice::from_ref(&patch), &Hints { patches: vec![([7.0, 8.0], vec![cell])], weight });
            assert!((found[0].peaks[0].map_px[0] - first).abs() < 1e-12, "{weight}: {found:?}");
        }
    }
}
