//! An image resampled onto another grid, by tiles, from file to file.

use std::path::Path;

use rayon::prelude::*;

use super::crs::Crs;
use super::error::Result;
use super::georef::GeoTransform;
use super::raster::{Raster, SampleType};
use super::window::Window;
use super::write::{GeoTiff, write_geotiff_rows};

/// Side of a tile of the target at most, px.
const TILE: u32 = 256;
/// Pixels of the source that a tile reads at most; one that needs more is cut.
const WINDOW: f64 = (4 << 20) as f64;
/// Samples of the source a target pixel along each axis at most.
const TAPS: f64 = 32.0;

/// A grid to resample onto.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Width, px.
    pub width: u32,
    /// Height, px.
    pub height: u32,
    /// Pixels to map coordinates.
    pub geo: Option<&'a GeoTransform>,
    /// System of the coordinates.
    pub crs: Option<&'a Crs>,
}

/// Writes `source` resampled as a GeoTIFF of the same sample type and bands (half floats become floats): bilinear, or the mean over a
/// target pixel's area where that covers more than one source pixel. `place` says where a position in target pixels lies in the source.
///
/// A pixel has data where half of its weight has. Pixels without data hold the source's own value for that; where it has none, NaN in
/// floats and 0 in whole numbers. Only tiles are held in memory. `progress(rows, height)` counts rows written.
///
/// # Errors
/// Reading the source, writing the file; a coordinate system that GeoTIFF has no words for.
pub fn resample(
    source: &Raster,
    path: &Path,
    target: &Target<'_>,
    place: &(dyn Fn([f64; 2]) -> [f64; 2] + Sync),
    progress: impl FnMut(u32, u32),
) -> Result<()> {
    resample_about(source, path, target, &[], place, progress)
}

/// As [`resample`], with named remarks in the file that say how it came about.
///
/// # Errors
/// As [`resample`].
pub fn resample_about(
    source: &Raster,
    path: &Path,
    target: &Target<'_>,
    about: &[(String, String)],
    place: &(dyn Fn([f64; 2]) -> [f64; 2] + Sync),
    mut progress: impl FnMut(u32, u32),
) -> Result<()> {
    let (kind, bands) = (source.sample_type(), source.bands());
    let nodata = no_data_value(kind, source.nodata().or(source.fills().first().map(|f| f.value)));
    let Target { width, height, geo, crs } = *target;
    let names: Vec<Option<&str>> = source.band_names().iter().map(|(_, name)| *name).collect();
    let header = GeoTiff { width, height, bands, geo, crs, nodata: Some(nodata), names: &names, about, ..GeoTiff::default() };
    let warp = Warp { source, place, bands: bands as usize, nodata: nodata as f32, whole: !kind.is_float() };
    write_geotiff_rows(path, &header, kind, &mut |y0, rows, out: &mut Vec<f32>| {
        let (row, first) = (width as usize * warp.bands, out.len());
        out.resize(first + row * rows as usize, warp.nodata);
        let across = move |step: u32, size: u32| (0..size).step_by(step as usize).map(move |at| (at, step.min(size - at)));
        let tiles: Vec<(u32, u32, u32, u32)> =
            across(TILE, rows).flat_map(|(y, h)| across(TILE, width).map(move |(x, w)| (x, y, w, h))).collect();
        // A few tiles a core at a time: what they hold stays small beside the rows themselves.
        for group in tiles.chunks(4 * rayon::current_num_threads()) {
            let made = group.par_iter().map(|&(x, y, w, h)| warp.tile(x, y0 + y, w, h)).collect::<Result<Vec<_>>>()?;
            for (&(x, y, w, h), tile) in group.iter().zip(&made) {
                for line in 0..h as usize {
                    let n = w as usize * warp.bands;
                    let at = first + (y as usize + line) * row + x as usize * warp.bands;
                    out[at..at + n].copy_from_slice(&tile[line * n..][..n]);
                }
            }
        }
        progress(y0 + rows, height);
        Ok(())
    })
}

