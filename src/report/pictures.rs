//! Pictures: patches, the map below them, overlays, correlation surfaces, the whole map.

use super::graticule::Graticule;
use super::html::OVERLAYS;
use super::{MapOverview, Overlay, Pictures, Thumb};
use crate::Result;
use crate::dense::{DenseDatabase, Match, Variant};
use crate::kernels::peaks::TILE;
use crate::kernels::sampler::{self, PatchRecord};
use crate::locate::{Fix, Located};
use crate::reference;
use crate::scene::{Image, Radiometry, Window, compose};

/// Side of the pictures, pixels.
pub const PICTURE: usize = 128;
/// Candidates pictured where they are cells, and where they are peaks, beside the overlay and the surface.
const PICTURED: [usize; 2] = [5, 3];
/// Fixes pictured at most: a page holds about this many.
pub const PICTURED_FIXES: usize = 250;
/// Longest side of the overview, pixels.
const OVERVIEW: u32 = 1600;
/// Pixels of all pictures of a kind that lie on the overview.
const OVERLAY_PIXELS: f64 = 1.4e6;
/// Images below which the map is shown by more pixels.
const CLOSER: usize = 24;
/// Shown about such an image, as a share of it.
const MARGIN: f64 = 0.25;
/// Longest side of a surface's picture, pixels.
const SURFACE: usize = 192;
/// Squares a side of the overlay's checkerboard.
const SQUARES: u32 = 4;

/// What a fix is pictured from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The SAR image; without it there are no pictures.
    pub sar: Option<&'a Image>,
    /// From map pixels to SAR pixels about the patch, but for its own turn.
    pub matrix: [[f64; 2]; 2],
    /// Side of the patch, map pixels.
    pub side: f64,
    /// The map, where it can be read.
    pub map: Option<&'a Image>,
    /// What its surface says, and the database that was searched, by dense matching.
    pub surface: Option<(&'a Match, &'a DenseDatabase)>,
}

