//! Coarse to fine over turns and scales: how a SAR image lies on a map when neither its direction nor its exact scale is known.
//!
//! **Sweep**: the image, as one template of coarse plain structure, is correlated with the whole map at every turn and scale of a grid so
//! close that its pixels are hardly off on average. **Closer**: the best places are searched again with pixels half as large, around each and
//! between the turns and scales of the grid. **Proof**: the template is cut into patches, each of which is sought near where a guess puts
//! it, in the caller's features; a similarity transform goes through the places that agree, and how many do says what the guess is worth.

use super::build::build_at;
use super::features::{DenseModel, Structure};
use super::layout::{Layout, even};
use super::matcher::Matcher;
use super::search::{Match, Search, SearchConfig};
use super::store::DenseDatabase;
use super::variants::Variant;
use crate::gpu::Engine;
use crate::index::RESIDENT_BYTES;
use crate::kernels::sampler::{self, MAX_EXTENT, PatchRecord};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Frame, Image, MapInfo, Mirrored, PageCache, ValidityMask, compose, inverse};
use crate::{Error, Result};
use std::sync::Arc;

/// Side of the sweep's template that its pixels are chosen for, and the largest.
const SWEEP_SIDES: [f64; 2] = [64.0, 80.0];
/// Map pixels a pixel of the sweep, at least and at most.
const SWEEP_STEPS: [f64; 2] = [2.0, 8.0];
/// By how much the template's pixels may be off between two turns, or two scales: feature pixels, root of the mean square.
const OFF_PX: f64 = 1.7;
/// Places of the sweep that are looked at again.
const GUESSES: usize = 24;
/// Largest side of the templates they are looked at with.
const CLOSER_SIDE: f64 = 128.0;
/// So many of them at once, the highest first.
const GROUP: usize = 8;
/// How far from where it is expected a patch is sought at least, feature pixels.
const REACH: usize = 24;
/// Heights of the best guesses of images that are not on the map end about here, standard deviations; and what each more says, logarithm to base
/// 10 of the odds.
const CHANCE_HEIGHT: f64 = 6.0;
const HEIGHT_ODDS: f64 = 1.5;
/// Minus the logarithm of the chance where a pose no higher is as probable as not: a guess is the best of many.
const UNDECIDED: f64 = 3.0;
/// Logarithm of the odds at which nothing else is tried.
const BEYOND_DOUBT: f64 = 5.0;
/// Poses that lie this near to each other are one, metres.
const SAME_M: f64 = 300.0;
/// Units of work that a sweep's guesses count for.
const AFTER_PASS: usize = 100;
/// Scales this near to the frame's are tried first, logarithm.
const NEAR_SCALE: f64 = 0.1;
/// Orientations of the coarse structure: with half of the usual eight, the products take half the time.
const ORIENTATIONS: usize = 4;
/// Records searched at once.
const BATCH: usize = 16;
/// Least share of data in a template, in a patch, and in the map's window of either.
const MIN_VALID: f64 = 0.6;

/// Which poses are tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoseConfig {
    /// What [`Pose::rotation_deg`] may be, degrees: from the first to the second. A span of 360 or more is the whole circle.
    pub rotation_deg: [f64; 2],
    /// By what share the image's pixel size may be off, below 1: [`Pose::scale`] lies between 1 - `scale` and 1 / (1 - `scale`).
    pub scale: f64,
    /// Whether an image that does not say how it lies is mirrored.
    pub mirrored: Mirrored,
    /// Poses returned at most.
    pub top: usize,
}

impl Default for PoseConfig {
    fn default() -> Self {
        Self { rotation_deg: [-180.0, 180.0], scale: 0.25, mirrored: Mirrored::Auto, top: 3 }
    }
}