/// A rectangle of `size` px of another grid, its upper left pixel at `at`: what [`resample`] would write there, but not rounded. `place` says
/// where a position on that grid lies in the source.
///
/// # Errors
/// Reading the source.
pub fn resample_window(
    source: &Raster,
    place: &(dyn Fn([f64; 2]) -> [f64; 2] + Sync),
    at: [u32; 2],
    [width, height]: [u32; 2],
) -> Result<Window> {
    let bands = source.bands();
    let mut data = Warp::new(source, place, f32::NAN).tile(at[0], at[1], width, height)?;
    let mut valid = vec![1; width as usize * height as usize];
    for (pixel, valid) in data.chunks_exact_mut(bands as usize).zip(&mut valid) {
        if pixel.iter().any(|v| v.is_nan()) {
            pixel.fill(0.0);
            *valid = 0;
        }
    }
    Ok(Window { width, height, bands, data, valid })
}

/// What marks pixels without data: the given value where the type holds it.
fn no_data_value(kind: SampleType, given: Option<f64>) -> f64 {
    let range = match kind {
        SampleType::U8 => 0.0..=255.0,
        SampleType::I8 => -128.0..=127.0,
        SampleType::U16 => 0.0..=65_535.0,
        SampleType::I16 => -32_768.0..=32_767.0,
        SampleType::U32 => 0.0..=f64::from(u32::MAX),
        SampleType::I32 => f64::from(i32::MIN)..=f64::from(i32::MAX),
        SampleType::F16 | SampleType::F32 | SampleType::F64 => return given.unwrap_or(f64::NAN),
    };
    // What passes through f32 on its way must come out the same.
    given.filter(|v| range.contains(v) && v.fract() == 0.0 && f64::from(*v as f32) == *v).unwrap_or(0.0)
}

pub(super) struct Warp<'a> {
    source: &'a Raster,
    place: &'a (dyn Fn([f64; 2]) -> [f64; 2] + Sync),
    bands: usize,
    nodata: f32,
    /// Samples are whole numbers.
    whole: bool,
}

/// What a tile needs of the source.
enum Area {
    /// Nothing of it.
    Nothing,
    /// Some of the tile's positions have no place in it.
    Partly,
    /// Left, top, right and bottom, whole pixels, clipped to it.
    Box([f64; 4]),
}

impl<'a> Warp<'a> {
    /// Of samples as they are, `nodata` where there are none; `place` says where a position of the target lies in the source.
    pub(super) fn new(source: &'a Raster, place: &'a (dyn Fn([f64; 2]) -> [f64; 2] + Sync), nodata: f32) -> Self {
        Self { source, place, bands: source.bands() as usize, nodata, whole: false }
    }

