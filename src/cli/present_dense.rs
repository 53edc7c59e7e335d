//! From dense matches to what a report shows: fixes, overlays, correlation surfaces.

use super::common::Global;
use super::present::{PICTURED_QUERIES, Places, cut};
use crate::Result;
use crate::dense::{DenseDatabase, DenseFix, DenseLocated, Ellipse, Match, Peak, turn};
use crate::eval::dense::RIGHT_M;
use crate::kernels::peaks::TILE;
use crate::report::{Candidate, Fix, Thumb};
use crate::scene::{Image, MapInfo, compose, lonlat_distance_m};

/// Tiles that are kept at most, of all patches together: 12 bytes each.
const MAX_TILES: usize = 32 << 20;
/// Longest side of a surface's picture, pixels.
const SURFACE: usize = 192;
/// Peaks pictured besides the overlay and the surface.
const PICTURED: usize = 3;
/// Squares a side of the overlay's checkerboard.
const SQUARES: u32 = 4;

/// A query and what was found, from `locate` or `eval`.
#[derive(Debug)]
pub(super) struct Query<'a> {
    /// Centre in the SAR image.
    pub(super) sar_px: [f64; 2],
    /// From map pixels to SAR pixels, but for the turn.
    pub(super) matrix: [[f64; 2]; 2],
    /// Where it truly lies, or is said to, map pixels.
    pub(super) truth_px: Option<[f64; 2]>,
    /// What the surface says.
    pub(super) found: &'a Match,
    /// The fix; none where there is no peak.
    pub(super) peak: Option<Peak>,
    pub(super) probability: f64,
    pub(super) accepted: bool,
    pub(super) ellipse: Option<Ellipse>,
    /// Rotation and scale.
    pub(super) variant: (f64, f64),
}

/// Patches of an image.
pub(super) fn queries(located: &DenseLocated) -> Vec<Query<'_>> {
    let one = |f| -> Query<'_> {
        let f: &DenseFix = f;
        Query {
            sar_px: f.sar_px,
            matrix: located.frame.matrix_at(f.sar_px),
            truth_px: f.own_px,
            found: &f.found,
            peak: f.peak,
            probability: f.probability,
            accepted: f.accepted,
            ellipse: f.ellipse,
            variant: f.variant,
        }
    };
    located.fixes.iter().map(one).collect()
}