impl PoseConfig {
    fn check(&self) -> Result<()> {
        let [from, to] = self.rotation_deg;
        if !(from.is_finite() && to.is_finite() && from <= to) {
            return Err(Error::invalid(format!("rotations from {from} to {to} degrees make no sense; give the smaller first")));
        }
        if !(0.0..0.9).contains(&self.scale) {
            return Err(Error::invalid(format!("a pixel size that may be off by a share of {} makes no sense; give 0 to 0.9", self.scale)));
        }
        if self.top == 0 {
            return Err(Error::invalid("no pose is asked for; one at least"));
        }
        Ok(())
    }
}

/// How a SAR image lies on a map.
///
/// With F the frame's matrix (mirrored where [`Pose::flipped`]) and R the turn clockwise by [`Pose::rotation_deg`], an offset s in SAR
/// pixels lies at `scale` R F^-1 s on the map; so `matrix` = F R^-1 / `scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Degrees by which the image is turned clockwise on the map, against how its frame says; from -180 to 180.
    pub rotation_deg: f64,
    /// Ground size of its pixels over what its frame says: above 1 the image covers more of the map.
    pub scale: f64,
    /// Whether it is mirrored though nothing in it says so.
    pub flipped: bool,
    /// Where the image's middle lies, map pixels.
    pub map_px: [f64; 2],
    /// From offsets in map pixels to offsets in SAR pixels.
    pub matrix: [[f64; 2]; 2],
    /// Standard deviations by which the whole template stands above its correlation surface.
    pub height: f64,
    /// Patches of it that agree, and those that were sought.
    pub agreeing: [usize; 2],
    /// Agreements as good expected by chance, logarithm to base 10.
    pub chance_log10: f64,
    /// The probability that it is right.
    pub probability: f64,
}

impl Pose {
    /// Turn and scale against the frame.
    pub fn variant(&self) -> Variant {
        Variant::new(self.rotation_deg, self.scale)
    }
}

/// A pose of the template; turn and zoom are those from the map to the image: against those of a [`Pose`].
#[derive(Debug, Clone, Copy)]
struct Guess {
    way: usize,
    degrees: f64,
    zoom: f64,
    /// Where the template's middle lies, map pixels.
    map_px: [f64; 2],
    height: f64,
}

impl Guess {
    /// What comes behind a frame's matrix to cut the image as it lies.
    fn cut(&self) -> [[f64; 2]; 2] {
        Variant::new(self.degrees, self.zoom).to_map()
    }
}

/// What is correlated: a square of the map's pixels about a position of the image.
#[derive(Debug, Clone, Copy)]
struct Template {
    sar_px: [f64; 2],
    /// Map pixels.
    side: f64,
}

/// Turns (degrees) and zooms that are tried, and how far apart they are (degrees, logarithm).
#[derive(Debug, Clone, PartialEq)]
struct Grid {
    turns: Vec<f64>,
    zooms: Vec<f64>,
    apart: [f64; 2],
}

impl Grid {
    /// For templates of `side` feature pixels.
    fn new(config: &PoseConfig, side: usize) -> Self {
        // A turn by an angle moves a square's pixels by so much times its side (root of the mean square), and so does a stretch.
        let spacing = 2.0 * OFF_PX * 6f64.sqrt() / side as f64;
        // The template is turned back.
        let [to, from] = config.rotation_deg.map(|v| -v);
        let span = (to - from).min(360.0);
        let n = (span.to_radians() / spacing).ceil() as usize;
        let d_turn = span / n.max(1) as f64;
        let turns = match n {
            0 => vec![from],
            _ if span >= 360.0 => (0..n).map(|i| from + d_turn * i as f64).collect(),
            _ => (0..=n).map(|i| from + d_turn * i as f64).collect(),
        };
        let range = -(1.0 - config.scale).ln();
        let n = (2.0 * range / spacing).ceil() as usize;
        let d_zoom = 2.0 * range / n.max(1) as f64;
        let zooms = if n == 0 { vec![1.0] } else { (0..=n).map(|i| (d_zoom * i as f64 - range).exp()).collect() };
        Self { turns, zooms, apart: [d_turn, d_zoom] }
    }

