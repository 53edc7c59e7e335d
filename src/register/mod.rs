//! Registering a SAR image to a map: many patches of it are found on the map, and a transform is fitted through them.
//!
//! First some large patches anywhere on the map, each with several candidate places; an affine transform on which enough of them agree
//! (a consensus that chance does not explain) is the first guess. Then many smaller ones, cut as that turns and scales them and sought
//! near where it puts them; the robust fit through these is the answer. Of the image's own georeference only the ground size of a pixel and
//! the direction of north are used.

mod consensus;
mod dense;
mod fit;
mod model;
mod relief;

pub use consensus::{Consensus, ConsensusConfig, Limits, consensus};
pub use dense::DenseFinder;
pub use fit::{Fit, FitConfig, fit, fit_best};
pub use model::{Model, ModelKind, TiePoint};
pub use relief::{Relief, heights, relief};

use crate::dense::{Pose as Lie, PoseConfig, Variant};
use crate::scene::warp::{Target, resample_about};
use crate::scene::{Crs, Frame, GeoTransform, Image, MapInfo, Mirrored, Raster, ValidityMask, compose, inverse};
use crate::{Error, Result};
use std::path::Path;
use std::time::Instant;

/// A patch is used where at least this share of it has data.
const MIN_VALID: f64 = 0.75;
/// A pose less probable than this is not relied on.
const SURE: f64 = 0.5;
/// Triples drawn for a consensus.
const DRAWS: usize = 200_000;

/// A patch to be found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query {
    /// Its centre in the SAR image, SAR pixels.
    pub sar_px: [f64; 2],
    /// From offsets in map pixels to offsets in SAR pixels: how it is cut.
    pub matrix: [[f64; 2]; 2],
    /// Where it is expected, map pixels; anywhere if none.
    pub near: Option<[f64; 2]>,
}

/// How patches are sought.
#[derive(Debug, Clone, PartialEq)]
pub struct Hunt {
    /// Side of the patches, map pixels.
    pub patch: u32,
    /// Map pixels around the place expected.
    pub reach_px: f64,
    /// Turns and scales to try on each, as [`Pose`] counts them, against how its query cuts it.
    pub variants: Vec<Variant>,
    /// Candidates kept of each patch.
    pub top: usize,
}

/// A place where a patch may lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Centre of the patch there, map pixels.
    pub map_px: [f64; 2],
    /// Its credit beside other candidates, above 0.
    pub credit: f64,
    /// The probability that it is right.
    pub probability: f64,
    /// Standard deviation of its place along the worse axis, map pixels.
    pub sigma_px: f64,
}

/// Finds patches of a SAR image on a map.
pub trait Finder {
    /// Map pixels a pixel of what is compared: places are good to about this.
    fn step_px(&self) -> f64;

    /// How the image lies, as far as it can tell from the image as a whole; none where it cannot. `progress(done, total)` counts units of work.
    ///
    /// # Errors
    /// Reading, the device.
    fn pose(&mut self, _frame: &Frame, _config: &PoseConfig, _progress: &mut dyn FnMut(usize, usize)) -> Result<Option<Lie>> {
        Ok(None)
    }