    /// Samples `[h, w, bands]` of a tile of the target.
    pub(super) fn tile(&self, x0: u32, y0: u32, w: u32, h: u32) -> Result<Vec<f32>> {
        let mut out = vec![self.nodata; w as usize * h as usize * self.bands];
        // Where some positions have no place, parts may have: the tile is cut too.
        let ([left, top, right, bottom], whole) = match self.area(x0, y0, w, h) {
            Area::Nothing => return Ok(out),
            Area::Partly if w.max(h) == 1 => return Ok(out),
            Area::Partly => ([0.0; 4], false),
            Area::Box(area) => (area, true),
        };
        if (!whole || (right - left) * (bottom - top) > WINDOW) && w.max(h) > 1 {
            // Along the longer side.
            let (w1, h1) = if w >= h { (w / 2, h) } else { (w, h / 2) };
            let one = self.tile(x0, y0, w1, h1)?;
            let (x2, y2, w2, h2) = if w >= h { (x0 + w1, y0, w - w1, h) } else { (x0, y0 + h1, w, h - h1) };
            let two = self.tile(x2, y2, w2, h2)?;
            let (n, n1) = (w as usize * self.bands, w1 as usize * self.bands);
            if w >= h {
                for ((line, a), b) in out.chunks_exact_mut(n).zip(one.chunks_exact(n1)).zip(two.chunks_exact(n - n1)) {
                    line[..n1].copy_from_slice(a);
                    line[n1..].copy_from_slice(b);
                }
            } else {
                out[..one.len()].copy_from_slice(&one);
                out[one.len()..].copy_from_slice(&two);
            }
            return Ok(out);
        }
        let size = [right - left, bottom - top].map(|v| v as u32);
        let window = self.source.read_window(left as i64, top as i64, size[0], size[1])?;
        if window.valid.iter().all(|v| *v == 0) {
            return Ok(out);
        }
        let j = self.derivative([f64::from(x0) + f64::from(w) / 2.0, f64::from(y0) + f64::from(h) / 2.0]);
        // Half a percent of grace for scales that are one but for rounding.
        let taps = [0, 1].map(|axis| (j[0][axis].hypot(j[1][axis]) - 0.005).ceil().clamp(1.0, TAPS));
        let offsets: Vec<[f64; 2]> = (0..(taps[0] * taps[1]) as usize)
            .map(|i| {
                let at = |k: usize, n: f64| (k as f64 + 0.5) / n - 0.5;
                let (u, v) = (at(i % taps[0] as usize, taps[0]), at(i / taps[0] as usize, taps[1]));
                [j[0][0] * u + j[0][1] * v, j[1][0] * u + j[1][1] * v]
            })
            .collect();
        let mut sum = vec![0.0f32; self.bands];
        for (i, pixel) in out.chunks_exact_mut(self.bands).enumerate() {
            let p = [f64::from(x0 + i as u32 % w) + 0.5, f64::from(y0 + i as u32 / w) + 0.5];
            let q = (self.place)(p);
            sum.fill(0.0);
            let mut weight = 0.0;
            for offset in &offsets {
                // Centres of pixels are at halves.
                let [x, y] = [q[0] + offset[0] - left - 0.5, q[1] + offset[1] - top - 0.5];
                if !(x > -1.0 && y > -1.0 && x < f64::from(size[0]) && y < f64::from(size[1])) {
                    continue;
                }
                let (fx, fy) = ((x - x.floor()) as f32, (y - y.floor()) as f32);
                let corners = [(0, 0, (1.0 - fx) * (1.0 - fy)), (1, 0, fx * (1.0 - fy)), (0, 1, (1.0 - fx) * fy), (1, 1, fx * fy)];
                for (dx, dy, part) in corners {
                    let (cx, cy) = (x.floor() as i64 + dx, y.floor() as i64 + dy);
                    if part == 0.0 || cx < 0 || cy < 0 || cx >= i64::from(size[0]) || cy >= i64::from(size[1]) {
                        continue;
                    }
                    let at = cy as usize * size[0] as usize + cx as usize;
                    if window.valid[at] != 0 {
                        weight += part;
                        for (s, v) in sum.iter_mut().zip(&window.data[at * self.bands..]) {
                            *s += part * v;
                        }
                    }
                }
            }
            if weight >= 0.5 * offsets.len() as f32 {
                for (to, s) in pixel.iter_mut().zip(&sum) {
                    *to = if self.whole { (s / weight).round() } else { s / weight };
                }
                if pixel.iter().all(|v| *v == self.nodata) {
                    // Data must not read as none.
                    pixel[0] = match self.whole {
                        true if self.nodata > 0.0 => self.nodata - 1.0,
                        true => self.nodata + 1.0,
                        false => self.nodata.next_up(),
                    };
                }
            }
        }
        Ok(out)
    }

    /// What a tile needs of the source.
    fn area(&self, x0: u32, y0: u32, w: u32, h: u32) -> Area {
        const PARTS: u32 = 8;
        let mut area = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        let mut lost = 0;
        for i in 0..=PARTS {
            for k in 0..=PARTS {
                let at = |from: u32, size: u32, i: u32| f64::from(from) + f64::from(size) * f64::from(i) / f64::from(PARTS);
                let q = (self.place)([at(x0, w, i), at(y0, h, k)]);
                if !q.iter().all(|v| v.is_finite()) {
                    lost += 1;
                    continue;
                }
                area = [area[0].min(q[0]), area[1].min(q[1]), area[2].max(q[0]), area[3].max(q[1])];
            }
        }
        if lost > 0 {
            return if lost == (PARTS + 1).pow(2) { Area::Nothing } else { Area::Partly };
        }
        // A bent edge bulges between the positions tried: an eighth of a part's length is more than any bend of use makes of it.
        let slack = [area[2] - area[0], area[3] - area[1]].map(|v| v / f64::from(8 * PARTS) + 2.0);
        let size = [self.source.width(), self.source.height()].map(f64::from);
        let low = [0, 1].map(|d| (area[d] - slack[d]).floor().max(0.0));
        let high = [0, 1].map(|d| (area[d + 2] + slack[d]).ceil().min(size[d]));
        if low[0] < high[0] && low[1] < high[1] { Area::Box([low[0], low[1], high[0], high[1]]) } else { Area::Nothing }
    }

