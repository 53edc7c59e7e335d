//! From search results to what a report shows: fixes, pictures, the map's overview.

use super::common::{Global, command_line};
use crate::dense::DenseModel;
use crate::eval::right;
use crate::index::{CellHit, Database, LoadedModel};
use crate::kernels::sampler::{self, PatchRecord};
use crate::reference;
use crate::report::{Candidate, Fix, MapOverview, ReportMeta, Thumb};
use crate::scene::{Image, MapInfo, Radiometry, compose, lonlat_distance_m};
use crate::{Error, Result};
use std::path::Path;

/// Side of the pictures, pixels.
pub(super) const PICTURE: usize = 128;
/// Candidates pictured.
const PICTURED: usize = 5;
/// Queries pictured: a page holds about this many.
pub(super) const PICTURED_QUERIES: usize = 250;
/// Longest side of the overview, pixels.
const OVERVIEW: u32 = 1600;

/// A query and what was found, from `locate` or `eval`.
#[derive(Debug, Clone)]
pub(super) struct Found<'a> {
    /// Centre in the SAR image.
    pub(super) sar_px: [f64; 2],
    /// From map pixels to SAR pixels.
    pub(super) matrix: [[f64; 2]; 2],
    /// Where it truly lies, or is said to.
    pub(super) truth_px: Option<[f64; 2]>,
    /// Candidates, best first.
    pub(super) hits: &'a [CellHit],
}

/// Map pixels to map coordinates and to longitude and latitude.
pub(super) struct Places(pub(super) crate::scene::GeoTransform, pub(super) crate::scene::Crs);

impl Places {
    pub(super) fn map(&self, p: [f64; 2]) -> [f64; 2] {
        self.0.pixel_to_map(p[0], p[1]).into()
    }

    pub(super) fn lonlat(&self, p: [f64; 2]) -> Result<[f64; 2]> {
        let [x, y] = self.map(p);
        Ok(self.1.to_lonlat(x, y)?.into())
    }
}

