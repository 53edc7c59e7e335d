//! GeoTIFF out: Cloud Optimized (tiles of 512 px, Deflate, overviews by halves, directories before data), written beside the target and
//! renamed.
//!
//! Rows come in once, from the top down. Each resolution holds one row of tiles at most; full tiles go, compressed, to a temporary file a
//! resolution, and the file itself is put together at the end, when the size of each tile is known.

use std::path::Path;

use rayon::prelude::*;
use tiff::encoder::compression::{CompressionAlgorithm, Deflate, DeflateLevel};

use super::cog;
use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::GeoTransform;
use super::raster::SampleType;
use crate::atomic::{AtomicFile, folder_of};

/// Side of a tile at most, px.
const TILE: u32 = 512;
/// Samples asked for at a time, about.
const BATCH_BYTES: usize = 16 << 20;

/// Samples to write, `[height, width, bands]`.
#[derive(Debug, Clone, Copy)]
pub enum SampleData<'a> {
    /// 8-bit unsigned integers.
    U8(&'a [u8]),
    /// 32-bit floats.
    F32(&'a [f32]),
}

/// A GeoTIFF to come, without its samples.
#[derive(Debug, Clone, Copy, Default)]
pub struct GeoTiff<'a> {
    /// Width, px.
    pub width: u32,
    /// Height, px.
    pub height: u32,
    /// Bands a pixel.
    pub bands: u32,
    /// Pixels to map coordinates.
    pub geo: Option<&'a GeoTransform>,
    /// System of the coordinates.
    pub crs: Option<&'a Crs>,
    /// Value of pixels without data.
    pub nodata: Option<f64>,
    /// Ground control points, where there is no `geo`: pixel position, and coordinates in `crs`.
    pub ties: &'a [([f64; 2], [f64; 2])],
    /// Descriptions of the bands, the first ones' first.
    pub names: &'a [Option<&'a str>],
    /// Named remarks: items of GDAL's metadata.
    pub about: &'a [(String, String)],
}

/// Writes a Cloud Optimized GeoTIFF (Deflate; BigTIFF where it is larger than 4 GiB): complete under its name, or not at all.
///
/// Three bands are stored as RGB, any other number as grey with further bands.
///
/// # Errors
/// [`Error::Argument`] where the sizes do not fit, [`Error::UnknownCrs`], [`Error::Write`].
pub fn write_geotiff(
    path: impl AsRef<Path>,
    width: u32,
    height: u32,
    bands: u32,
    data: SampleData<'_>,
    geo: Option<&GeoTransform>,
    epsg: Option<u32>,
    nodata: Option<f64>,
) -> Result<()> {
    let path = path.as_ref();
    let len = match data {
        SampleData::U8(v) => v.len(),
        SampleData::F32(v) => v.len(),
    };
    let expected = u128::from(width) * u128::from(height) * u128::from(bands);
    if expected != len as u128 {
        return Err(Error::argument(path.display().to_string(), format!("{width}x{height} px in {bands} bands do not fit {len} samples")));
    }
    let crs = epsg.map(Crs::from_epsg).transpose()?;
    let header = GeoTiff { width, height, bands, geo, crs: crs.as_ref(), nodata, ..GeoTiff::default() };
    let row = width as usize * bands as usize;
    let span = |y: u32, rows: u32| y as usize * row..(y + rows) as usize * row;
    match data {
        SampleData::U8(v) => write(path, &header, &mut |y, rows, out: &mut Vec<u8>| {
            out.extend_from_slice(&v[span(y, rows)]);
            Ok(())
        }),
        SampleData::F32(v) => write(path, &header, &mut |y, rows, out: &mut Vec<f32>| {
            out.extend_from_slice(&v[span(y, rows)]);
            Ok(())
        }),
    }
}

