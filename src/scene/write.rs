//! GeoTIFF out: Deflate strips, written beside the target and renamed.

use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use tiff::TiffError;
use tiff::encoder::colortype::{self, ColorType};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use tiff::tags::{ExtraSamples, Predictor, Tag};

use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::GeoTransform;
use crate::atomic::AtomicFile;

/// Above this many bytes of samples a BigTIFF is written.
const BIG_TIFF_FROM: usize = 3 << 30;
/// Samples of a strip, about.
const STRIP_BYTES: usize = 256 << 10;

/// Samples to write, `[height, width, bands]`.
#[derive(Debug, Clone, Copy)]
pub enum SampleData<'a> {
    /// 8-bit unsigned integers.
    U8(&'a [u8]),
    /// 32-bit floats.
    F32(&'a [f32]),
}

struct Header<'a> {
    width: u32,
    height: u32,
    bands: u32,
    geo: Option<&'a GeoTransform>,
    /// Code, and whether the system is geographic.
    epsg: Option<(u16, bool)>,
    nodata: Option<f64>,
}

/// Writes a GeoTIFF (Deflate; BigTIFF above 3 GiB of samples): complete under its name, or not at all.
///
/// Three bands are stored as RGB, any other number as grey with further bands.
///
/// # Errors
/// [`Error::Argument`] where the sizes do not fit, [`Error::UnknownEpsg`], [`Error::Write`].
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
    let (len, sample_bytes) = match data {
        SampleData::U8(v) => (v.len(), 1),
        SampleData::F32(v) => (v.len(), 4),
    };
    let expected = u128::from(width) * u128::from(height) * u128::from(bands);
    if expected == 0 || expected != len as u128 || bands > 1024 {
        return Err(Error::argument(path.display().to_string(), format!("{width}x{height} px in {bands} bands do not fit {len} samples")));
    }
    let epsg = match epsg {
        Some(code) => {
            let crs = Crs::from_epsg(code)?;
            Some((code as u16, crs.is_geographic()))
        }
        None => None,
    };
    let header = Header { width, height, bands, geo, epsg, nodata };
    let file = AtomicFile::create(path).map_err(|e| Error::write(path, e))?;
    let mut out = BufWriter::new(file.file());
    if len * sample_bytes > BIG_TIFF_FROM {
        encode::<_, TiffKindBig>(&mut out, &header, data)
    } else {
        encode::<_, TiffKindStandard>(&mut out, &header, data)
    }
    .map_err(|e| match e {
        TiffError::IoError(e) => Error::write(path, e),
        e => Error::write(path, std::io::Error::other(e.to_string())),
    })?;
    out.into_inner().map_err(|e| Error::write(path, e.into_error()))?;
    file.commit().map_err(|e| Error::write(path, e))
}

fn encode<W: Write + Seek, K: TiffKind>(out: W, header: &Header<'_>, data: SampleData<'_>) -> Result<(), TiffError> {
    let rgb = header.bands == 3;
    match data {
        SampleData::U8(v) if rgb => image::<_, K, colortype::RGB8>(out, header, v, 3, Predictor::Horizontal),
        SampleData::U8(v) => image::<_, K, colortype::Gray8>(out, header, v, 1, predictor(header.bands)),
        SampleData::F32(v) if rgb => image::<_, K, colortype::RGB32Float>(out, header, v, 3, Predictor::None),
        SampleData::F32(v) => image::<_, K, colortype::Gray32Float>(out, header, v, 1, Predictor::None),
    }
}

/// The encoder's horizontal predictor does not know of extra bands.
fn predictor(bands: u32) -> Predictor {
    if bands == 1 { Predictor::Horizontal } else { Predictor::None }
}

fn image<W: Write + Seek, K: TiffKind, C: ColorType>(
    out: W,
    header: &Header<'_>,
    data: &[C::Inner],
    colour_bands: u32,
    predictor: Predictor,
) -> Result<(), TiffError>
where
    [C::Inner]: TiffValue,
{
    let mut encoder =
        TiffEncoder::<W, K>::new_generic(out)?.with_compression(Compression::Deflate(DeflateLevel::Balanced)).with_predictor(predictor);
    let mut image = encoder.new_image::<C>(header.width, header.height)?;
    let extra = (header.bands - colour_bands) as usize;
    if extra > 0 {
        image.extra_samples(&vec![ExtraSamples::Unspecified; extra])?;
    }
    let row_bytes = header.width as usize * header.bands as usize * size_of::<C::Inner>();
    image.rows_per_strip((STRIP_BYTES / row_bytes).clamp(1, header.height as usize) as u32)?;
    let tags = image.encoder();
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
    if let Some((code, geographic)) = header.epsg {
        let (model, key) = if geographic { (2, 2048) } else { (1, 3072) };
        // Version 1.1.0, three keys: model type, raster type (1: pixel is area), the system.
        let keys: [u16; 16] = [1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, key, 0, 1, code];
        tags.write_tag(Tag::GeoKeyDirectoryTag, &keys[..])?;
    }
    if let Some(nodata) = header.nodata {
        let text = if nodata.is_nan() { "nan".into() } else { nodata.to_string() };
        tags.write_tag(Tag::GdalNodata, text.as_str())?;
    }
    image.write_data(data)
}