    /// What to try, in the order of what is likely: scales near the frame's first, and mirrored images after others.
    fn passes(&self, ways: usize) -> Vec<Vec<Guess>> {
        let near = |z: &f64| z.ln().abs() <= NEAR_SCALE.max(0.6 * self.apart[1]);
        let one = |way: usize, zoom: f64, degrees: f64| Guess { way, degrees, zoom, map_px: [0.0; 2], height: 0.0 };
        let pass = |first: bool, way: usize| -> Vec<Guess> {
            let zooms = self.zooms.iter().filter(|z| near(z) == first);
            zooms.flat_map(|z| self.turns.iter().map(move |t| one(way, *z, *t))).collect()
        };
        let all = [true, false].into_iter().flat_map(|first| (0..ways).map(move |way| (first, way)));
        all.map(|(first, way)| pass(first, way)).filter(|p| !p.is_empty()).collect()
    }

    /// Those between its steps, half a step to each side of a guess, itself among them.
    fn between(&self, g: &Guess) -> Vec<Guess> {
        let [d_turn, d_zoom] = self.apart;
        let halves = |d: f64| if d > 0.0 { vec![-d / 2.0, 0.0, d / 2.0] } else { vec![0.0] };
        let zoomed = |z: f64| halves(d_turn).into_iter().map(move |t| Guess { degrees: g.degrees + t, zoom: g.zoom * z.exp(), ..*g });
        halves(d_zoom).into_iter().flat_map(zoomed).collect()
    }

    /// The highest guesses, no two of them within `px` map pixels and `steps` steps of turn and zoom.
    fn distinct(&self, mut all: Vec<Guess>, px: f64, steps: f64, top: usize) -> Vec<Guess> {
        all.sort_by(|a, b| b.height.total_cmp(&a.height));
        let same = |a: &Guess, b: &Guess| {
            a.way == b.way
                && (0..2).all(|d| (a.map_px[d] - b.map_px[d]).abs() <= px)
                && wrap(a.degrees - b.degrees).abs() <= steps * self.apart[0] + 1e-9
                && (a.zoom / b.zoom).ln().abs() <= steps * self.apart[1] + 1e-9
        };
        let mut kept: Vec<Guess> = Vec::new();
        for g in all {
            if kept.len() == top {
                break;
            }
            if !kept.iter().any(|k| same(k, &g)) {
                kept.push(g);
            }
        }
        kept
    }
}

/// An angle from -180 to 180 degrees.
fn wrap(degrees: f64) -> f64 {
    (degrees + 180.0).rem_euclid(360.0) - 180.0
}

/// Standard deviations of a score above its surface.
fn height(m: &Match, score: f32) -> f64 {
    (f64::from(score) - m.mean) / m.noise.max(1e-12)
}

/// What the levels share.
struct Hunt<'a> {
    engine: &'a Engine,
    map: &'a Arc<Image>,
    info: &'a MapInfo,
    frames: Vec<Frame>,
    cache: PageCache,
    template: Template,
}