/// As [`write_geotiff`], of an image that need not fit into memory: `fill(y, rows, out)` is asked for the rows from `y` on, from the top
/// down, some at a time, and appends their samples `[rows, width, bands]` to `out`. They are stored as `kind`, rounded where it is of whole
/// numbers (half floats as floats).
///
/// # Errors
/// As [`write_geotiff`], and those of `fill`.
pub fn write_geotiff_rows(path: impl AsRef<Path>, header: &GeoTiff<'_>, kind: SampleType, fill: Fill<'_, f32>) -> Result<()> {
    let path = path.as_ref();
    match kind {
        SampleType::U8 => write(path, header, &mut converted(fill, |v| v.round() as u8)),
        SampleType::I8 => write(path, header, &mut converted(fill, |v| v.round() as i8)),
        SampleType::U16 => write(path, header, &mut converted(fill, |v| v.round() as u16)),
        SampleType::I16 => write(path, header, &mut converted(fill, |v| v.round() as i16)),
        SampleType::U32 => write(path, header, &mut converted(fill, |v| v.round() as u32)),
        SampleType::I32 => write(path, header, &mut converted(fill, |v| v.round() as i32)),
        SampleType::F16 | SampleType::F32 => write::<f32>(path, header, fill),
        SampleType::F64 => write(path, header, &mut converted(fill, f64::from)),
    }
}

/// Rows of `f32` as rows of another type.
fn converted<'f, T>(fill: Fill<'f, f32>, convert: impl Fn(f32) -> T + 'f) -> impl FnMut(u32, u32, &mut Vec<T>) -> Result<()> + 'f {
    let mut rows = Vec::new();
    move |y, count, out| {
        rows.clear();
        fill(y, count, &mut rows)?;
        out.extend(rows.iter().map(|v| convert(*v)));
        Ok(())
    }
}

/// A type of samples that is written.
trait Sample: bytemuck::Pod + Send + Sync {
    /// TIFF's SampleFormat: 1 unsigned, 2 signed, 3 floating.
    const FORMAT: u16;
    /// This less the other, wrapping; of floats, which another predictor serves, this.
    fn less(self, other: Self) -> Self;
    /// As a number.
    fn number(self) -> f64;
    /// The nearest sample to a number.
    fn nearest(v: f64) -> Self;
}

macro_rules! samples {
    ($($t:ty, $format:expr, $less:expr, $nearest:expr;)*) => {$(
        impl Sample for $t {
            const FORMAT: u16 = $format;
            fn less(self, other: Self) -> Self {
                let less: fn($t, $t) -> $t = $less;
                less(self, other)
            }
            fn number(self) -> f64 {
                f64::from(self)
            }
            fn nearest(v: f64) -> Self {
                let nearest: fn(f64) -> $t = $nearest;
                nearest(v)
            }
        }
    )*};
}

samples! {
    u8, 1, <u8>::wrapping_sub, |v| v.round() as u8;
    i8, 2, <i8>::wrapping_sub, |v| v.round() as i8;
    u16, 1, <u16>::wrapping_sub, |v| v.round() as u16;
    i16, 2, <i16>::wrapping_sub, |v| v.round() as i16;
    u32, 1, <u32>::wrapping_sub, |v| v.round() as u32;
    i32, 2, <i32>::wrapping_sub, |v| v.round() as i32;
    f32, 3, |a, _| a, |v| v as f32;
    f64, 3, |a, _| a, |v| v;
}

/// Appends rows of samples to a vector.
pub type Fill<'f, T> = &'f mut dyn FnMut(u32, u32, &mut Vec<T>) -> Result<()>;

fn write<T: Sample>(path: &Path, header: &GeoTiff<'_>, fill: Fill<'_, T>) -> Result<()> {
    write_within(path, header, fill, cog::CLASSIC)
}