    /// Source pixels (rows) a target pixel.
    fn derivative(&self, p: [f64; 2]) -> [[f64; 2]; 2] {
        let at = |x: f64, y: f64| (self.place)([p[0] + x, p[1] + y]);
        let (l, r, t, b) = (at(-0.5, 0.0), at(0.5, 0.0), at(0.0, -0.5), at(0.0, 0.5));
        [0, 1].map(|d| [r[d] - l[d], b[d] - t[d]])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SampleData, write_geotiff};
    use super::*;

    fn value(x: f64, y: f64) -> f64 {
        60.0 + 0.5 * x + 0.25 * y
    }

    /// A plane of values in the given type, 300 x 200 px, without data in a corner.
    fn plane(path: &Path, kind: SampleType, bands: u32, nodata: Option<f64>) -> Raster {
        let header = GeoTiff { width: 300, height: 200, bands, nodata, ..GeoTiff::default() };
        write_geotiff_rows(path, &header, kind, &mut |y0, rows, out: &mut Vec<f32>| {
            for y in y0..y0 + rows {
                for x in 0..300 {
                    for b in 0..bands {
                        let missing = x < 20 && y < 20;
                        let v = value(f64::from(x) + 0.5, f64::from(y) + 0.5) + 10.0 * f64::from(b);
                        out.push(if missing { nodata.unwrap_or(f64::NAN) as f32 } else { v as f32 });
                    }
                }
            }
            Ok(())
        })
        .unwrap();
        Raster::open(path).unwrap()
    }

    #[test]
    fn every_sample_type_comes_back_turned_and_on_the_target_grid() {
        let dir = tempfile::tempdir().unwrap();
        let geo = GeoTransform::north_up(500_000.0, 4_000_000.0, 10.0, 10.0).unwrap();
        let crs = Crs::from_epsg(32633).unwrap();
        use SampleType::{F16, F32, F64, I8, I16, I32, U8, U16, U32};
        for (i, (kind, nodata, want)) in [
            (U8, None, Some(0.0)),
            (I8, Some(-5.0), Some(-5.0)),
            (U16, Some(65_535.0), Some(65_535.0)),
            (I16, Some(-9999.0), Some(-9999.0)),
            (U32, Some(0.0), Some(0.0)),
            (I32, Some(-1.0), Some(-1.0)),
            (F32, None, None),
            (F64, Some(-1e30), Some(-1e30)),
            (U8, Some(-9999.0), Some(0.0)),
        ]
        .into_iter()
        .enumerate()
        {
            for bands in [1, 3, 4] {
                let (a, b) = (dir.path().join(format!("a{i}-{bands}.tif")), dir.path().join(format!("b{i}-{bands}.tif")));
                let source = plane(&a, kind, bands, nodata.filter(|v| *v != -9999.0 || kind == I16));
                let (sin, cos) = 10f64.to_radians().sin_cos();
                let place = |p: [f64; 2]| [cos * p[0] - sin * p[1] + 30.0, sin * p[0] + cos * p[1] - 10.0];
                let target = Target { width: 700, height: 310, geo: Some(&geo), crs: Some(&crs) };
                let mut last = 0;
                resample(&source, &b, &target, &place, |y, h| {
                    assert!(y > last && h == 310);
                    last = y;
                })
                .unwrap();
                assert_eq!(last, 310);
                let out = Raster::open(&b).unwrap();
                assert_eq!(out.sample_type(), kind);
                assert_eq!((out.width(), out.height(), out.bands()), (700, 310, bands));
                assert_eq!(out.geo().unwrap().coefficients(), geo.coefficients());
                assert_eq!(out.epsg(), Some(32633));
                match want {
                    Some(v) => assert_eq!(out.nodata(), Some(v)),
                    None => assert!(out.nodata().is_none_or(f64::is_nan)),
                }
                let window = out.read_window(0, 0, 700, 310).unwrap();
                // Rounding of integers, of f32 sums over four weights, and that of the source itself.
                let bound = if kind.is_float() { 1e-3 } else { 1.0 };
                let mut seen = 0;
                for y in 0..310usize {
                    for x in 0..700usize {
                        let q = place([x as f64 + 0.5, y as f64 + 0.5]);
                        let inside = q[0] > 0.6 && q[1] > 0.6 && q[0] < 299.4 && q[1] < 199.4 && (q[0] > 21.1 || q[1] > 21.1);
                        let outside = q[0] < -0.1 || q[1] < -0.1 || q[0] > 300.1 || q[1] > 200.1 || (q[0] < 19.4 && q[1] < 19.4);
                        let p = y * 700 + x;
                        if inside {
                            assert_eq!(window.valid[p], 1, "{kind:?} {bands} at {x},{y}");
                            for c in 0..bands as usize {
                                let v = (value(q[0], q[1]) + 10.0 * c as f64).min(if kind == I8 { 127.0 } else { 255.0 });
                                let got = f64::from(window.data[p * bands as usize + c]);
                                // A clipped source is no plane beside where it clips.
                                assert!(
                                    (got - v).abs() <= bound || v > if kind == I8 { 126.0 } else { 254.0 },
                                    "{kind:?}: {got} for {v} at {x},{y}"
                                );
                            }
                            seen += 1;
                        } else if outside {
                            assert_eq!(window.valid[p], 0, "{kind:?} {bands} at {x},{y}: {q:?}");
                        }
                    }
                }
                assert!(seen > 50_000);
            }
        }
        let _ = F16;
    }