impl Hunt<'_> {
    fn matrix(&self, g: &Guess) -> [[f64; 2]; 2] {
        compose(self.frames[g.way].matrix_at(self.template.sar_px), g.cut())
    }

    /// Plain structure at `step` map pixels a pixel.
    fn structure(&self, step: f64) -> DenseModel {
        DenseModel::structure(Structure { metres: step * self.info.ground_m(), orientations: ORIENTATIONS, ..Structure::default() })
    }

    /// A square of `side` feature pixels about a position of the image, as a guess turns it.
    fn record(&self, g: &Guess, sar_px: [f64; 2], step: f64, side: usize) -> Result<PatchRecord> {
        Ok(PatchRecord::from_affine(0, sar_px, compose(self.matrix(g), [[step, 0.0], [0.0, step]]), side)?)
    }

    /// Squares of the image, each as a guess turns it, against blocks about some places of the map.
    fn near(
        &mut self,
        model: &DenseModel,
        layout: &Layout,
        places: &[[f64; 2]],
        squares: &[(Guess, [f64; 2])],
        config: SearchConfig,
    ) -> Result<Vec<Match>> {
        let cut = |(g, p): &(Guess, [f64; 2])| self.record(g, *p, layout.step, layout.query);
        let records = squares.iter().map(cut).collect::<Result<Vec<_>>>()?;
        let taps = sampler::taps_for(records.iter().map(PatchRecord::scale).fold(0.0, f64::max));
        let corner = |p: &[f64; 2]| p.map(|v| (v / layout.step - layout.side as f64 / 2.0).round() as i32);
        let origins: Vec<[i32; 2]> = places.iter().map(corner).collect();
        let writer = DenseDatabase::temporary();
        let database = build_at(self.engine, model, self.map, self.info, layout, &origins, writer, |_, _| {})?;
        let matcher = Matcher::new(self.engine, &database, model, RESIDENT_BYTES)?;
        let config = SearchConfig { top: 4 * origins.len(), ..config };
        let mut search = matcher.prepare(&self.cache, layout.query, taps, BATCH.min(records.len()), config)?;
        search.run(&mut self.cache, &records, 1, |_, _| {})
    }

    /// Some guesses of a sweep at `step` again, with pixels half as large: the best of them, if any has enough data.
    fn closer(&mut self, grid: &Grid, guesses: &[Guess], step: f64, config: SearchConfig) -> Result<Option<Guess>> {
        let near = 6.0 * step;
        let step = step / 2.0;
        let side = even((self.template.side / step).min(CLOSER_SIDE));
        let layout = Layout { step, side: (3 * side / 2).next_power_of_two(), query: side };
        let room = (layout.side - side) as f64 / 2.0 * step;
        let mut places: Vec<[f64; 2]> = Vec::new();
        for g in guesses {
            if !places.iter().any(|p| (0..2).all(|d| (p[d] - g.map_px[d]).abs() < room - near)) {
                places.push(g.map_px);
            }
        }
        let tries: Vec<Guess> = guesses.iter().flat_map(|g| grid.between(g)).collect();
        let squares: Vec<_> = tries.iter().map(|g| (*g, self.template.sar_px)).collect();
        let found = self.near(&self.structure(step), &layout, &places, &squares, config)?;
        let mut all = Vec::new();
        for (m, g) in found.iter().zip(&tries) {
            let there = |p: &[f64; 2]| (p[0] - g.map_px[0]).hypot(p[1] - g.map_px[1]) <= near;
            all.extend(m.peaks.iter().filter(|p| there(&p.map_px)).map(|p| Guess { map_px: p.map_px, height: height(m, p.score), ..*g }));
        }
        Ok(grid.distinct(all, near, 3.0, 1).first().copied())
    }

    /// What a guess says of an image of `size` pixels.
    fn pose(&self, g: &Guess, agreement: Agreement, size: [f64; 2]) -> Pose {
        let matrix = self.matrix(g);
        let back = inverse(&matrix);
        let off = [0, 1].map(|d| size[d] / 2.0 - self.template.sar_px[d]);
        Pose {
            rotation_deg: wrap(-g.degrees),
            scale: 1.0 / g.zoom,
            flipped: self.frames[g.way].flipped,
            map_px: [0, 1].map(|d| g.map_px[d] + back[d][0] * off[0] + back[d][1] * off[1]),
            matrix,
            height: g.height,
            agreeing: [agreement.count, agreement.of],
            chance_log10: agreement.chance_log10,
            probability: 1.0 / (1.0 + 10f64.powf(-agreement.odds_log10(g.height))),
        }
    }
}