/// As a BigTIFF above so many bytes.
fn write_within<T: Sample>(path: &Path, header: &GeoTiff<'_>, fill: Fill<'_, T>, classic: u64) -> Result<()> {
    let GeoTiff { width, height, bands, .. } = *header;
    let samples = u128::from(width) * u128::from(height) * u128::from(bands);
    if samples == 0 || bands > 1024 {
        return Err(Error::argument(path.display().to_string(), format!("{width}x{height} px in {bands} bands cannot be written")));
    }
    let keys = header.crs.map(Crs::geo_keys).transpose()?;
    let failed = |e| Error::write(path, e);
    let file = AtomicFile::create(path).map_err(failed)?;
    let mut pyramid = Pyramid::<T>::new(header, folder_of(path)).map_err(failed)?;
    let row_bytes = width as usize * bands as usize * size_of::<T>();
    let most = (BATCH_BYTES / row_bytes).clamp(1, TILE as usize / 2) as u32;
    let mut rows = Vec::new();
    for y in (0..height).step_by(most as usize) {
        let count = most.min(height - y);
        rows.clear();
        fill(y, count, &mut rows)?;
        assert_eq!(rows.len() * size_of::<T>(), row_bytes * count as usize, "rows that were asked for");
        pyramid.take(0, &rows).map_err(failed)?;
    }
    pyramid.finish().map_err(failed)?;
    let (predicted, bits) = (pyramid.predicted.unwrap_or(true), 8 * size_of::<T>() as u16);
    let predictor = match (predicted, T::FORMAT) {
        (false, _) => 1,
        (true, 3) => 3,
        (true, _) => 2,
    };
    let levels = pyramid.levels.into_iter().map(|l| l.stored).collect();
    cog::assemble(file.file(), header, keys.as_ref(), cog::Samples { bits, format: T::FORMAT, predictor }, levels, classic)
        .map_err(failed)?;
    file.commit().map(drop).map_err(failed)
}

/// An image at one resolution: rows that fill no tile yet, and the tiles.
struct Level<T> {
    rows: Vec<T>,
    stored: cog::Level,
}

/// An image and its overviews while they are written.
struct Pyramid<T> {
    bands: usize,
    nodata: Option<f64>,
    /// Whether samples are stored as differences; decided by what is smaller of the first row of tiles.
    predicted: Option<bool>,
    levels: Vec<Level<T>>,
}

impl<T: Sample> Pyramid<T> {
    fn new(header: &GeoTiff<'_>, folder: &Path) -> std::io::Result<Self> {
        let mut size = [header.width, header.height];
        // Tiles have sides of 16 px or a multiple.
        let tile = size.map(|v| v.next_multiple_of(16).min(TILE));
        let mut levels = vec![Level { rows: Vec::new(), stored: cog::Level::new(size, tile, folder)? }];
        while size[0].max(size[1]) > TILE {
            size = size.map(|v| v.div_ceil(2));
            levels.push(Level { rows: Vec::new(), stored: cog::Level::new(size, [TILE; 2], folder)? });
        }
        // Tiles of an image with overviews are square.
        if levels.len() > 1 {
            levels[0].stored.tile = [TILE; 2];
        }
        Ok(Self { bands: header.bands as usize, nodata: header.nodata, predicted: None, levels })
    }

    /// The next rows of a resolution.
    fn take(&mut self, at: usize, rows: &[T]) -> std::io::Result<()> {
        let Some(level) = self.levels.get_mut(at) else { return Ok(()) };
        level.rows.extend_from_slice(rows);
        let full = level.stored.size[0] as usize * self.bands * level.stored.tile[1] as usize;
        while self.levels[at].rows.len() >= full {
            let rest = self.levels[at].rows.split_off(full);
            let rows = std::mem::replace(&mut self.levels[at].rows, rest);
            self.flush(at, &rows)?;
        }
        Ok(())
    }

    /// What is left of each resolution.
    fn finish(&mut self) -> std::io::Result<()> {
        for at in 0..self.levels.len() {
            let rows = std::mem::take(&mut self.levels[at].rows);
            if !rows.is_empty() {
                self.flush(at, &rows)?;
            }
        }
        Ok(())
    }