    /// Candidates of each patch, the most credible first; none where there are none.
    ///
    /// # Errors
    /// Reading, the device.
    fn find(&mut self, queries: &[Query], hunt: &Hunt, progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<Vec<Candidate>>>;
}

/// How an image is registered.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterConfig {
    /// What is fitted; none takes a similarity or an affine transform, whichever predicts better where there are no points.
    pub kind: Option<ModelKind>,
    /// Side of the patches sought first, over the whole map; map pixels.
    pub coarse_patch: u32,
    /// How many of them at most.
    pub coarse_fixes: usize,
    /// Side of the patches sought then, near where the first put them; map pixels.
    pub patch: u32,
    /// How many of them at most.
    pub fixes: usize,
    /// How near, metres.
    pub reach_m: f64,
    /// Rotations to try on the first patches, as [`Pose::rotation_deg`] counts them: degrees clockwise by which the image is turned on the map
    /// against what its georeference says.
    pub rotations: Vec<f64>,
    /// Scales to try on them, as [`Pose::scale`] counts them: above 1 where a pixel is larger on the ground than claimed.
    pub scales: Vec<f64>,
    /// Of an image that does not say how it lies the whole circle is searched, and scales off by up to this share; none tries no more than the
    /// rotations and scales above.
    pub lost: Option<f64>,
    /// Ground size of a SAR pixel, metres; wins over the image's own georeference, and is needed where it has none.
    pub pixel_m: Option<f64>,
    /// Whether an image without a georeference is mirrored.
    pub mirrored: Mirrored,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for RegisterConfig {
    fn default() -> Self {
        Self {
            kind: None,
            coarse_patch: 200,
            coarse_fixes: 40,
            patch: 128,
            fixes: 250,
            reach_m: 400.0,
            rotations: vec![-3.0, 0.0, 3.0],
            scales: vec![1.0],
            lost: Some(0.25),
            pixel_m: None,
            mirrored: Mirrored::Auto,
            seed: 1,
        }
    }
}

impl RegisterConfig {
    fn check(&self) -> Result<()> {
        let finite = self.rotations.iter().chain(&self.scales).all(|v| v.is_finite()) && self.scales.iter().all(|s| *s > 0.0);
        if self.rotations.is_empty() || self.scales.is_empty() || !finite {
            return Err(Error::invalid("rotations and scales to try must be numbers, one of each at least, scales above 0"));
        }
        if !(self.reach_m.is_finite() && self.reach_m > 0.0) {
            return Err(Error::invalid("the reach must be a distance in metres above 0"));
        }
        if self.coarse_patch == 0 || self.patch == 0 {
            return Err(Error::invalid("patches must be larger than 0"));
        }
        Ok(())
    }

    /// The plain variant first, then all there are.
    fn stages(&self) -> Vec<Vec<Variant>> {
        let mut all: Vec<Variant> = self.rotations.iter().flat_map(|r| self.scales.iter().map(|s| Variant::new(*r, *s))).collect();
        let off = |v: &Variant| v.rotation_deg.abs() + (v.scale - 1.0).abs();
        all.sort_by(|a, b| off(a).total_cmp(&off(b)));
        all.dedup();
        match all.len() {
            1 => vec![all],
            _ => vec![all[..1].to_vec(), all],
        }
    }
}

/// What the first patches said.
#[derive(Debug, Clone, PartialEq)]
pub struct Coarse {
    /// How many were sought.
    pub patches: usize,
    /// How many agree.
    pub agreeing: usize,
    /// Transforms as good expected by chance, logarithm to base 10.
    pub chance_log10: f64,
    /// Their transform.
    pub model: Model,
    /// Rotations and scales that were tried.
    pub variants: usize,
}

/// How the image lies, against its own georeference.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Pose {
    /// Metres to the east and to the north by which its middle lies off where its own georeference puts it; none without one.
    pub shift_m: Option<[f64; 2]>,
    /// Degrees clockwise by which the image is turned on the map against it (against the map's axes, where it has none).
    #[serde(rename = "rotation_clockwise_deg")]
    pub rotation_deg: f64,
    /// Largest and smallest factor by which its pixels are larger on the ground than claimed: above 1, they are larger.
    pub scale: [f64; 2],
}

/// A registered image.
#[derive(Debug, Clone)]
pub struct Registration {
    /// How the image was taken to lie, but for its place.
    pub frame: Frame,
    /// The first patches.
    pub coarse: Coarse,
    /// Patches of the second round.
    pub sought: usize,
    /// Those with a candidate near where they were expected: its place.
    pub points: Vec<TiePoint>,
    /// The transform, and how the points fit it.
    pub fit: Fit,
    /// What it says.
    pub pose: Pose,
    /// Ground size of a map pixel, metres.
    pub map_pixel_m: f64,
    /// Seconds of the first and of the second round.
    pub seconds: [f64; 2],
}

/// Which round `progress` speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// The image as a whole, wherever and however it lies.
    Pose,
    /// Large patches over the whole map.
    Coarse,
    /// Many patches near where they are expected.
    Fine,
}