/// Finds how a SAR image lies on a map, wherever and however turned: the best few poses, the most probable first, or one alone where that is
/// beyond doubt; none where no part of the map has enough data. `info` is what [`MapInfo::of`] says of the map, `frame` what [`Frame::new`] says
/// of the image, whose own place is not used. Time grows with the map's area, the turns and the scales; scales near the frame's are tried first, and
/// mirrored images last. `progress(done, total)` counts units of work.
///
/// # Errors
/// A configuration that makes no sense; an image too small or with too little data; as [`Frame::ways`]; reading, the device.
pub fn find_pose(
    engine: &Engine,
    model: &DenseModel,
    (map, info): (&Arc<Image>, &MapInfo),
    (sar, frame): (&Arc<Image>, &Frame),
    config: &PoseConfig,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Pose>> {
    config.check()?;
    let mask = ValidityMask::new(&sar.raster)?;
    let size = [sar.raster.width(), sar.raster.height()].map(f64::from);
    // As many pixels as are distinct: more of them would cost in turns and scales, too.
    let extent = (size[0] * size[1]).sqrt().min(1.4 * size[0].min(size[1])) / frame.scale();
    let finest = 1.5 * (frame.pixel_m / info.ground_m()).max(1.0);
    let step = (extent / SWEEP_SIDES[0]).clamp(SWEEP_STEPS[0], SWEEP_STEPS[1]).max(finest);
    let most = f64::from(MAX_EXTENT) * (1.0 - config.scale) / (std::f64::consts::SQRT_2 * frame.scale() * step);
    let side = even((extent / step).min(SWEEP_SIDES[1]).min(most - 2.0));
    if side < 16 {
        return Err(Error::invalid(format!(
            "{}: it covers {extent:.0} map pixels, too few to be found wherever and however it lies; take a larger image, or check --pixel-size",
            sar.raster.path().display()
        )));
    }
    let side_px = side as f64 * step;
    let template = Template { sar_px: middle(&mask, size, side_px * frame.scale(), sar)?, side: side_px };
    let cache = PageCache::new(engine, vec![sar.clone()], DEFAULT_PAGES)?;
    let mut hunt = Hunt { engine, map, info, frames: frame.ways(config.mirrored)?, cache, template };
    let grid = Grid::new(config, side);
    let passes = grid.passes(hunt.frames.len());
    let (layout, origins) = blocks(info, &ValidityMask::new(&map.raster)?, step, side)?;
    if origins.is_empty() {
        return Ok(Vec::new());
    }

    // Units of work: a block of the map; a turn and scale against all of it, and what follows each pass.
    let total = origins.len() + passes.iter().map(|p| p.len() + AFTER_PASS).sum::<usize>();
    let coarse = hunt.structure(step);
    let writer = DenseDatabase::temporary();
    let database = build_at(engine, &coarse, map, info, &layout, &origins, writer, |done, _| progress(done, total))?;
    let matcher = Matcher::new(engine, &database, &coarse, RESIDENT_BYTES)?;
    let search = SearchConfig { top: 4, apart: 6, min_valid: MIN_VALID as f32, tiles: false };
    let mut sweep: Option<Search<'_>> = None;
    let (mut done, mut poses) = (origins.len(), Vec::<Pose>::new());
    for pass in passes {
        let records = pass.iter().map(|g| hunt.record(g, template.sar_px, step, side)).collect::<Result<Vec<_>>>()?;
        let sweep = match &mut sweep {
            Some(sweep) => sweep,
            none => {
                // The largest there may be: the others filter a little less than they could.
                let taps = sampler::taps_for(frame.scale() * step / (1.0 - config.scale));
                none.insert(matcher.prepare(&hunt.cache, side, taps, BATCH, search)?)
            }
        };
        let found = sweep.run(&mut hunt.cache, &records, 1, |some, all| progress(done + records.len() * some / all.max(1), total))?;
        done += records.len();
        let guesses = grid.distinct(peaks(&found, &pass), 4.0 * step, 1.0, GUESSES);
        let groups = guesses.chunks(GROUP).len();
        for (i, group) in guesses.chunks(GROUP).enumerate() {
            progress(done + AFTER_PASS * i / groups, total);
            let Some(g) = hunt.closer(&grid, group, step, search)? else { continue };
            let (better, agreement) = prove(&mut hunt, model, &mask, &g)?;
            let pose = hunt.pose(&better, agreement, size);
            if agreement.odds_log10(better.height) >= BEYOND_DOUBT {
                progress(total, total);
                return Ok(vec![pose]);
            }
            poses.push(pose);
        }
        done += AFTER_PASS;
    }
    progress(total, total);
    Ok(ranked(poses, info.ground_m(), config.top))
}

/// The most probable poses, none that another one is but for a little.
fn ranked(mut poses: Vec<Pose>, ground_m: f64, top: usize) -> Vec<Pose> {
    poses.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let mut kept: Vec<Pose> = Vec::new();
    for p in poses {
        let same = |k: &Pose| {
            let apart = (k.map_px[0] - p.map_px[0]).hypot(k.map_px[1] - p.map_px[1]) * ground_m;
            k.flipped == p.flipped && apart < SAME_M && wrap(k.rotation_deg - p.rotation_deg).abs() < 20.0
        };
        if kept.len() < top && !kept.iter().any(same) {
            kept.push(p);
        }
    }
    kept
}

/// Every peak of every guess's surface, as guesses.
fn peaks(found: &[Match], tries: &[Guess]) -> Vec<Guess> {
    let of =
        |(m, g): (&Match, &Guess)| m.peaks.iter().map(|p| Guess { map_px: p.map_px, height: height(m, p.score), ..*g }).collect::<Vec<_>>();
    found.iter().zip(tries).flat_map(of).collect()
}

/// The blocks that cover a map for templates of `side` feature pixels, `step` map pixels each, where it has enough data; of the side that costs
/// the least to search.
fn blocks(info: &MapInfo, mask: &ValidityMask, step: f64, side: usize) -> Result<(Layout, Vec<[i32; 2]>)> {
    let least = (3 * side / 2).next_power_of_two().max(32);
    let mut best: Option<(Layout, Vec<[i32; 2]>)> = None;
    let cost = |layout: &Layout, blocks: usize| {
        // The template's own transform costs about as much as four blocks.
        (blocks as f64 + 4.0) * (layout.side * layout.side) as f64 * (layout.side as f64).log2()
    };
    // The sampler cuts a block and its surroundings in one.
    let fits = |block: &usize| *block == least || (*block + 64) as f64 * step <= f64::from(MAX_EXTENT);
    for block in [least, 2 * least, 4 * least].into_iter().filter(fits) {
        let layout = Layout { step, side: block, query: side };
        layout.check()?;
        let size = block as f64 * step;
        // A block must hold a template's window with data.
        let filled = MIN_VALID * (side as f64 / block as f64).powi(2);
        let mut origins = layout.origins([info.width, info.height], mask);
        origins.retain(|o| mask.share(f64::from(o[0]) * step, f64::from(o[1]) * step, size, size) >= 0.9 * filled);
        if best.as_ref().is_none_or(|(l, o)| cost(&layout, origins.len()) < cost(l, o.len())) {
            best = Some((layout, origins));
        }
    }
    Ok(best.expect("one side at least"))
}

/// The middle of the square of `side` SAR pixels with the most data; that nearest to the image's middle where several have as much.
fn middle(mask: &ValidityMask, size: [f64; 2], side: f64, sar: &Image) -> Result<[f64; 2]> {
    const PARTS: i32 = 16;
    let room = size.map(|s| (s - side).max(0.0));
    let mut best = ([0.0; 2], -1.0);
    for i in 0..=PARTS {
        for k in 0..=PARTS {
            // From the middle outwards.
            let at = |i: i32, d: usize| {
                let part = f64::from((i + 1) / 2) / f64::from(PARTS) * if i % 2 == 0 { 1.0 } else { -1.0 };
                size[d] / 2.0 + room[d] * part
            };
            let p = [at(i, 0), at(k, 1)];
            let share = mask.share(p[0] - side / 2.0, p[1] - side / 2.0, side, side);
            if share > best.1 + 0.02 {
                best = (p, share);
            }
        }
    }
    if best.1 < 0.25 {
        return Err(Error::invalid(format!(
            "{}: no part of {side:.0} px of it has data in more than {:.0} %, too little to be found wherever and however it lies; crop it to where it has data",
            sar.raster.path().display(),
            100.0 * best.1.max(0.0)
        )));
    }
    Ok(best.0)
}

/// How many patches agree.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Agreement {
    count: usize,
    of: usize,
    chance_log10: f64,
}