    /// Stores a row of tiles, and hands it on at half the resolution. A row of tiles has an even number of rows, but for the last.
    fn flush(&mut self, at: usize, rows: &[T]) -> std::io::Result<()> {
        let bands = self.bands;
        let stored = &self.levels[at].stored;
        let ([width, _], [tile, lines]) = (stored.size.map(|v| v as usize), stored.tile.map(|v| v as usize));
        let tiles: Vec<Vec<T>> = (0..width)
            .step_by(tile)
            .map(|x| {
                let mut out = vec![T::nearest(self.nodata.unwrap_or(0.0)); tile * lines * bands];
                let n = tile.min(width - x) * bands;
                for (to, from) in out.chunks_exact_mut(tile * bands).zip(rows.chunks_exact(width * bands)) {
                    to[..n].copy_from_slice(&from[x * bands..][..n]);
                }
                out
            })
            .collect();
        let pack = |predicted: bool| -> std::io::Result<Vec<Vec<u8>>> {
            tiles.par_iter().map(|t| packed(t, tile * bands, bands, predicted)).collect()
        };
        let bytes = match self.predicted {
            Some(predicted) => pack(predicted)?,
            None => {
                let size = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>();
                let (plain, differences) = (pack(false)?, pack(true)?);
                let predicted = size(&differences) <= size(&plain);
                self.predicted = Some(predicted);
                if predicted { differences } else { plain }
            }
        };
        let stored = &mut self.levels[at].stored;
        bytes.iter().try_for_each(|b| stored.push(b))?;
        if at + 1 < self.levels.len() {
            let half = halved(rows, width, bands, self.nodata);
            self.take(at + 1, &half)?;
        }
        Ok(())
    }
}

/// Rows at half the resolution: means of two by two pixels, of those with data.
fn halved<T: Sample>(rows: &[T], width: usize, bands: usize, nodata: Option<f64>) -> Vec<T> {
    let row = width * bands;
    let (across, down) = (width.div_ceil(2), (rows.len() / row).div_ceil(2));
    let none = T::nearest(nodata.unwrap_or(if T::FORMAT == 3 { f64::NAN } else { 0.0 })).number();
    let marks = |v: f64| v == none && nodata.is_some() || !v.is_finite();
    let mut out = vec![T::nearest(none); across * down * bands];
    out.par_chunks_exact_mut(across * bands).enumerate().for_each(|(y, line)| {
        let mut sums = vec![(0.0, 0u32); bands];
        for (x, pixel) in line.chunks_exact_mut(bands).enumerate() {
            sums.fill((0.0, 0));
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let (x, y) = (2 * x + dx, 2 * y + dy);
                let Some(from) = rows.get(y * row + x * bands..).filter(|r| x < width && r.len() >= bands).map(|r| &r[..bands]) else {
                    continue;
                };
                if from.iter().all(|v| marks(v.number())) {
                    continue;
                }
                for (sum, v) in sums.iter_mut().zip(from).filter(|(_, v)| v.number().is_finite()) {
                    *sum = (sum.0 + v.number(), sum.1 + 1);
                }
            }
            let mut any = false;
            for (to, (sum, n)) in pixel.iter_mut().zip(&sums).filter(|(_, (_, n))| *n > 0) {
                *to = T::nearest(sum / f64::from(*n));
                any = true;
            }
            // Data must not read as none.
            if any && nodata.is_some() && pixel.iter().all(|v| v.number() == none) {
                pixel[0] = match T::FORMAT {
                    3 => T::nearest(f64::from((none as f32).next_up())),
                    _ if none > 0.0 => T::nearest(none - 1.0),
                    _ => T::nearest(none + 1.0),
                };
            }
        }
    });
    out
}

/// Samples of a tile as they are stored: Deflate, of differences along the row where `predicted`.
fn packed<T: Sample>(samples: &[T], row: usize, bands: usize, predicted: bool) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut deflate = Deflate::with_level(DeflateLevel::Balanced);
    if !predicted {
        deflate.write_to(&mut out, bytemuck::cast_slice(samples))?;
    } else if T::FORMAT == 3 {
        deflate.write_to(&mut out, &float_differences(samples, row, bands))?;
    } else {
        let mut rows = samples.to_vec();
        for line in rows.chunks_exact_mut(row) {
            (bands..row).rev().for_each(|i| line[i] = line[i].less(line[i - bands]));
        }
        deflate.write_to(&mut out, bytemuck::cast_slice(&rows))?;
    }
    Ok(out)
}