/// Centres of patches, spread evenly over where the image has data; at most about `count`, and no closer than `least` SAR pixels.
/// `matrix` and `side` say what a patch covers.
fn lattice(size: [u32; 2], mask: &ValidityMask, matrix: [[f64; 2]; 2], side: f64, count: usize, least: f64) -> Vec<[f64; 2]> {
    let size = size.map(f64::from);
    let extent = matrix.map(|row| (row[0].abs() + row[1].abs()) * side);
    // A corner of a turned patch may hang over.
    let room = [0, 1].map(|d| (size[d] - 0.9 * extent[d]).max(0.0));
    let covered = |c: &[f64; 2]| {
        const PARTS: i32 = 6;
        let part = side / f64::from(PARTS);
        let edge = part * (matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0]).abs().sqrt();
        let at = |i: i32| (f64::from(i) + 0.5) * part - side / 2.0;
        let share = |i: i32| {
            let (u, v) = (at(i % PARTS), at(i / PARTS));
            let [x, y] = [0, 1].map(|d| c[d] + matrix[d][0] * u + matrix[d][1] * v);
            mask.share(x - edge / 2.0, y - edge / 2.0, edge, edge)
        };
        (0..PARTS * PARTS).map(share).sum::<f64>() / f64::from(PARTS * PARTS) >= MIN_VALID
    };
    let spread = |step: f64| -> Vec<[f64; 2]> {
        let axis = |d: usize| {
            let n = (room[d] / step).floor() as usize + 1;
            // The rest is left on both sides.
            let first = (size[d] - (n - 1) as f64 * step) / 2.0;
            (0..n).map(move |i| first + i as f64 * step)
        };
        axis(1).flat_map(|y| axis(0).map(move |x| [x, y])).filter(covered).collect()
    };
    let mut step = (room[0] * room[1] / count.max(1) as f64).sqrt().max(least);
    let mut best = spread(step);
    // Where much of the image is empty, a closer lattice has as many patches in what is not.
    for _ in 0..12 {
        let next = (step * 0.85).max(least);
        let more = spread(next);
        if next == step || more.len() > count {
            break;
        }
        (step, best) = (next, more);
    }
    while best.len() > count {
        step *= 1.1;
        best = spread(step);
    }
    best
}