/// Fixes of queries of `side` map pixels, each with at most `top` candidates. A query without candidates has no fix.
pub(super) fn fixes(database: &Database, found: &[Found<'_>], side: f64, top: usize) -> Result<Vec<Fix>> {
    let (geo, crs) = database.georeference()?;
    let places = Places(geo, crs);
    let digits = found.len().to_string().len().max(3);
    let mut out = Vec::with_capacity(found.len());
    for (i, f) in found.iter().enumerate() {
        let Some(best) = f.hits.first() else { continue };
        let truth = f.truth_px.map(|p| places.lonlat(p)).transpose()?;
        let mut candidates = Vec::new();
        for (rank, hit) in f.hits.iter().take(top).enumerate() {
            let lonlat = places.lonlat(hit.centre_px)?;
            candidates.push(Candidate {
                rank: rank as u32 + 1,
                cell_id: Some(u64::from(hit.cell)),
                score: hit.score,
                center_map: places.map(hit.centre_px),
                lonlat,
                distance_m: truth.map(|t| lonlat_distance_m(lonlat.into(), t.into())),
                right: f.truth_px.map(|p| right(database, hit.cell, p)),
                thumb: None,
            });
        }
        let p = best.centre_px;
        let h = side / 2.0;
        let corners = [[-h, -h], [h, -h], [h, h], [-h, h]].map(|[x, y]| places.lonlat([p[0] + x, p[1] + y]));
        out.push(Fix {
            query_id: format!("p{:0digits$}", i + 1),
            sar_px: f.sar_px,
            footprint_lonlat: corners.into_iter().collect::<Result<_>>()?,
            map_px: p,
            center_map: places.map(p),
            lonlat: places.lonlat(p)?,
            score: best.score,
            margin: f.hits.get(1).map_or(0.0, |second| best.score - second.score),
            truth_lonlat: truth,
            truth_map_px: f.truth_px,
            candidates,
            ..Fix::default()
        });
    }
    Ok(out)
}

/// Adds pictures of the queries, and of the candidates where there is a map to cut them from. `found` has candidates for each.
pub(super) fn add_pictures(
    global: &Global,
    fixes: &mut [Fix],
    found: &[Found<'_>],
    side: f64,
    sar: &Image,
    map: Option<&Image>,
) -> Result<()> {
    let count = fixes.len().min(PICTURED_QUERIES);
    let bar = global.bar(count as u64, "pictures");
    let with_hits = found.iter().filter(|f| !f.hits.is_empty());
    for (fix, f) in fixes.iter_mut().zip(with_hits).take(count) {
        fix.thumb = Some(cut(sar, f.sar_px, f.matrix, side)?);
        if let Some(map) = map {
            for (candidate, hit) in fix.candidates.iter_mut().zip(f.hits).take(PICTURED) {
                candidate.thumb = Some(cut(map, hit.centre_px, [[1.0, 0.0], [0.0, 1.0]], side)?);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// How values become grey or colour, 0 to 1.
enum Look {
    /// SAR: standardised decibels.
    Sar,
    /// A map's values between these two, the same for all bands so that hues stay.
    Map(f32, f32),
}

impl Look {
    fn of(image: &Image) -> Self {
        let s = &image.standardisation;
        if matches!(s.radiometry, Radiometry::Sar { .. }) {
            return Self::Sar;
        }
        let bands = || s.median.iter().zip(&s.scale).take(3);
        let low = bands().map(|(m, s)| m - 2.0 * s).fold(f32::INFINITY, f32::min);
        let high = bands().map(|(m, s)| m + 3.5 * s).fold(f32::NEG_INFINITY, f32::max);
        match image.raster.sample_type() {
            crate::scene::SampleType::U8 => Self::Map(low.max(0.0), high.min(255.0)),
            _ => Self::Map(low, high),
        }
    }

    /// Red, green and blue of a pixel.
    fn rgb(&self, image: &Image, values: &[f32]) -> [f32; 3] {
        let s = &image.standardisation;
        match *self {
            Self::Sar => [((s.radiometry.scale(values[0]) - s.median[0]) / s.scale[0] + 2.2) / 5.2; 3],
            Self::Map(low, high) => [0, 1, 2].map(|b: usize| (values[b.min(values.len() - 1)] - low) / (high - low)),
        }
        .map(|v| v.clamp(0.0, 1.0))
    }
}

/// Shown where an image has no data.
pub(super) const NO_DATA: u8 = 128;

/// A patch of `side` map pixels about a position, `matrix` from map pixels to the image's, by the sampler's twin.
pub(super) fn cut(image: &Image, centre: [f64; 2], matrix: [[f64; 2]; 2], side: f64) -> Result<Thumb> {
    let step = side / PICTURE as f64;
    let extent = matrix.map(|row| (row[0].abs() + row[1].abs()) * side);
    let first = [0, 1].map(|d| (centre[d] - extent[d] / 2.0).floor() - 2.0);
    let size = extent.map(|e| e.ceil() as u32 + 5);
    let window = image.raster.read_window(first[0] as i64, first[1] as i64, size[0], size[1])?;
    let record =
        PatchRecord::from_affine(0, [centre[0] - first[0], centre[1] - first[1]], compose(matrix, [[step, 0.0], [0.0, step]]), PICTURE)?;
    let look = Look::of(image);
    let bands = window.bands as usize;
    let texel = |_, x: i32, y: i32| {
        let inside = x >= 0 && y >= 0 && (x as u32) < size[0] && (y as u32) < size[1];
        let p = if inside { y as usize * size[0] as usize + x as usize } else { return [0.0; 4] };
        if window.valid[p] == 0 {
            return [0.0; 4];
        }
        let [r, g, b] = look.rgb(image, &window.data[p * bands..][..bands]);
        [r, g, b, 1.0]
    };
    let scale = (matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0]).abs().sqrt() * step;
    let pixels = reference::sampler::forward(texel, &[record], sampler::taps_for(scale), false, PICTURE);
    let rgb =
        pixels.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|b| if p[3] > 0.0 { (p[b] * 255.0).round() as u8 } else { NO_DATA })).collect();
    Ok(Thumb::new(PICTURE as u32, PICTURE as u32, rgb)?)
}

/// A part of an image, averaged down: red, green, blue, and above 0 where there is data.
pub(super) struct Averaged {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Image pixels a pixel.
    pub(super) scale: f64,
    pub(super) pixels: Vec<[f32; 4]>,
}

/// The rectangle of `size` from `from` on, averaged down to at most `longest` pixels a side; read once, by strips.
pub(super) fn averaged(global: &Global, image: &Image, from: [i64; 2], [w, h]: [u32; 2], longest: u32) -> Result<Averaged> {
    let scale = (f64::from(w.max(h)) / f64::from(longest)).max(1.0);
    let at = |v: u32| (f64::from(v) / scale) as usize;
    let (width, height) = (at(w - 1) + 1, at(h - 1) + 1);
    let mut sums = vec![[0f32; 4]; width * height];
    let look = Look::of(image);
    let strip = image.raster.chunk_size().1.clamp(16, 512);
    let bar = global.bar(u64::from(h), "overview");
    for y0 in (0..h).step_by(strip as usize) {
        let lines = strip.min(h - y0);
        for x0 in (0..w).step_by(2048) {
            let columns = 2048.min(w - x0);
            let window = image.raster.read_window(from[0] + i64::from(x0), from[1] + i64::from(y0), columns, lines)?;
            let bands = window.bands as usize;
            for (p, values) in window.data.chunks_exact(bands).enumerate().filter(|(p, _)| window.valid[*p] != 0) {
                let (x, y) = (x0 + p as u32 % columns, y0 + p as u32 / columns);
                let sum = &mut sums[at(y) * width + at(x)];
                let rgb = look.rgb(image, values);
                (0..3).for_each(|b| sum[b] += rgb[b]);
                sum[3] += 1.0;
            }
        }
        bar.inc(u64::from(lines));
    }
    bar.finish_and_clear();
    for s in sums.iter_mut().filter(|s| s[3] > 0.0) {
        (0..3).for_each(|b| s[b] /= s[3]);
    }
    Ok(Averaged { width, height, scale, pixels: sums })
}

/// The whole map, averaged down.
pub(super) fn overview(global: &Global, map: &Image) -> Result<MapOverview> {
    let a = averaged(global, map, [0, 0], [map.raster.width(), map.raster.height()], OVERVIEW)?;
    let rgb = a.pixels.iter().flat_map(|s| [0, 1, 2].map(|b| if s[3] > 0.0 { (255.0 * s[b]).round() as u8 } else { NO_DATA })).collect();
    let pixel_m = map.raster.ground_pixel_size().map_or(0.0, |(x, y)| (x * y).sqrt());
    Ok(MapOverview { thumb: Thumb::new(a.width as u32, a.height as u32, rgb)?, scale: a.scale, pixel_m })
}

/// A model in a few words, and how it multiplied.
pub(super) fn model_name(model: &LoadedModel) -> String {
    format!("{} ({}), {}", model.path.display(), model.hash.get(..12).unwrap_or_default(), model.precision())
}

/// Features in a few words, and how their networks multiplied, if they have any.
pub(super) fn features_name(model: &DenseModel) -> String {
    let name = format!("{} features ({})", model.name(), model.hash().get(..12).unwrap_or_default());
    if model.file().is_some() { format!("{name}, {}", model.precision()) } else { name }
}

/// What a page says about its run.
pub(super) fn meta(title: &str, map: &str, sar: &str, model: String, adapter: &str, rows: Vec<(String, String)>) -> ReportMeta {
    ReportMeta {
        title: title.into(),
        command: command_line(),
        map: map.into(),
        sar: sar.into(),
        model,
        adapter: adapter.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        rows,
    }
}

/// Checks that a map is the one a database was made of, by its size and place.
pub(super) fn check_map(m: &MapInfo, database: &Path, map: &Image) -> Result<()> {
    let same = (map.raster.width(), map.raster.height()) == (m.width, m.height)
        && map.raster.geo().is_some_and(|g| g.coefficients() == m.geotransform);
    if same {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{}: is not the map that {} was made of ({}, {}x{} px)",
        map.raster.path().display(),
        database.display(),
        m.name,
        m.width,
        m.height
    )))
}