/// The fixes of patches of `side` map pixels, each with at most `top` peaks, that of the fix first.
pub(super) fn fixes(map: &MapInfo, queries: &[Query<'_>], side: f64, top: usize) -> Result<Vec<Fix>> {
    let (geo, crs) = map.georeference()?;
    let places = Places(geo, crs);
    let digits = queries.len().to_string().len().max(3);
    let mut out = Vec::with_capacity(queries.len());
    for (i, q) in queries.iter().enumerate() {
        let truth = q.truth_px.map(|p| places.lonlat(p)).transpose()?;
        let others = q.found.peaks.iter().copied().filter(|p| q.peak.is_none_or(|fix| fix.map_px != p.map_px));
        let mut candidates = Vec::new();
        for (rank, peak) in q.peak.into_iter().chain(others).take(top).enumerate() {
            let lonlat = places.lonlat(peak.map_px)?;
            let distance_m = truth.map(|t| lonlat_distance_m(lonlat.into(), t.into()));
            candidates.push(Candidate {
                rank: rank as u32 + 1,
                cell_id: None,
                score: peak.score,
                center_map: places.map(peak.map_px),
                lonlat,
                distance_m,
                right: distance_m.map(|d| d <= RIGHT_M),
                thumb: None,
            });
        }
        let mut fix = Fix {
            query_id: format!("p{:0digits$}", i + 1),
            sar_px: q.sar_px,
            map_px: [f64::NAN; 2],
            center_map: [f64::NAN; 2],
            lonlat: [f64::NAN; 2],
            score: candidates.first().map_or(0.0, |c| c.score),
            margin: candidates.get(1).map_or(0.0, |second| candidates[0].score - second.score),
            truth_lonlat: truth,
            truth_map_px: q.truth_px,
            candidates,
            probability: Some(q.probability),
            found: Some(q.accepted),
            ..Fix::default()
        };
        if let Some(p) = q.peak.filter(|_| q.accepted).map(|p| p.map_px) {
            let h = side / 2.0;
            let corners = [[-h, -h], [h, -h], [h, h], [-h, h]].map(|[x, y]| places.lonlat([p[0] + x, p[1] + y]));
            fix.footprint_lonlat = corners.into_iter().collect::<Result<_>>()?;
            (fix.map_px, fix.center_map, fix.lonlat) = (p, places.map(p), places.lonlat(p)?);
            (fix.ellipse_m, fix.turn) = (q.ellipse, Some([q.variant.0, q.variant.1]));
        }
        out.push(fix);
    }
    Ok(out)
}

/// Whether the best score of every tile of the map can be kept for so many patches.
pub(super) fn room_for_tiles(database: &DenseDatabase, patches: usize) -> bool {
    let each = database.manifest.layout.offsets().div_ceil(TILE).pow(2) * database.len();
    each.saturating_mul(patches) <= MAX_TILES
}

/// Adds pictures: the patch, the map at its best peaks, an overlay at the first, the correlation's surface over the map.
pub(super) fn add_pictures(
    global: &Global,
    fixes: &mut [Fix],
    queries: &[Query<'_>],
    database: &DenseDatabase,
    side: f64,
    sar: &Image,
    map: Option<&Image>,
) -> Result<()> {
    let count = fixes.len().min(PICTURED_QUERIES);
    let bar = global.bar(count as u64, "pictures");
    for (fix, q) in fixes.iter_mut().zip(queries).take(count) {
        let patch = cut(sar, q.sar_px, compose(q.matrix, turn(q.variant)), side)?;
        if let Some(map) = map {
            let others = q.found.peaks.iter().filter(|p| q.peak.is_none_or(|fix| fix.map_px != p.map_px));
            for (candidate, peak) in fix.candidates.iter_mut().zip(q.peak.iter().chain(others)).take(PICTURED) {
                candidate.thumb = Some(cut(map, peak.map_px, [[1.0, 0.0], [0.0, 1.0]], side)?);
            }
            if let Some(below) = fix.candidates.first().and_then(|c| c.thumb.as_ref()) {
                fix.pictures.push(("SAR over map".into(), checkerboard(&patch, below)?));
            }
        }
        if let Some(tiles) = &q.found.tiles {
            fix.pictures.push(("Correlation".into(), surface(database, q, tiles, side)?));
        }
        fix.thumb = Some(patch);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Squares of one picture and of another in turn.
fn checkerboard(a: &Thumb, b: &Thumb) -> Result<Thumb> {
    let (w, h) = (a.width, a.height);
    let first = |x: u32, y: u32| (x * SQUARES / w + y * SQUARES / h).is_multiple_of(2);
    let pixel = |i: u32| {
        let source = if first(i % w, i / w) { a } else { b };
        source.rgb[i as usize * 3..][..3].to_vec()
    };
    Ok(Thumb::new(w, h, (0..w * h).flat_map(pixel).collect())?)
}

/// Dark violet over red to yellow, for 0 to 1.
fn heat(v: f64) -> [u8; 3] {
    const STOPS: [[f64; 3]; 6] =
        [[8.0, 6.0, 30.0], [66.0, 13.0, 98.0], [147.0, 38.0, 103.0], [221.0, 81.0, 58.0], [252.0, 165.0, 10.0], [252.0, 255.0, 180.0]];
    let at = v.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let i = (at as usize).min(STOPS.len() - 2);
    let f = at - i as f64;
    [0, 1, 2].map(|c| (STOPS[i][c] * (1.0 - f) + STOPS[i + 1][c] * f).round() as u8)
}

/// Shown where no window of the map has enough data.
const NOTHING: [u8; 3] = [128, 128, 128];

/// The best score of every tile over the map's extent, from the surface's mean (dark) to its highest (bright); a ring about the best
/// peak, a cross where the patch truly lies.
fn surface(database: &DenseDatabase, query: &Query<'_>, tiles: &[([f32; 2], f32)], side: f64) -> Result<Thumb> {
    let (map, layout) = (&database.manifest.map, &database.manifest.layout);
    let size = [f64::from(map.width), f64::from(map.height)];
    // Map pixels a picture's pixel; tiles that are larger fill several.
    let unit = size[0].max(size[1]) / SURFACE as f64;
    let [w, h] = size.map(|s| ((s / unit).round() as usize).max(1));
    let tile = TILE as f64 * layout.step;
    let mut best = vec![f32::NEG_INFINITY; w * h];
    // A tile's best place lies anywhere in it; all blocks lie on the lattice of the first.
    let (v, half, first) = (layout.offsets() as f64, side / layout.step / 2.0, database.origins[0]);
    for (at, score) in tiles {
        let corner = [0, 1].map(|d| {
            let (offset, first) = ((f64::from(at[d]) / layout.step - half).round(), f64::from(first[d]));
            let block = first + (offset - first).div_euclid(v) * v;
            let within = ((offset - block) / TILE as f64).floor() * TILE as f64;
            (block + within + half) * layout.step
        });
        let span = |d: usize, n: usize| {
            let lo = (corner[d] / unit).round().max(0.0) as usize;
            lo.min(n)..(((corner[d] + tile) / unit).round().max(0.0) as usize).clamp((lo + 1).min(n), n)
        };
        for y in span(1, h) {
            for x in span(0, w) {
                best[y * w + x] = best[y * w + x].max(*score);
            }
        }
    }
    let top = best.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let low = query.found.mean + query.found.noise;
    let range = (f64::from(top) - low).max(1e-9);
    let mut rgb: Vec<[u8; 3]> = best.iter().map(|s| if s.is_finite() { heat((f64::from(*s) - low) / range) } else { NOTHING }).collect();
    let mut dot = |x: f64, y: f64, color: [u8; 3]| {
        if x >= 0.0 && y >= 0.0 && (x as usize) < w && (y as usize) < h {
            rgb[y as usize * w + x as usize] = color;
        }
    };
    if let Some(p) = query.truth_px.map(|p| p.map(|v| v / unit)) {
        for i in -6..=6i32 {
            if i.abs() > 2 {
                dot(p[0] + f64::from(i), p[1], [80, 240, 120]);
                dot(p[0], p[1] + f64::from(i), [80, 240, 120]);
            }
        }
    }
    if let Some(p) = query.peak.map(|p| p.map_px.map(|v| v / unit)) {
        for i in 0..64 {
            let (sin, cos) = (f64::from(i) * std::f64::consts::TAU / 64.0).sin_cos();
            dot(p[0] + 8.0 * cos, p[1] + 8.0 * sin, [255; 3]);
        }
    }
    Ok(Thumb::new(w as u32, h as u32, rgb.concat())?)
}
