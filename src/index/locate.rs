//! Locating: a SAR image is cut into patches at the map's scale, and each is looked up in the database.
//!
//! Where the SAR image lies is never taken from its own georeference, unless a prior is asked for. Of a georeference only the
//! ground size of a pixel and the direction of north are used, because the network was not made to find those.

use super::embed::Embedder;
use super::search::{CellHit, Searcher};
use super::store::Database;
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Frame, Image, Mirrored, PageCache, ValidityMask, compose, inverse, lonlat_distance_m};
use crate::{Error, Result};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// A patch is skipped where less than this share of it has data.
pub const PATCH_MIN_VALID: f64 = 0.5;
/// A patch has at least so many SAR pixels a side.
const MIN_EXTENT: f64 = 4.0;
/// So many patches are said to be many.
const MANY_PATCHES: usize = 10_000;
/// Patches located at once.
const MAX_PATCHES: usize = 4 << 20;

/// What to look up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocateConfig {
    /// Side of a patch, map pixels; best the database's cell.
    pub patch: u32,
    /// Distance between patches, map pixels.
    pub step: u32,
    /// Candidates kept for each patch.
    pub top: usize,
    /// Ground size of a SAR pixel, metres; wins over the image's own georeference, and is needed where it has none.
    pub pixel_m: Option<f64>,
    /// Only cells of which some part lies within so many metres of where the image's own georeference puts the patch.
    pub prior_m: Option<f64>,
    /// Whether an image without a georeference is mirrored.
    pub mirrored: Mirrored,
}

impl LocateConfig {
    /// Patches of one cell side by side, ten candidates each, no prior.
    pub fn new(database: &Database) -> Self {
        let cell = database.manifest.grid.cell;
        Self { patch: cell, step: cell, top: 10, pixel_m: None, prior_m: None, mirrored: Mirrored::Auto }
    }
}

/// A patch and what was found for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// Its centre in the SAR image, SAR pixels.
    pub sar_px: [f64; 2],
    /// What cuts it out.
    pub record: PatchRecord,
    /// Where the image's own georeference puts it, map pixels; not used in the search.
    pub own_px: Option<[f64; 2]>,
    /// Its candidates, best first.
    pub hits: Vec<CellHit>,
}

/// What became of a SAR image.
#[derive(Debug)]
pub struct Located {
    /// How it lies on the map.
    pub frame: Frame,
    /// The patches that were looked up.
    pub patches: Vec<Patch>,
    /// Their vectors, one after the other.
    pub vectors: Vec<f32>,
    /// Patches left out because less than [`PATCH_MIN_VALID`] of them has data.
    pub no_data: usize,
    /// Patches left out because no cell lies within the prior.
    pub outside: usize,
    /// Seconds for cutting and encoding.
    pub encode_s: f64,
    /// Seconds for the search.
    pub search_s: f64,
}