impl Agreement {
    /// What speaks for a pose of so great a height: logarithm to base 10 of its odds.
    fn odds_log10(&self, height: f64) -> f64 {
        HEIGHT_ODDS * (height - CHANCE_HEIGHT).max(0.0) - self.chance_log10 - UNDECIDED
    }
}

/// Seeks patches of the template near where a guess puts them, and corrects it by those that agree.
fn prove(hunt: &mut Hunt<'_>, model: &DenseModel, mask: &ValidityMask, g: &Guess) -> Result<(Guess, Agreement)> {
    let template = hunt.template;
    let exact = model.metres() / hunt.info.ground_m();
    let whole = exact.round().max(1.0);
    let step = if (exact / whole - 1.0).abs() <= 0.05 { whole } else { exact };
    let n = (template.side / step / 44.0).round().clamp(3.0, 5.0);
    let side = even((template.side / n / step).min(96.0));
    let layout = Layout { step, side: (side + 2 * REACH).next_power_of_two(), query: side };
    let part = template.side / n;
    let matrix = hunt.matrix(g);
    let edge = side as f64 * step * (matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0]).abs().sqrt();
    // Offsets of the patches on the map, and where that is in the image.
    let mut patches: Vec<([f64; 2], [f64; 2])> = Vec::new();
    for i in 0..(n * n) as usize {
        let at = |i: usize| (i as f64 + 0.5 - n / 2.0) * part;
        let q = [at(i % n as usize), at(i / n as usize)];
        let p = [0, 1].map(|d| template.sar_px[d] + matrix[d][0] * q[0] + matrix[d][1] * q[1]);
        if mask.share(p[0] - edge / 2.0, p[1] - edge / 2.0, edge, edge) >= MIN_VALID {
            patches.push((q, p));
        }
    }
    let expected = |q: &[f64; 2]| [0, 1].map(|d| g.map_px[d] + q[d]);
    let places: Vec<[f64; 2]> = patches.iter().map(|(q, _)| expected(q)).collect();
    let nothing = Agreement { count: 0, of: patches.len(), chance_log10: 0.0 };
    if patches.is_empty() {
        return Ok((*g, nothing));
    }
    let squares: Vec<_> = patches.iter().map(|(_, p)| (*g, *p)).collect();
    let search = SearchConfig { apart: 4, min_valid: MIN_VALID as f32, ..SearchConfig::default() };
    let found = hunt.near(model, &layout, &places, &squares, search)?;
    let reach = ((layout.side - side) as f64 / 2.0 - 1.0) * step;
    let mut ties: Vec<([f64; 2], [f64; 2])> = Vec::new();
    for (m, (q, _)) in found.iter().zip(&patches) {
        let e = expected(q);
        let near = m.peaks.iter().find(|p| (0..2).all(|d| (p.map_px[d] - e[d]).abs() <= reach));
        ties.extend(near.map(|p| (*q, [0, 1].map(|d| p.map_px[d] - g.map_px[d]))));
    }
    let tolerance = 4.0 * step;
    let Some((similarity, count)) = agree(&ties, tolerance) else { return Ok((*g, nothing)) };
    let [a, b, x, y] = similarity;
    let better =
        Guess { degrees: g.degrees - b.atan2(a).to_degrees(), zoom: g.zoom / a.hypot(b), map_px: [g.map_px[0] + x, g.map_px[1] + y], ..*g };
    // Two patches make a transform; each other lies within the tolerance by chance.
    let share = (std::f64::consts::PI / 4.0 * (tolerance / reach).powi(2)).min(1.0);
    let pairs = (ties.len() * (ties.len().saturating_sub(1))) as f64 / 2.0;
    let chance = if count > 2 { pairs.max(1.0).log10() + tail_log10(ties.len() - 2, count - 2, share) } else { 0.0 };
    Ok((better, Agreement { count, of: patches.len(), chance_log10: chance.min(0.0) }))
}