    #[test]
    fn a_finer_source_is_averaged_over_each_pixel() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.tif"), dir.path().join("b.tif"));
        // Stripes one pixel wide: point samples would see one or the other.
        let data: Vec<f32> = (0..1200 * 800).map(|i| if i % 2 == 0 { 0.0 } else { 10.0 }).collect();
        write_geotiff(&a, 1200, 800, 1, SampleData::F32(&data), None, None, None).unwrap();
        let source = Raster::open(&a).unwrap();
        let target = Target { width: 290, height: 190, geo: None, crs: None };
        resample(&source, &b, &target, &|p| [4.0 * p[0] + 8.0, 4.0 * p[1] + 9.5], |_, _| {}).unwrap();
        let window = Raster::open(&b).unwrap().read_window(0, 0, 290, 190).unwrap();
        assert!(window.valid.iter().all(|v| *v == 1));
        assert!(window.data.iter().all(|v| (v - 5.0).abs() < 1e-4), "{:?}", &window.data[..5]);
    }

    #[test]
    fn data_never_reads_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.tif"), dir.path().join("b.tif"));
        // Between 4 and 6 lies the value that marks no data.
        let data: Vec<u8> = (0..100 * 100).map(|i| if i % 2 == 0 { 4 } else { 6 }).collect();
        write_geotiff(&a, 100, 100, 1, SampleData::U8(&data), None, None, Some(5.0)).unwrap();
        let target = Target { width: 90, height: 90, geo: None, crs: None };
        resample(&Raster::open(&a).unwrap(), &b, &target, &|p| [p[0] + 5.5, p[1] + 5.0], |_, _| {}).unwrap();
        let window = Raster::open(&b).unwrap().read_window(0, 0, 90, 90).unwrap();
        assert!(window.valid.iter().all(|v| *v == 1) && window.data.iter().all(|v| *v == 4.0));
    }

    #[test]
    fn a_tile_of_many_source_pixels_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.tif"), dir.path().join("b.tif"));
        let data: Vec<u8> = (0..4000u32 * 3000).map(|i| (1 + (i % 4000) / 20) as u8).collect();
        write_geotiff(&a, 4000, 3000, 1, SampleData::U8(&data), None, None, None).unwrap();
        let target = Target { width: 200, height: 150, geo: None, crs: None };
        resample(&Raster::open(&a).unwrap(), &b, &target, &|p| [20.0 * p[0], 20.0 * p[1]], |_, _| {}).unwrap();
        let window = Raster::open(&b).unwrap().read_window(0, 0, 200, 150).unwrap();
        for (i, v) in window.data.iter().enumerate() {
            assert!((v - (1 + i % 200) as f32).abs() <= 1.0, "{v} at {i}");
        }
    }
}
