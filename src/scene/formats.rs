//! What a file is by its first bytes, and what to say of kinds that are not read.

use std::io::Read;
use std::path::Path;

use super::error::{Error, Result};

/// Kinds of files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tiff,
    /// PNG or JPEG.
    Picture,
}

const TO_TIFF: &str = "convert it: gdal_translate IN OUT.tif";

/// Kinds that are named when refused: first bytes, where they lie, the name, and what to do.
const FOREIGN: [(&[u8], usize, &str, &str); 17] = [
    (b"\0\0\0\x0cjP  ", 0, "JPEG 2000 (JP2)", TO_TIFF),
    (b"\xff\x4f\xff\x51", 0, "JPEG 2000 (a bare code stream)", TO_TIFF),
    (b"NITF", 0, "NITF", TO_TIFF),
    (b"NSIF", 0, "NITF (NSIF)", TO_TIFF),
    (b"\x89HDF", 0, "HDF5 (or netCDF 4)", "name one of its data sets: gdalinfo IN, then gdal_translate HDF5:\"IN\"://NAME OUT.tif"),
    (b"CDF", 0, "netCDF", "name one of its variables: gdalinfo IN, then gdal_translate NETCDF:\"IN\":NAME OUT.tif"),
    (b"EHFA_HEADER_TAG", 0, "ERDAS Imagine (.img)", TO_TIFF),
    (
        b"<VRTDataset",
        0,
        "a GDAL virtual raster (VRT)",
        "write it out: gdal_translate IN OUT.tif; or give its files themselves to --map, which takes several",
    ),
    (
        b"PK\x03\x04",
        0,
        "a ZIP archive (a .SAFE product packed?)",
        "unpack it, and give an image in it: of Sentinel-1 one of measurement/*.tiff",
    ),
    (b"\x1f\x8b", 0, "a gzip archive", "unpack it: gunzip, or tar -xzf"),
    (b"WEBP", 8, "WebP", TO_TIFF),
    (b"BM", 0, "a Windows bitmap", TO_TIFF),
    (b"GIF8", 0, "GIF", TO_TIFF),
    (b"GRIB", 0, "GRIB", TO_TIFF),
    (b"%PDF", 0, "PDF", TO_TIFF),
    (b"SIMPLE  =", 0, "FITS", TO_TIFF),
    (b"LERC", 0, "LERC", TO_TIFF),
];

/// What a file is.
///
/// # Errors
/// A name of what it is instead, with what to do.
pub(super) fn kind(path: &Path) -> Result<Kind> {
    if is_virtual(path) {
        return Err(Error::unsupported(
            path,
            "an address, or a part of a file",
            "fetch the file, or write the part out: gdal_translate IN OUT.tif",
        ));
    }
    if path.is_dir() {
        return Err(folder(path));
    }
    let mut head = Vec::with_capacity(64);
    std::fs::File::open(path).and_then(|f| f.take(64).read_to_end(&mut head)).map_err(|e| Error::read(path, e))?;
    if matches!(head[..], [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..]) {
        return Ok(Kind::Tiff);
    }
    if head.starts_with(b"\x89PNG") || head.starts_with(&[0xff, 0xd8, 0xff]) {
        return Ok(Kind::Picture);
    }
    let foreign = FOREIGN.iter().find(|(magic, at, ..)| head.get(*at..).is_some_and(|h| h.starts_with(magic)));
    if let Some((_, _, name, advice)) = foreign {
        return Err(Error::unsupported(path, *name, *advice));
    }
    let header = [path.with_extension("hdr"), path.with_extension("HDR"), super::sidecar::behind(path, ".hdr").unwrap_or_default()];
    let envi = |p: &Path| std::fs::read(p).is_ok_and(|b| b.starts_with(b"ENVI"));
    if head.starts_with(b"ENVI") || header.iter().any(|p| envi(p)) {
        return Err(Error::unsupported(path, "ENVI (raw samples with a .hdr file)", TO_TIFF));
    }
    if head.starts_with(b"<?xml") && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safe")) {
        return Err(Error::unsupported(
            path,
            "the manifest of a .SAFE product",
            "give an image of it: of Sentinel-1 one of measurement/*.tiff",
        ));
    }
    Err(Error::NotAnImage { path: path.into() })
}

/// Whether a path is one that only GDAL understands: an address, a file of its virtual file systems, or a part of a file.
pub(super) fn is_virtual(path: &Path) -> bool {
    let text = path.to_string_lossy();
    ["/vsi", "https://", "http://", "HDF5:", "NETCDF:", "SENTINEL1_", "SENTINEL2_", "GTIFF_DIR:", "vrt://"]
        .iter()
        .any(|p| text.starts_with(p))
        && !path.exists()
}

/// What to say of a folder.
fn folder(path: &Path) -> Error {
    let images = |p: &Path| -> Vec<String> {
        let mut all: Vec<String> = std::fs::read_dir(p)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|e| ["tif", "tiff"].iter().any(|t| e.eq_ignore_ascii_case(t))))
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        all.sort();
        all
    };
    let product = path.file_name().is_some_and(|n| n.to_string_lossy().to_ascii_uppercase().ends_with(".SAFE"));
    let measurement = path.join("measurement");
    if product || measurement.is_dir() {
        let found = images(&measurement);
        let advice = match found.len() {
            0 if path.join("GRANULE").is_dir() => {
                "its images lie in GRANULE/*/IMG_DATA, as JPEG 2000: gdal_translate one of them to GeoTIFF".into()
            }
            0 => "give an image of it: of Sentinel-1 one of the GeoTIFFs in its folder measurement".into(),
            _ => format!(
                "give one of its images: {}",
                found.iter().map(|f| measurement.join(f).display().to_string()).collect::<Vec<_>>().join(", ")
            ),
        };
        return Error::unsupported(path, "a .SAFE product folder", advice);
    }
    let advice = match images(path).len() {
        0 => "give an image".to_string(),
        n => format!("give one of its {n} GeoTIFFs; --map takes a folder of them as one map"),
    };
    Error::unsupported(path, "a folder", advice)
}