/// The patches of an image, without candidates, and how many were left out for want of data.
///
/// Their centres lie on a lattice along the image's rows and columns, from the upper left corner.
///
/// # Errors
/// An image smaller than a patch, no patch with data, a patch or step of 0, a patch too large for the sampler, reading.
pub fn patches(sar: &Image, frame: &Frame, config: &LocateConfig, input: usize) -> Result<(Vec<Patch>, usize)> {
    let raster = &sar.raster;
    if config.patch == 0 || config.step == 0 || config.top == 0 {
        return Err(Error::invalid("patch, step and number of candidates must all be above 0"));
    }
    let side = f64::from(config.patch);
    let size = [f64::from(raster.width()), f64::from(raster.height())];
    let extent = frame.extent(side);
    // Half a pixel of grace for what rounding makes of scales.
    if extent[0] > size[0] + 0.5 || extent[1] > size[1] + 0.5 {
        return Err(Error::invalid(format!(
            "{}: {}x{} px is smaller than one patch, which takes {:.0}x{:.0} px at {:.2} m a SAR pixel ({} map pixels); take a larger image, or smaller patches and an index of smaller cells (or check --pixel-size)",
            raster.path().display(),
            raster.width(),
            raster.height(),
            extent[0],
            extent[1],
            frame.pixel_m,
            config.patch
        )));
    }
    if extent.iter().any(|e| *e < MIN_EXTENT) {
        return Err(Error::invalid(format!(
            "{}: a patch of {} map pixels would hold only {:.3}x{:.3} of its pixels, which are {} m wide; take larger patches and cells, or check --pixel-size",
            raster.path().display(),
            config.patch,
            extent[0],
            extent[1],
            frame.pixel_m
        )));
    }
    let to_map = inverse(&frame.matrix);
    let network = side / input as f64;
    let mask = ValidityMask::new(raster)?;
    let centres = |axis: usize| -> Vec<f64> {
        // A step's length along this axis of the image.
        let step = f64::from(config.step) / to_map[0][axis].hypot(to_map[1][axis]);
        let room = (size[axis] - extent[axis]).max(0.0);
        let count = (room / step + 1e-6) as usize + 1;
        (0..count).map(|i| extent[axis] / 2.0 + i as f64 * step).collect()
    };
    let (xs, ys) = (centres(0), centres(1));
    if xs.len().saturating_mul(ys.len()) > MAX_PATCHES {
        return Err(Error::invalid(format!(
            "{}: {} x {} patches are more than the {MAX_PATCHES} located at once; use a larger --step, or parts of the image",
            raster.path().display(),
            xs.len(),
            ys.len()
        )));
    }
    if xs.len() * ys.len() >= MANY_PATCHES {
        tracing::warn!(
            "{}: {} x {} patches are to be located, one every {} map pixels: a larger --step takes fewer",
            raster.path().display(),
            xs.len(),
            ys.len(),
            config.step
        );
    }
    let (mut all, mut no_data) = (Vec::new(), 0);
    for y in &ys {
        for x in &xs {
            let sar_px = [*x, *y];
            let local = frame.matrix_at(sar_px);
            if share(&mask, local, frame.scale(), sar_px, side) < PATCH_MIN_VALID {
                no_data += 1;
                continue;
            }
            let matrix = compose(local, [[network, 0.0], [0.0, network]]);
            let record = PatchRecord::from_affine(0, sar_px, matrix, input)?;
            let own_px = frame.own.as_ref().and_then(|link| link.apply(sar_px).ok());
            all.push(Patch { sar_px, record, own_px, hits: Vec::new() });
        }
    }
    if all.is_empty() {
        return Err(Error::invalid(format!(
            "{}: none of its {no_data} patches has data in at least {:.0} % of its pixels; check the file's no-data value",
            raster.path().display(),
            100.0 * PATCH_MIN_VALID
        )));
    }
    Ok((all, no_data))
}

/// Share of a patch that has data, over 8 x 8 parts of it: it may lie askew in the image.
fn share(mask: &ValidityMask, matrix: [[f64; 2]; 2], scale: f64, centre: [f64; 2], side: f64) -> f64 {
    const PARTS: usize = 8;
    let part = side / PARTS as f64;
    let edge = scale * part;
    let at = |i: usize| (i as f64 + 0.5) * part - side / 2.0;
    let parts = (0..PARTS * PARTS).map(|i| {
        let (u, v) = (at(i % PARTS), at(i / PARTS));
        let [x, y] = [0, 1].map(|d| centre[d] + matrix[d][0] * u + matrix[d][1] * v);
        mask.share(x - edge / 2.0, y - edge / 2.0, edge, edge)
    });
    parts.sum::<f64>() / (PARTS * PARTS) as f64
}

/// Cells of which some part lies within `metres` of each patch's own place.
fn near(database: &Database, patches: &[Patch], metres: f64) -> Result<Vec<HashSet<u32>>> {
    let (geo, crs) = database.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    let half = f64::from(database.manifest.grid.cell) / 2.0;
    // Twice the map's mean pixel is more than any projection in use stretches one.
    let reach = metres + 4.0 * half * database.manifest.map.pixel_m.iter().fold(0.0, |a, b| b.max(a));
    let one = |patch: &Patch| -> Result<HashSet<u32>> {
        let Some(p) = patch.own_px else { return Ok(HashSet::new()) };
        let here = lonlat(p)?;
        let mut cells = HashSet::new();
        for (i, (centre, place)) in database.cell_px.iter().zip(&database.cell_lonlat).enumerate() {
            // A degree of latitude is 110.5 km at least.
            if (place[1] - here.1).abs() * 110_500.0 > reach || lonlat_distance_m((place[0], place[1]), here) > reach {
                continue;
            }
            let nearest = [0, 1].map(|d| p[d].clamp(centre[d] - half, centre[d] + half));
            if lonlat_distance_m(lonlat(nearest)?, here) <= metres {
                cells.insert(i as u32);
            }
        }
        Ok(cells)
    };
    patches.iter().map(one).collect()
}