/// TIFF's floating point predictor (Adobe's Technical Note 3): of each row first the highest bytes of all samples, then the next, ...; as differences.
fn float_differences<T: Sample>(samples: &[T], row: usize, bands: usize) -> Vec<u8> {
    let size = size_of::<T>();
    let bytes: &[u8] = bytemuck::cast_slice(samples);
    let mut out = vec![0; bytes.len()];
    for (to, from) in out.chunks_exact_mut(row * size).zip(bytes.chunks_exact(row * size)) {
        for (i, sample) in from.chunks_exact(size).enumerate() {
            for (k, byte) in sample.iter().enumerate() {
                let from_top = if cfg!(target_endian = "little") { size - 1 - k } else { k };
                to[from_top * row + i] = *byte;
            }
        }
        (bands..to.len()).rev().for_each(|i| to[i] = to[i].wrapping_sub(to[i - bands]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Raster;
    use super::*;

    /// Value of a pixel and band; none in a corner.
    fn value(x: u32, y: u32, b: u32) -> f32 {
        if x < 700 && y < 300 { 0.0 } else { (20 + (x / 8 + y / 16 + 40 * b) % 200) as f32 }
    }

    fn written(dir: &Path, kind: SampleType, bands: u32) -> (std::path::PathBuf, Raster) {
        let path = dir.join(format!("{kind:?}{bands}.tif"));
        let about = [("A_REMARK".to_string(), "<5 & \"6\">".to_string())];
        let geo = GeoTransform::north_up(500_000.0, 4_000_000.0, 10.0, 10.0).unwrap();
        let crs = Crs::from_epsg(32633).unwrap();
        let header = GeoTiff {
            width: 1500,
            height: 1101,
            bands,
            geo: Some(&geo),
            crs: Some(&crs),
            nodata: Some(0.0),
            names: &[Some("VV"), Some("VH")],
            about: &about,
            ..GeoTiff::default()
        };
        let mut next = 0;
        write_geotiff_rows(&path, &header, kind, &mut |y0, rows, out: &mut Vec<f32>| {
            assert_eq!(y0, next);
            next += rows;
            out.extend((y0..y0 + rows).flat_map(|y| (0..1500).flat_map(move |x| (0..bands).map(move |b| value(x, y, b)))));
            Ok(())
        })
        .unwrap();
        assert_eq!(next, 1101);
        let raster = Raster::open(&path).unwrap();
        (path, raster)
    }

    #[test]
    fn tiles_come_back_and_overviews_are_means() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, bands) in [
            (SampleType::U8, 1),
            (SampleType::U8, 3),
            (SampleType::I16, 2),
            (SampleType::U16, 4),
            (SampleType::I32, 1),
            (SampleType::F32, 1),
            (SampleType::F32, 2),
            (SampleType::F64, 3),
        ] {
            let (path, raster) = written(dir.path(), kind, bands);
            assert_eq!((raster.chunk_size(), raster.sample_type(), raster.bands()), ((512, 512), kind, bands));
            let w = raster.read_window(0, 0, 1500, 1101).unwrap();
            for (x, y) in [(0, 0), (699, 299), (700, 0), (511, 511), (512, 512), (1499, 1100), (1023, 700)] {
                let at = (y * 1500 + x) as usize;
                assert_eq!(w.valid[at], u8::from(value(x, y, 0) != 0.0));
                assert!((0..bands).all(|b| w.data[at * bands as usize + b as usize] == value(x, y, b)), "{kind:?} {bands} {x},{y}");
            }
            if bands > 1 {
                assert_eq!(raster.band_names()[1].1, Some("VH"));
            }
            // The chain of directories, read by the encoder's other half.
            let mut decoder = tiff::decoder::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap();
            let mut sizes = vec![decoder.dimensions().unwrap()];
            while decoder.more_images() {
                decoder.next_image().unwrap();
                sizes.push(decoder.dimensions().unwrap());
            }
            assert_eq!(sizes, [(1500, 1101), (750, 551), (375, 276)]);
            if (kind, bands) == (SampleType::U8, 1) {
                let tiff::decoder::DecodingResult::U8(last) = decoder.read_image().unwrap() else { panic!() };
                // Of 4 x 4 pixels of one value; the corner has none.
                assert_eq!((last[0], last[200 * 375 + 200]), (0, value(800, 800, 0) as u8));
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()[..4096]).into_owned();
            assert!(text.starts_with("II*\0") && text.contains("LAYOUT=IFDS_BEFORE_DATA"), "{text}");
            assert!(text.contains("&lt;5 &amp; &quot;6&quot;&gt;") && text.contains("echogrid "), "{text}");
        }
    }

    #[test]
    fn a_big_tiff_is_laid_out_as_a_small_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = written(dir.path(), SampleType::U8, 1);
        let small = Raster::open(&path).unwrap().read_window(0, 0, 1500, 1101).unwrap();
        let big = dir.path().join("big.tif");
        let header = GeoTiff { width: 1500, height: 1101, bands: 1, nodata: Some(0.0), ..GeoTiff::default() };
        let rows = &mut |y0: u32, rows: u32, out: &mut Vec<u8>| {
            out.extend((y0..y0 + rows).flat_map(|y| (0..1500).map(move |x| value(x, y, 0) as u8)));
            Ok(())
        };
        write_within(&big, &header, rows, 1000).unwrap();
        assert_eq!(std::fs::read(&big).unwrap()[..8], *b"II+\0\x08\0\0\0");
        assert_eq!(Raster::open(&big).unwrap().read_window(0, 0, 1500, 1101).unwrap(), small);
        let mut decoder = tiff::decoder::Decoder::new(std::fs::File::open(&big).unwrap()).unwrap();
        decoder.next_image().unwrap();
        decoder.next_image().unwrap();
        assert_eq!(decoder.dimensions().unwrap(), (375, 276));
        // One tile, whose place stands in the directory itself.
        let one = dir.path().join("one.tif");
        let header = GeoTiff { width: 3, height: 2, bands: 1, ..GeoTiff::default() };
        write_within(
            &one,
            &header,
            &mut |_, _, out: &mut Vec<u8>| {
                out.extend([1, 2, 3, 4, 5, 6]);
                Ok(())
            },
            10,
        )
        .unwrap();
        assert_eq!(Raster::open(&one).unwrap().read_window(0, 0, 3, 2).unwrap().data, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    /// Peak memory of a wide image, which must not grow with its height: `cargo test --release --lib wide -- --ignored --nocapture`.
    #[test]
    #[ignore = "writes an image of 30,000 x 8,000 px and prints the peak of memory (Linux)"]
    fn wide_images_need_a_row_of_tiles() {
        let dir = tempfile::tempdir().unwrap();
        let header = GeoTiff { width: 30_000, height: 8_000, bands: 1, nodata: Some(0.0), ..GeoTiff::default() };
        write_geotiff_rows(dir.path().join("wide.tif"), &header, SampleType::F32, &mut |y0, rows, out: &mut Vec<f32>| {
            out.extend((y0..y0 + rows).flat_map(|y| (0..30_000).map(move |x| value(x, y, 0) + (x * 7 + y * 13) as f32 % 31.0)));
            Ok(())
        })
        .unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM is not told here");
        println!("{peak}; the samples take {} MiB", (30_000u64 * 8_000 * 4) >> 20);
    }

    #[test]
    fn halves_leave_out_what_is_no_data() {
        let rows = [4.0f32, -1.0, f32::NAN, 6.0, -1.0, -1.0, 8.0, -1.0, -1.0];
        let half = halved(&rows, 3, 1, Some(-1.0));
        assert_eq!(half, [5.0, -1.0, 8.0, -1.0]);
        assert_eq!(halved(&[4u8, 6, 4, 6], 2, 1, Some(5.0)), [4]);
        assert!(halved(&[f32::NAN; 4], 2, 1, None)[0].is_nan());
        // Bands of one pixel go together.
        assert_eq!(halved(&[0u8, 10, 0, 0, 0, 20, 0, 0], 2, 2, Some(0.0)), [0, 15]);
    }
}