/// Registers a SAR image to a map. `progress(round, done, total)` counts what the round takes: parts of the map, then patches.
///
/// # Errors
/// As [`Frame::new`]; an image with too few patches; patches that agree on nothing, or too few that do; those of the finder.
pub fn register(
    map: &MapInfo,
    sar: &Image,
    finder: &mut dyn Finder,
    config: &RegisterConfig,
    mut progress: impl FnMut(Round, usize, usize),
) -> Result<Registration> {
    config.check()?;
    let start = Instant::now();
    let frame = Frame::new(map, sar, config.pixel_m)?;
    let size = [sar.raster.width(), sar.raster.height()];
    let name = sar.raster.path().display();
    let mask = ValidityMask::new(&sar.raster)?;
    let step_px = finder.step_px();

    // Round 1: anywhere.
    let side = f64::from(config.coarse_patch);
    let centres = lattice(size, &mask, frame.matrix, side, config.coarse_fixes, 0.5 * side * frame.scale());
    // The farthest rotation and scale that are searched, and as much again.
    let widest = |values: &[f64], plain: f64, least: f64| 2.0 * values.iter().fold(0.0f64, |a, v| a.max((v - plain).abs())).max(least);
    let limits = |frame: &Frame| Limits {
        matrix: frame.matrix,
        rotation_deg: widest(&config.rotations, 0.0, 3.0),
        stretch: widest(&config.scales, 1.0, 0.03),
    };
    let mut consensus_config = ConsensusConfig {
        tolerance_px: 5.0 * step_px,
        area_px2: f64::from(map.width) * f64::from(map.height),
        limits: None,
        draws: DRAWS,
        seed: config.seed,
    };
    let mut coarse = None;
    if let (Some(scale), false) = (config.lost, frame.oriented) {
        let search = PoseConfig { scale, mirrored: config.mirrored, ..PoseConfig::default() };
        let found = finder.pose(&frame, &search, &mut |done, total| progress(Round::Pose, done, total))?;
        if let Some(pose) = found.filter(|p| p.probability >= SURE) {
            let middle = size.map(|v| f64::from(v) / 2.0);
            let way = frame.ways(if pose.flipped { Mirrored::Yes } else { Mirrored::No })?.remove(0);
            let found = Coarse {
                patches: pose.agreeing[1],
                agreeing: pose.agreeing[0],
                chance_log10: pose.chance_log10,
                model: Model::affine(pose.matrix, pose.map_px, middle),
                variants: 1,
            };
            coarse = Some((found, way));
        }
    }
    let mut refused = None;
    let frames = frame.ways(config.mirrored)?;
    let stages = if coarse.is_some() { Vec::new() } else { config.stages() };
    if coarse.is_none() && centres.len() < 4 {
        return Err(Error::invalid(format!(
            "{name}: only {} patches of {} map pixels with data fit into it, and four at least are needed to agree on a transform; use a smaller --coarse-patch, or check --pixel-size",
            centres.len(),
            config.coarse_patch
        )));
    }
    for (variants, way) in stages.into_iter().flat_map(|v| frames.iter().map(move |f| (v.clone(), f))) {
        let queries: Vec<Query> = centres.iter().map(|c| Query { sar_px: *c, matrix: way.matrix, near: None }).collect();
        consensus_config.limits = Some(limits(way));
        let hunt = Hunt { patch: config.coarse_patch, reach_px: f64::INFINITY, variants, top: 5 };
        let found = finder.find(&queries, &hunt, &mut |done, total| progress(Round::Coarse, done, total))?;
        let (mut points, mut groups) = (Vec::new(), Vec::new());
        for (i, (query, candidates)) in queries.iter().zip(&found).enumerate() {
            for c in candidates.iter().take(hunt.top) {
                points.push(TiePoint { sar_px: query.sar_px, map_px: c.map_px, weight: c.credit });
                groups.push(i);
            }
        }
        match consensus(&points, &groups, &consensus_config) {
            Ok(found) => {
                let coarse_found = Coarse {
                    patches: queries.len(),
                    agreeing: found.chosen.len(),
                    chance_log10: found.chance_log10,
                    model: found.model,
                    variants: hunt.variants.len(),
                };
                coarse = Some((coarse_found, way.clone()));
                break;
            }
            Err(e) => refused = Some(e),
        }
    }
    let Some((coarse, frame)) = coarse else {
        let why = refused.map_or_else(String::new, |e| e.to_string());
        return Err(Error::invalid(format!(
            "{name}: cannot be placed on the map: {why}. Try more patches (--coarse-fixes), larger ones (--coarse-patch), more --rotations and --scales, or check --pixel-size and --sar-unit"
        )));
    };
    let first_s = start.elapsed().as_secs_f64();
    let start = Instant::now();

    // Round 2: near where the first puts them, cut as it turns and scales them.
    let pixel_m = map.ground_m();
    let reach_px = config.reach_m / pixel_m;
    let side = f64::from(config.patch);
    let middle = [f64::from(map.width) / 2.0, f64::from(map.height) / 2.0];
    let centres = lattice(size, &mask, coarse.model.derivative(middle), side, config.fixes, 0.25 * side * frame.scale());
    let inside = |p: &[f64; 2]| p[0] > 0.0 && p[1] > 0.0 && p[0] < f64::from(map.width) && p[1] < f64::from(map.height);
    let queries: Vec<Query> = centres
        .iter()
        .filter_map(|c| {
            let near = coarse.model.to_map(*c).filter(inside)?;
            Some(Query { sar_px: *c, matrix: coarse.model.derivative(near), near: Some(near) })
        })
        .collect();
    let hunt = Hunt { patch: config.patch, reach_px, variants: vec![Variant::PLAIN], top: 1 };
    let found = finder.find(&queries, &hunt, &mut |done, total| progress(Round::Fine, done, total))?;
    let points: Vec<TiePoint> = queries
        .iter()
        .zip(&found)
        .filter_map(|(q, candidates)| {
            let c = candidates.first()?;
            // A wrong place has no say by its weight alone: the fit finds it out.
            let weight = c.probability.max(0.01) / (c.sigma_px * c.sigma_px + step_px * step_px);
            Some(TiePoint { sar_px: q.sar_px, map_px: c.map_px, weight })
        })
        .collect();
    consensus_config.tolerance_px = 3.0 * step_px;
    consensus_config.area_px2 = std::f64::consts::PI * reach_px * reach_px;
    consensus_config.limits = Some(Limits { matrix: coarse.model.derivative(middle), ..limits(&frame) });
    let kinds = config.kind.map_or_else(|| vec![ModelKind::Similarity, ModelKind::Affine], |k| vec![k]);
    let fit = fit_best(&points, &FitConfig { kind: kinds[0], base: frame.matrix, consensus: consensus_config }, &kinds)
        .map_err(|e| Error::invalid(format!("{name}: {e}; {} patches of {} map pixels were sought", queries.len(), config.patch)))?;
    let pose = pose(map, &frame, &fit.model, size)?;
    let seconds = [first_s, start.elapsed().as_secs_f64()];
    Ok(Registration { frame, coarse, sought: queries.len(), points, fit, pose, map_pixel_m: pixel_m, seconds })
}

