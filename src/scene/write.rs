//! GeoTIFF out: Deflate strips, written beside the target and renamed.
//!
//! The directory is written here tag by tag: the encoder's own image type compresses only what it is given whole.

use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use rayon::prelude::*;
use tiff::TiffError;
use tiff::encoder::compression::{CompressionAlgorithm, Deflate, DeflateLevel};
use tiff::encoder::{TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard};
use tiff::tags::{CompressionMethod, ExtraSamples, PhotometricInterpretation, Predictor, Tag};

use super::crs::{Crs, GeoKeyTags};
use super::error::{Error, Result};
use super::georef::GeoTransform;
use super::raster::SampleType;
use crate::atomic::AtomicFile;

/// Above this many bytes of samples a BigTIFF is written.
const BIG_TIFF_FROM: u128 = 3 << 30;
/// Samples of a strip, about.
const STRIP_BYTES: usize = 256 << 10;
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
#[derive(Debug, Clone, Copy)]
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
}

/// Writes a GeoTIFF (Deflate; BigTIFF above 3 GiB of samples): complete under its name, or not at all.
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
    let header = GeoTiff { width, height, bands, geo, crs: crs.as_ref(), nodata };
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
    /// This less the other, wrapping: for the horizontal predictor, which floats do without.
    fn less(self, other: Self) -> Self;
}

macro_rules! samples {
    ($($t:ty, $format:expr, $less:expr;)*) => {$(
        impl Sample for $t {
            const FORMAT: u16 = $format;
            fn less(self, other: Self) -> Self {
                let less: fn($t, $t) -> $t = $less;
                less(self, other)
            }
        }
    )*};
}

samples! {
    u8, 1, <u8>::wrapping_sub;
    i8, 2, <i8>::wrapping_sub;
    u16, 1, <u16>::wrapping_sub;
    i16, 2, <i16>::wrapping_sub;
    u32, 1, <u32>::wrapping_sub;
    i32, 2, <i32>::wrapping_sub;
    f32, 3, |a, _| a;
    f64, 3, |a, _| a;
}

/// Appends rows of samples to a vector.
pub type Fill<'f, T> = &'f mut dyn FnMut(u32, u32, &mut Vec<T>) -> Result<()>;

fn write<T: Sample>(path: &Path, header: &GeoTiff<'_>, fill: Fill<'_, T>) -> Result<()> {
    let GeoTiff { width, height, bands, .. } = *header;
    let samples = u128::from(width) * u128::from(height) * u128::from(bands);
    if samples == 0 || bands > 1024 {
        return Err(Error::argument(path.display().to_string(), format!("{width}x{height} px in {bands} bands cannot be written")));
    }
    let keys = header.crs.map(Crs::geo_keys).transpose()?;
    let file = AtomicFile::create(path).map_err(|e| Error::write(path, e))?;
    let mut out = BufWriter::new(file.file());
    if samples * size_of::<T>() as u128 > BIG_TIFF_FROM {
        image::<_, TiffKindBig, T>(&mut out, header, keys.as_ref(), fill)
    } else {
        image::<_, TiffKindStandard, T>(&mut out, header, keys.as_ref(), fill)
    }
    .map_err(|e| match e {
        Failure::Fill(e) => e,
        Failure::Tiff(TiffError::IoError(e)) => Error::write(path, e),
        Failure::Tiff(e) => Error::write(path, std::io::Error::other(e.to_string())),
    })?;
    out.into_inner().map_err(|e| Error::write(path, e.into_error()))?;
    file.commit().map(drop).map_err(|e| Error::write(path, e))
}

/// What stopped the writing of rows.
enum Failure {
    Fill(Error),
    Tiff(TiffError),
}

impl From<TiffError> for Failure {
    fn from(e: TiffError) -> Self {
        Self::Tiff(e)
    }
}

/// Samples of a strip as they are stored: differences along the row where they are whole numbers, Deflate.
fn stored<T: Sample>(rows: &[T], row: usize, bands: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut deflate = Deflate::with_level(DeflateLevel::Balanced);
    if T::FORMAT == 3 {
        deflate.write_to(&mut out, bytemuck::cast_slice(rows))?;
    } else {
        let mut rows = rows.to_vec();
        for line in rows.chunks_exact_mut(row) {
            (bands..row).rev().for_each(|i| line[i] = line[i].less(line[i - bands]));
        }
        deflate.write_to(&mut out, bytemuck::cast_slice(&rows))?;
    }
    Ok(out)
}

