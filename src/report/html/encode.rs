//! Pictures as `data:` addresses.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, GrayImage, ImageEncoder as _, RgbImage, imageops};

use super::super::{Error, Thumb};

/// Quality of a picture, and what is tried where that is too large: quality, and a factor of the side.
const QUALITIES: [(u8, f64); 6] = [(82, 1.0), (70, 1.0), (55, 1.0), (55, 0.7), (50, 0.5), (40, 0.25)];

/// A picture as a `data:` address and its size there: shrunk to `side`, then whichever of JPEG and PNG is smaller.
pub(in crate::report) fn picture(thumb: &Thumb, side: u32, what: &str) -> Result<(String, [u32; 2]), Error> {
    encoded(&whole(thumb, what)?, side, QUALITIES[0].0, what)
}

/// The same in at most so many bytes, as far as lower quality and then fewer pixels go.
pub(in crate::report) fn picture_within(thumb: &Thumb, side: u32, bytes: usize, what: &str) -> Result<(String, [u32; 2]), Error> {
    let image = whole(thumb, what)?;
    let mut last = None;
    for (quality, share) in QUALITIES {
        let side = ((f64::from(side.min(thumb.width.max(thumb.height))) * share) as u32).max(16);
        let one = encoded(&image, side, quality, what)?;
        if one.0.len() <= bytes {
            return Ok(one);
        }
        last = Some(one);
    }
    last.ok_or_else(|| fail(what, "it could not be encoded".into()))
}

fn fail(what: &str, problem: String) -> Error {
    Error::Picture { what: what.to_string(), problem }
}

fn whole(thumb: &Thumb, what: &str) -> Result<RgbImage, Error> {
    if let Some(problem) = thumb.problem() {
        return Err(fail(what, problem));
    }
    RgbImage::from_raw(thumb.width, thumb.height, thumb.rgb.clone()).ok_or_else(|| fail(what, "its pixels do not fill it".into()))
}

fn encoded(image: &RgbImage, side: u32, quality: u8, what: &str) -> Result<(String, [u32; 2]), Error> {
    let longest = image.width().max(image.height());
    let shrunk;
    let image = if longest > side {
        let scaled = |v: u32| ((f64::from(v) * f64::from(side) / f64::from(longest)).round() as u32).max(1);
        shrunk = imageops::thumbnail(image, scaled(image.width()), scaled(image.height()));
        &shrunk
    } else {
        image
    };
    let size = [image.width(), image.height()];
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
    // Radar is grey: one channel is smaller than three.
    let written = if image.pixels().all(|p| p[0] == p[1] && p[1] == p[2]) {
        let grey = GrayImage::from_fn(size[0], size[1], |x, y| image::Luma([image.get_pixel(x, y)[0]]));
        grey.write_with_encoder(encoder)
    } else {
        image.write_with_encoder(encoder)
    };
    written.map_err(|e| fail(what, e.to_string()))?;
    if longest <= 64 {
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png).map_err(|e| fail(what, e.to_string()))?;
        let png = png.into_inner();
        if png.len() < jpeg.len() {
            return Ok((data_url("image/png", &png), size));
        }
    }
    Ok((data_url("image/jpeg", &jpeg), size))
}

/// White where there is data, black elsewhere: a mask for a JPEG, which has no transparency.
pub(super) fn mask(valid: &[bool], [width, height]: [u32; 2], what: &str) -> Result<String, Error> {
    let grey: Vec<u8> = valid.iter().map(|v| if *v { 255 } else { 0 }).collect();
    if grey.len() as u64 != u64::from(width) * u64::from(height) {
        return Err(fail(what, format!("its mask has {} pixels of {width} x {height}", grey.len())));
    }
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::NoFilter)
        .write_image(&grey, width, height, ExtendedColorType::L8)
        .map_err(|e| fail(what, e.to_string()))?;
    Ok(data_url("image/png", &png))
}

/// Bytes as a `data:` address.
pub(in crate::report) fn data_url(kind: &str, bytes: &[u8]) -> String {
    let mut address = format!("data:{kind};base64,");
    BASE64.encode_string(bytes, &mut address);
    address
}