/// How a model places an image of `size` pixels, against its own georeference.
fn pose(map: &MapInfo, frame: &Frame, model: &Model, size: [u32; 2]) -> Result<Pose> {
    let middle = size.map(|v| f64::from(v) / 2.0);
    let lost = || Error::invalid("the transform puts the image's middle nowhere on the map; use a simpler --model");
    let here = model.to_map(middle).ok_or_else(lost)?;
    // From SAR pixels to metres on the map's axes, as found and as claimed.
    let metres = [[map.pixel_m[0], 0.0], [0.0, map.pixel_m[1]]];
    let found = compose(metres, inverse(&model.derivative(here)));
    let claimed = match &frame.own {
        Some(own) => own.jacobian(middle)?,
        None => inverse(&frame.matrix),
    };
    // The georeference's own scale does not count where the pixel's size was given.
    let claimed = match frame.own {
        Some(_) => {
            let given = inverse(&frame.matrix);
            let area = |m: &[[f64; 2]; 2]| (m[0][0] * m[1][1] - m[0][1] * m[1][0]).abs().sqrt();
            let factor = area(&given) / area(&claimed);
            // Projections stretch maps by a few parts in a thousand from place to place: that is no other pixel size.
            if (factor - 1.0).abs() > 0.02 { claimed.map(|row| row.map(|v| v * factor)) } else { claimed }
        }
        None => claimed,
    };
    let [[a, b], [c, d]] = compose(found, inverse(&compose(metres, claimed)));
    let (e, f, g, h) = ((a + d) / 2.0, (c - b) / 2.0, (a - d) / 2.0, (b + c) / 2.0);
    let shift_m = match &frame.own {
        Some(own) => {
            let (geo, crs) = map.georeference()?;
            let lonlat = |p: [f64; 2]| {
                let (x, y) = geo.pixel_to_map(p[0], p[1]);
                crs.to_lonlat(x, y)
            };
            let (claimed, found) = (lonlat(own.apply(middle)?)?, lonlat(here)?);
            let (east, north) = Crs::from_epsg(4326)?.meters_per_unit_at(found.0, found.1)?;
            let dlon = (found.0 - claimed.0 + 540.0).rem_euclid(360.0) - 180.0;
            Some([dlon * east, (found.1 - claimed.1) * north])
        }
        None => None,
    };
    // y points down, so a positive angle is clockwise.
    Ok(Pose { shift_m, rotation_deg: f.atan2(e).to_degrees(), scale: [e.hypot(f) + g.hypot(h), e.hypot(f) - g.hypot(h)] })
}

/// What part of the map's grid is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of the map.
    Map,
    /// As much of the map as the image covers.
    Sar,
}