/// The pictures of a fix: the patch, the map at its best candidates, an overlay at the first, the correlation's surface over the map.
///
/// # Errors
/// Reading.
pub fn pictures(fix: &Fix, subject: &Subject<'_>) -> Result<Pictures> {
    let Subject { sar, side, map, surface: matched, .. } = *subject;
    let variant = fix.variant.unwrap_or(Variant::PLAIN);
    let Some(sar) = sar else { return Ok(Pictures::default()) };
    let patch = cut(sar, fix.sar_px, compose(subject.matrix, variant.from_map()), side)?;
    let mut out = Pictures::default();
    if let Some(map) = map {
        for candidate in fix.candidates.iter().take(PICTURED[usize::from(matched.is_some())]) {
            out.candidates.push(cut(map, candidate.place.map_px, [[1.0, 0.0], [0.0, 1.0]], side)?);
        }
        if let Some(below) = out.candidates.first().filter(|_| matched.is_some()) {
            out.more.push(("SAR over map".into(), checkerboard(&patch, below)?));
        }
    }
    if let Some((found, database)) = matched
        && let Some(tiles) = &found.tiles
    {
        out.more.push(("Correlation".into(), surface(database, fix, found, tiles, side)?));
    }
    out.patch = Some(patch);
    Ok(out)
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
pub const NO_DATA: u8 = 128;

/// A window of an image as it is.
///
/// # Errors
/// A window of nothing.
pub fn window(image: &Image, window: &Window) -> Result<Thumb> {
    let look = Look::of(image);
    let pixels = window.data.chunks_exact(window.bands as usize).zip(&window.valid);
    let shown = |(values, valid): (&[f32], &u8)| match valid {
        0 => [NO_DATA; 3],
        _ => look.rgb(image, values).map(|v| (v * 255.0).round() as u8),
    };
    Ok(Thumb::new(window.width, window.height, pixels.flat_map(shown).collect())?)
}

/// A patch of `side` map pixels about a position, `matrix` from map pixels to the image's, by the sampler's twin.
pub fn cut(image: &Image, centre: [f64; 2], matrix: [[f64; 2]; 2], side: f64) -> Result<Thumb> {
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

/// A part of an image, averaged down.
#[derive(Debug, Clone)]
pub struct Averaged {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Image pixels a pixel.
    pub scale: f64,
    /// Row by row: red, green and blue, 0 to 1, and above 0 where there is data.
    pub pixels: Vec<[f32; 4]>,
}

/// The rectangle of `size` from `from` on, averaged down to at most `longest` pixels a side; read once, by strips.
pub fn averaged(progress: &mut dyn FnMut(u64, u64), image: &Image, from: [i64; 2], [w, h]: [u32; 2], longest: u32) -> Result<Averaged> {
    let scale = (f64::from(w.max(h)) / f64::from(longest)).max(1.0);
    let at = |v: u32| (f64::from(v) / scale) as usize;
    let (width, height) = (at(w - 1) + 1, at(h - 1) + 1);
    let mut sums = vec![[0f32; 4]; width * height];
    let look = Look::of(image);
    let strip = image.raster.chunk_size().1.clamp(16, 512);
    let mut done = 0;
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
        done += u64::from(lines);
        progress(done, u64::from(h));
    }
    for s in sums.iter_mut().filter(|s| s[3] > 0.0) {
        (0..3).for_each(|b| s[b] /= s[3]);
    }
    Ok(Averaged { width, height, scale, pixels: sums })
}

/// The whole map, averaged down.
pub fn overview(progress: &mut dyn FnMut(u64, u64), map: &Image) -> Result<MapOverview> {
    let a = averaged(progress, map, [0, 0], [map.raster.width(), map.raster.height()], OVERVIEW)?;
    let pixel_m = map.raster.ground_pixel_size().map_or(0.0, |(x, y)| (x * y).sqrt());
    let thumb = a.overlay([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])?.thumb;
    Ok(MapOverview { graticule: Graticule::of(map), ..MapOverview::new(thumb, a.scale, pixel_m) })
}

impl Averaged {
    /// As a picture on the map, where `to_map` leads from the pixels it was averaged of to map pixels.
    ///
    /// # Errors
    /// A picture of no size.
    pub fn overlay(&self, to_map: [[f64; 3]; 2]) -> Result<Overlay> {
        let value = |s: &[f32; 4]| [0, 1, 2].map(|b| if s[3] > 0.0 { (255.0 * s[b]).round() as u8 } else { NO_DATA });
        let thumb = Thumb::new(self.width as u32, self.height as u32, self.pixels.iter().flat_map(value).collect())?;
        let whole = self.pixels.iter().all(|s| s[3] > 0.0);
        let valid = if whole { Vec::new() } else { self.pixels.iter().map(|s| s[3] > 0.0).collect() };
        Ok(Overlay { thumb, valid, to_map: to_map.map(|[x, y, c]| [x * self.scale, y * self.scale, c]) })
    }
}

/// Side of pictures that share a page, so many of them.
fn shared(count: usize) -> u32 {
    ((OVERLAY_PIXELS / count.max(1) as f64).sqrt() as u32).clamp(64, 1200)
}

/// Images as they lie on a map, and of the first the map below them by more pixels than the overview has.
///
/// # Errors
/// Reading.
pub fn overlays(overview: &mut MapOverview, map: &Image, images: &[&Located]) -> Result<()> {
    let placed: Vec<&Located> = images.iter().filter(|l| l.to_map.is_some()).copied().take(OVERLAYS).collect();
    for l in &placed {
        let Some(to_map) = l.to_map else { continue };
        let Some(image) = &l.image else { continue };
        let one = averaged(&mut |_, _| {}, image, [0, 0], l.size, shared(placed.len()))?;
        overview.images.push(one.overlay(to_map)?);
    }
    let near = &placed[..placed.len().min(CLOSER)];
    for l in near {
        let Some(corners) = l.corners_px() else { continue };
        let size = [map.raster.width(), map.raster.height()].map(f64::from);
        let side = [0, 1].map(|d| {
            let (low, high) = corners.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (l.min(c[d]), h.max(c[d])));
            let margin = MARGIN * (high - low);
            ((low - margin).floor().clamp(0.0, size[d]) as u32, (high + margin).ceil().clamp(0.0, size[d]) as u32)
        });
        let (from, extent) = (side.map(|s| s.0), side.map(|s| s.1.saturating_sub(s.0)));
        let longest = shared(near.len());
        // Only where it shows more than the overview does.
        if extent.contains(&0) || f64::from(extent[0].max(extent[1])) / f64::from(longest) > 0.7 * overview.scale {
            continue;
        }
        let one = averaged(&mut |_, _| {}, map, from.map(i64::from), extent, longest)?;
        overview.closer.push(one.overlay([[1.0, 0.0, f64::from(from[0])], [0.0, 1.0, f64::from(from[1])]])?);
    }
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
fn surface(database: &DenseDatabase, fix: &Fix, found: &Match, tiles: &[([f32; 2], f32)], side: f64) -> Result<Thumb> {
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
    let low = found.mean + found.noise;
    let range = (f64::from(top) - low).max(1e-9);
    let mut rgb: Vec<[u8; 3]> = best.iter().map(|s| if s.is_finite() { heat((f64::from(*s) - low) / range) } else { NOTHING }).collect();
    let mut dot = |x: f64, y: f64, color: [u8; 3]| {
        if x >= 0.0 && y >= 0.0 && (x as usize) < w && (y as usize) < h {
            rgb[y as usize * w + x as usize] = color;
        }
    };
    if let Some(p) = fix.truth.map(|p| p.map_px.map(|v| v / unit)) {
        for i in -6..=6i32 {
            if i.abs() > 2 {
                dot(p[0] + f64::from(i), p[1], [80, 240, 120]);
                dot(p[0], p[1] + f64::from(i), [80, 240, 120]);
            }
        }
    }
    if let Some(p) = fix.candidates.first().map(|c| c.place.map_px.map(|v| v / unit)) {
        for i in 0..64 {
            let (sin, cos) = (f64::from(i) * std::f64::consts::TAU / 64.0).sin_cos();
            dot(p[0] + 8.0 * cos, p[1] + 8.0 * sin, [255; 3]);
        }
    }
    Ok(Thumb::new(w as u32, h as u32, rgb.concat())?)
}
