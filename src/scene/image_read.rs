//! PNG and JPEG, decoded whole within limits.

use std::path::Path;
use std::sync::Arc;

use image::{ColorType, DynamicImage, ImageDecoder, ImageReader, Limits};

use super::chunk::{Chunk, Samples};
use super::error::{Error, Result};
use super::raster::SampleType;
use super::source::Source;

/// Largest decoded PNG or JPEG, bytes.
const MAX_IMAGE_BYTES: u64 = 1 << 30;
/// Largest edge of a PNG or JPEG, px.
const MAX_EDGE: u32 = 65_535;

/// An image decoded whole: its only chunk.
pub(super) struct Whole(pub(super) Arc<Chunk>);

impl Source for Whole {
    fn resident(&self) -> usize {
        self.0.bytes()
    }

    fn decode(&self, _index: u64) -> Result<Arc<Chunk>> {
        Ok(self.0.clone())
    }
}

/// What a refusal of the decoder means.
fn failed(path: &Path, e: image::ImageError) -> Error {
    match e {
        image::ImageError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::read(path, e),
        image::ImageError::Limits(e) => Error::unsupported(
            path,
            format!("an image of this size ({e})"),
            "convert it to a tiled GeoTIFF: gdal_translate -co TILED=YES IN OUT.tif",
        ),
        e => Error::damaged(path, e.to_string()),
    }
}

fn other_pixels(path: &Path, color: ColorType) -> Error {
    Error::unsupported(path, format!("the pixel type {color:?}"), "convert it to GeoTIFF: gdal_translate IN OUT.tif")
}

/// Size, bands without alpha and type of the samples, by the header of a PNG or JPEG alone.
pub(super) fn outline(path: &Path) -> Result<([u32; 2], u32, SampleType)> {
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|e| Error::read(path, e))?;
    let decoder = reader.into_decoder().map_err(|e| failed(path, e))?;
    let (bands, kind) = match decoder.color_type() {
        ColorType::L8 | ColorType::La8 => (1, SampleType::U8),
        ColorType::Rgb8 | ColorType::Rgba8 => (3, SampleType::U8),
        ColorType::L16 | ColorType::La16 => (1, SampleType::U16),
        ColorType::Rgb16 | ColorType::Rgba16 => (3, SampleType::U16),
        other => return Err(other_pixels(path, other)),
    };
    Ok((decoder.dimensions().into(), bands, kind))
}

/// Decodes a PNG or JPEG; the flag says whether the last sample of a pixel is alpha.
pub(super) fn decode(path: &Path) -> Result<(Chunk, bool)> {
    let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|e| Error::read(path, e))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_IMAGE_BYTES);
    limits.max_image_width = Some(MAX_EDGE);
    limits.max_image_height = Some(MAX_EDGE);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| failed(path, e))?;
    let (width, height) = (image.width(), image.height());
    let (samples, samples_per_pixel, alpha) = match image {
        DynamicImage::ImageLuma8(i) => (Samples::U8(i.into_raw()), 1, false),
        DynamicImage::ImageLumaA8(i) => (Samples::U8(i.into_raw()), 2, true),
        DynamicImage::ImageRgb8(i) => (Samples::U8(i.into_raw()), 3, false),
        DynamicImage::ImageRgba8(i) => (Samples::U8(i.into_raw()), 4, true),
        DynamicImage::ImageLuma16(i) => (Samples::U16(i.into_raw()), 1, false),
        DynamicImage::ImageLumaA16(i) => (Samples::U16(i.into_raw()), 2, true),
        DynamicImage::ImageRgb16(i) => (Samples::U16(i.into_raw()), 3, false),
        DynamicImage::ImageRgba16(i) => (Samples::U16(i.into_raw()), 4, true),
        other => return Err(other_pixels(path, other.color())),
    };
    Ok((Chunk { samples, valid: None, width, height, samples_per_pixel }, alpha))
}