/// Left, top, width and height, map pixels, of what an extent covers of a map.
///
/// # Errors
/// An image that lies wholly off the map.
pub fn extent_px(extent: Extent, map: &MapInfo, sar_size: [u32; 2], model: &Model) -> Result<[u32; 4]> {
    let size = [map.width, map.height];
    if extent == Extent::Map {
        return Ok([0, 0, size[0], size[1]]);
    }
    const PARTS: u32 = 32;
    let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
    for i in 0..=PARTS {
        for k in [0, PARTS] {
            for part in [[i, k], [k, i]] {
                let corner = [0, 1].map(|d| f64::from(part[d]) / f64::from(PARTS) * f64::from(sar_size[d]));
                let Some(p) = model.to_map(corner) else { continue };
                low = [0, 1].map(|d| low[d].min(p[d]));
                high = [0, 1].map(|d| high[d].max(p[d]));
            }
        }
    }
    let from = [0, 1].map(|d| low[d].floor().clamp(0.0, f64::from(size[d])) as u32);
    let to = [0, 1].map(|d| high[d].ceil().clamp(0.0, f64::from(size[d])) as u32);
    if from[0] >= to[0] || from[1] >= to[1] {
        return Err(Error::invalid("the image lies wholly off the map; nothing of it can be written on the map's grid"));
    }
    Ok([from[0], from[1], to[0] - from[0], to[1] - from[1]])
}

/// The affine transform from SAR pixels to map coordinates that follows a model best over an image of `size` pixels, and the most that it
/// leaves out anywhere there, map pixels: what a world file can say of a model.
///
/// # Errors
/// A model that puts a part of the image nowhere.
pub fn best_affine(map: &MapInfo, model: &Model, size: [u32; 2]) -> Result<(GeoTransform, f64)> {
    const PARTS: u32 = 16;
    let size = size.map(f64::from);
    let lost = || {
        Error::invalid(
            "the transform puts a part of the image nowhere on the map, so no affine transform follows it; use a simpler --model",
        )
    };
    let mut places = Vec::new();
    for i in 0..=PARTS {
        for k in 0..=PARTS {
            let p = [f64::from(i) / f64::from(PARTS) * size[0], f64::from(k) / f64::from(PARTS) * size[1]];
            places.push((p, model.to_map(p).ok_or_else(lost)?));
        }
    }
    // On a regular lattice the two slopes and the mean are independent of each other.
    let n = places.len() as f64;
    let mean = |d: usize| places.iter().map(|(_, q)| q[d]).sum::<f64>() / n;
    let slope = |axis: usize, d: usize| {
        let along = |p: &[f64; 2]| p[axis] - size[axis] / 2.0;
        places.iter().map(|(p, q)| along(p) * q[d]).sum::<f64>() / places.iter().map(|(p, _)| along(p).powi(2)).sum::<f64>()
    };
    let rows = [0, 1].map(|d| [mean(d), slope(0, d), slope(1, d)]);
    let at = |p: [f64; 2]| rows.map(|[m, x, y]| m + x * (p[0] - size[0] / 2.0) + y * (p[1] - size[1] / 2.0));
    let left_out = places.iter().map(|(p, q)| (at(*p)[0] - q[0]).hypot(at(*p)[1] - q[1])).fold(0.0, f64::max);
    let (geo, _) = map.georeference()?;
    let corner = |p: [f64; 2]| {
        let [x, y] = at(p);
        geo.pixel_to_map(x, y)
    };
    let (o, x, y) = (corner([0.0, 0.0]), corner([1.0, 0.0]), corner([0.0, 1.0]));
    let c = [o.0, x.0 - o.0, y.0 - o.0, o.1, x.1 - o.1, y.1 - o.1];
    Ok((GeoTransform::new(c).ok_or_else(lost)?, left_out))
}

/// Writes an image of the geometry that was registered, all of its bands, resampled onto the map's grid: a GeoTIFF with the map's
/// georeference, and `about` as named remarks in it. `progress(rows, height)`.
///
/// # Errors
/// Reading the image, writing the file.
pub fn write_on_map(
    map: &MapInfo,
    image: &Raster,
    model: &Model,
    [left, top, width, height]: [u32; 4],
    out: &Path,
    about: &[(String, String)],
    progress: impl FnMut(u32, u32),
) -> Result<()> {
    let (geo, crs) = map.georeference()?;
    let geo = geo.offset(f64::from(left), f64::from(top));
    let target = Target { width, height, geo: Some(&geo), crs: Some(&crs) };
    let place = |p: [f64; 2]| model.to_sar([p[0] + f64::from(left), p[1] + f64::from(top)]);
    Ok(resample_about(image, out, &target, about, &place, progress)?)
}

#[cfg(test)]
mod tests;