/// Logarithm to base 10 of the probability that at least k of n fall into a share.
fn tail_log10(n: usize, k: usize, share: f64) -> f64 {
    let mut sum = 0.0;
    for i in k..=n {
        let choose: f64 = (0..i).map(|j| ((n - j) as f64 / (j + 1) as f64).ln()).sum();
        sum += (choose + i as f64 * share.ln() + (n - i) as f64 * (1.0 - share).max(1e-300).ln()).exp();
    }
    sum.max(1e-300).log10()
}

/// An offset in the image, and where it was found on the map.
type Tie = ([f64; 2], [f64; 2]);

/// The similarity (a, b, x, y), (u, v) to (a u - b v + x, b u + a v + y), that brings most pairs of positions within a tolerance, and how many; near
/// the identity. None of fewer than three.
fn agree(ties: &[([f64; 2], [f64; 2])], tolerance: f64) -> Option<([f64; 4], usize)> {
    // How far turn and stretch may be from what is expected.
    const BENT: f64 = 0.08;
    let off =
        |[a, b, x, y]: [f64; 4], (p, q): &([f64; 2], [f64; 2])| (a * p[0] - b * p[1] + x - q[0]).hypot(b * p[0] + a * p[1] + y - q[1]);
    let chosen = |s: [f64; 4]| ties.iter().filter(|t| off(s, t) <= tolerance).copied().collect::<Vec<_>>();
    let worth = |s: [f64; 4]| ties.iter().map(|t| (1.0 - (off(s, t) / tolerance).powi(2)).max(0.0)).sum::<f64>();
    let mut best: Option<([f64; 4], f64)> = None;
    for i in 0..ties.len() {
        for j in 0..i {
            let Some(mut s) = solve(&[ties[i], ties[j]]) else { continue };
            for _ in 0..3 {
                if (s[0] - 1.0).hypot(s[1]) > BENT {
                    break;
                }
                let w = worth(s);
                if best.as_ref().is_none_or(|b| w > b.1) {
                    best = Some((s, w));
                }
                match solve(&chosen(s)) {
                    Some(next) => s = next,
                    None => break,
                }
            }
        }
    }
    best.map(|(s, _)| (s, chosen(s).len())).filter(|(_, n)| *n > 2)
}

/// The similarity through pairs of positions by least squares; none through fewer than two, or all in one place.
fn solve(ties: &[([f64; 2], [f64; 2])]) -> Option<[f64; 4]> {
    let n = ties.len() as f64;
    let mean = |f: fn(&Tie) -> f64| ties.iter().map(f).sum::<f64>() / n;
    let (mu, mv, mx, my) = (mean(|t| t.0[0]), mean(|t| t.0[1]), mean(|t| t.1[0]), mean(|t| t.1[1]));
    let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
    for (p, q) in ties {
        let (u, v, x, y) = (p[0] - mu, p[1] - mv, q[0] - mx, q[1] - my);
        dot += u * x + v * y;
        cross += u * y - v * x;
        square += u * u + v * v;
    }
    if ties.len() < 2 || square <= 1e-9 {
        return None;
    }
    let (a, b) = (dot / square, cross / square);
    Some([a, b, mx - a * mu + b * mv, my - b * mu - a * mv])
}

#[cfg(test)]
mod tests;