fn image<W: Write + Seek, K: TiffKind, T: Sample>(
    out: W,
    header: &GeoTiff<'_>,
    keys: Option<&GeoKeyTags>,
    fill: Fill<'_, T>,
) -> Result<(), Failure> {
    let (width, height, bands) = (header.width, header.height, header.bands as usize);
    let row = width as usize * bands;
    let row_bytes = row * size_of::<T>();
    let strip = (STRIP_BYTES / row_bytes).clamp(1, height as usize) as u32;
    let mut encoder = TiffEncoder::<W, K>::new_generic(out)?;
    let mut tags = encoder.image_directory()?;
    tags.write_tag(Tag::ImageWidth, width)?;
    tags.write_tag(Tag::ImageLength, height)?;
    tags.write_tag(Tag::Compression, CompressionMethod::Deflate.to_u16())?;
    tags.write_tag(Tag::Predictor, if T::FORMAT == 3 { Predictor::None } else { Predictor::Horizontal }.to_u16())?;
    let (photometric, colours) = if bands == 3 { (PhotometricInterpretation::RGB, 3) } else { (PhotometricInterpretation::BlackIsZero, 1) };
    tags.write_tag(Tag::PhotometricInterpretation, photometric.to_u16())?;
    tags.write_tag(Tag::SamplesPerPixel, bands as u16)?;
    tags.write_tag(Tag::BitsPerSample, &vec![8 * size_of::<T>() as u16; bands][..])?;
    tags.write_tag(Tag::SampleFormat, &vec![T::FORMAT; bands][..])?;
    if bands > colours {
        tags.write_tag(Tag::ExtraSamples, &vec![ExtraSamples::Unspecified.to_u16(); bands - colours][..])?;
    }
    tags.write_tag(Tag::RowsPerStrip, strip)?;
    if let Some(geo) = header.geo {
        let c = geo.coefficients();
        if geo.is_north_up() {
            tags.write_tag(Tag::ModelPixelScaleTag, &[c[1], -c[5], 0.0][..])?;
            tags.write_tag(Tag::ModelTiepointTag, &[0.0, 0.0, 0.0, c[0], c[3], 0.0][..])?;
        } else {
            let m = [c[1], c[2], 0.0, c[0], c[4], c[5], 0.0, c[3], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
            tags.write_tag(Tag::ModelTransformationTag, &m[..])?;
        }
    }
    if let Some(keys) = keys {
        tags.write_tag(Tag::GeoKeyDirectoryTag, &keys.directory[..])?;
        if !keys.doubles.is_empty() {
            tags.write_tag(Tag::GeoDoubleParamsTag, &keys.doubles[..])?;
        }
        if !keys.ascii.is_empty() {
            tags.write_tag(Tag::GeoAsciiParamsTag, keys.ascii.as_str())?;
        }
    }
    if let Some(nodata) = header.nodata {
        let text = if nodata.is_nan() { "nan".into() } else { nodata.to_string() };
        tags.write_tag(Tag::GdalNodata, text.as_str())?;
    }
    // Many strips at a time, so that all cores have work.
    let most = ((BATCH_BYTES / row_bytes) as u32 / strip).max(1) * strip;
    let (mut offsets, mut counts) = (Vec::new(), Vec::new());
    let mut samples = Vec::new();
    for y in (0..height).step_by(most as usize) {
        let rows = most.min(height - y);
        samples.clear();
        fill(y, rows, &mut samples).map_err(Failure::Fill)?;
        assert_eq!(samples.len(), row * rows as usize, "rows that were asked for");
        let strips: Vec<&[T]> = samples.chunks(row * strip as usize).collect();
        for bytes in strips.par_iter().map(|s| stored(s, row, bands)).collect::<std::io::Result<Vec<_>>>().map_err(TiffError::from)? {
            offsets.push(K::convert_offset(tags.write_data(&bytes[..])?)?);
            counts.push(K::convert_offset(bytes.len() as u64)?);
        }
    }
    tags.write_tag(Tag::StripOffsets, K::convert_slice(&offsets))?;
    tags.write_tag(Tag::StripByteCounts, K::convert_slice(&counts))?;
    Ok(tags.finish()?)
}