/// Cuts a SAR image into patches, encodes them and looks them up. `progress(done, total)` counts patches encoded. Where it is not known whether
/// the image is mirrored, both ways are looked up, and the one whose candidates look more alike is kept.
///
/// # Errors
/// As [`Frame::new`] and [`patches`]; a prior for an image without a georeference, or one that no cell lies within; the device.
pub fn locate(
    embedder: &Embedder<'_>,
    database: &Database,
    searcher: &Searcher<'_>,
    sar: &Arc<Image>,
    config: &LocateConfig,
    mut progress: impl FnMut(usize, usize),
) -> Result<Located> {
    if config.prior_m.is_some_and(|m| !(m.is_finite() && m > 0.0)) {
        return Err(Error::invalid("the prior must be a distance in metres above 0"));
    }
    let frame = Frame::new(&database.manifest.map, sar, config.pixel_m)?;
    if config.prior_m.is_some() && frame.own.is_none() {
        return Err(Error::invalid(format!(
            "{}: a prior limits the search around the image's own georeference, and it has none; leave --prior out",
            sar.raster.path().display()
        )));
    }
    let frames = frame.ways(config.mirrored)?;
    let ways = frames.len();
    let likeness = |l: &Located| l.patches.iter().filter_map(|p| p.hits.first()).map(|h| f64::from(h.score)).sum::<f64>();
    let mut best: Option<Located> = None;
    for (i, frame) in frames.into_iter().enumerate() {
        let one = locate_as(frame, embedder, database, searcher, sar, config, |done, total| progress(i * total + done, ways * total))?;
        if best.as_ref().is_none_or(|b| likeness(&one) > likeness(b)) {
            best = Some(one);
        }
    }
    Ok(best.expect("one way at least"))
}

/// Locates an image that lies as a frame says.
fn locate_as(
    frame: Frame,
    embedder: &Embedder<'_>,
    database: &Database,
    searcher: &Searcher<'_>,
    sar: &Arc<Image>,
    config: &LocateConfig,
    mut progress: impl FnMut(usize, usize),
) -> Result<Located> {
    let start = Instant::now();
    let (mut patches, no_data) = patches(sar, &frame, config, embedder.input())?;
    let mut outside = 0;
    let allowed = match config.prior_m {
        Some(metres) => {
            let near = near(database, &patches, metres)?;
            let keep: Vec<bool> = near.iter().map(|n| !n.is_empty()).collect();
            let mut at = keep.iter();
            patches.retain(|_| *at.next().expect("one for each"));
            outside = keep.len() - patches.len();
            if patches.is_empty() {
                return Err(Error::invalid(format!(
                    "{}: its own georeference puts no patch within {metres} m of a cell of {}; use a larger --prior, or none",
                    sar.raster.path().display(),
                    database.path.display()
                )));
            }
            Some(near.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>())
        }
        None => None,
    };
    let records: Vec<PatchRecord> = patches.iter().map(|p| p.record).collect();
    let mut cache = PageCache::new(embedder.engine(), vec![sar.clone()], DEFAULT_PAGES)?;
    let taps = sampler::taps_for(frame.scale() * f64::from(config.patch) / embedder.input() as f64);
    let (dim, total) = (embedder.dim(), records.len());
    let mut vectors = vec![0.0; total * dim];
    embedder.embed(Modality::Sar, &mut cache, &records, taps, |first, rows| {
        vectors[first * dim..][..rows.len()].copy_from_slice(rows);
        progress(first + rows.len() / dim, total);
        Ok(())
    })?;
    let encode_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let k = config.top.min(database.cells());
    let hits = match &allowed {
        Some(allowed) => searcher.search_among(embedder.engine(), &vectors, k, allowed)?,
        None => searcher.search(embedder.engine(), &vectors, k)?,
    };
    patches.iter_mut().zip(hits).for_each(|(p, h)| p.hits = h);
    Ok(Located { frame, patches, vectors, no_data, outside, encode_s, search_s: start.elapsed().as_secs_f64() })
}
