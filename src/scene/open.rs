//! Opening an image: which reader, what counts as no data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bands::Bands;
use super::chunk::Samples;
use super::error::{Error, Result};
use super::formats::{self, Kind};
use super::image_read;
use super::mosaic;
use super::nodata::NoData;
use super::raster::{Raster, SampleType};
use super::sheet::{self, Laid};
use super::sidecar;
use super::source::{Header, Layout, Reader};
use super::tiff_read;

/// How an image is opened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OpenOptions {
    /// Which bands are read.
    pub bands: Bands,
    /// What counts as no data.
    pub no_data: NoData,
    /// Who reads; none lets the built-in readers try first, and GDAL where they refuse (feature `gdal`).
    pub reader: Option<Reader>,
}

impl OpenOptions {
    /// Opens an image file.
    ///
    /// # Errors
    /// As [`Raster::open`]; [`Error::Argument`] for a band that the file does not have.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Raster> {
        let mut raster = self.open_unread(path)?;
        self.find_no_data(&mut raster)?;
        Ok(raster)
    }

    /// Opens files as one map: as they are where they lie on one lattice of pixels, else resampled to the first one's. Each may also be a
    /// folder of images, or a list of them (a text file, `.txt` or `.lst`, of one path a line, relative to its folder).
    ///
    /// # Errors
    /// As [`open`](Self::open); several of which one has no transform and system; [`Error::Argument`] where they do not go together.
    pub fn open_map(&self, paths: &[PathBuf]) -> Result<Raster> {
        let paths = expand_paths(paths)?;
        match &paths[..] {
            [] => Err(Error::argument("map", "no file is named")),
            [one] => self.open(one),
            several => mosaic::open(several, self),
        }
    }

    /// Opens images that have no place of their own as one raster of `size` px, each where it is laid; between them there is no data. They are
    /// read when they are asked for. The whole has square pixels of `pixel_m` metres in a local system of its own, whose origin in the middle stands
    /// for no place on Earth.
    ///
    /// # Errors
    /// No image; a size of a pixel that makes no sense; as [`open`](Self::open) of the first. That the others have its bands and its type, and all
    /// the size that is said, is the caller's to see ([`ImageHeader`]).
    pub fn open_sheet(&self, images: &[Laid], size: [u32; 2], pixel_m: f64) -> Result<Raster> {
        sheet::open(images, size, pixel_m, self)
    }

    /// Opens an image without looking for fill in its pixels.
    pub(super) fn open_unread(&self, path: impl AsRef<Path>) -> Result<Raster> {
        let path = path.as_ref();
        let mut raster = read_header(path, self.reader)?;
        let chosen = self.bands.choose(&raster)?;
        raster.set_bands(chosen);
        Ok(raster)
    }

    fn find_no_data(&self, raster: &mut Raster) -> Result<()> {
        match self.no_data {
            NoData::Auto => raster.recognise_fill(),
            NoData::None => {
                raster.set_nodata(None);
                Ok(())
            }
            NoData::Value(v) => {
                raster.set_nodata(Some(v));
                Ok(())
            }
        }
    }
}

/// What the header of an image says; its pixels are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Width and height, px.
    pub size: [u32; 2],
    /// Bands, alpha not counted.
    pub bands: u32,
    /// Type of the samples.
    pub sample_type: SampleType,
}

impl ImageHeader {
    /// Of an image file.
    ///
    /// # Errors
    /// As [`Raster::open`], as far as the header shows it.
    pub fn of(path: &Path) -> Result<Self> {
        if let Ok(Kind::Picture) = formats::kind(path) {
            let (size, bands, sample_type) = image_read::outline(path)?;
            return Ok(Self { size, bands, sample_type });
        }
        let raster = OpenOptions::default().open_unread(path)?;
        Ok(Self { size: [raster.width(), raster.height()], bands: raster.bands(), sample_type: raster.sample_type() })
    }
}

/// By the built-in readers.
fn built_in(path: &Path) -> Result<Raster> {
    let mut raster = match formats::kind(path)? {
        Kind::Tiff => from_tiff(path)?,
        Kind::Picture => from_image(path)?,
    };
    // A mask inside the file goes before one beside it.
    if let Some(path) = sidecar::behind(path, ".msk").filter(|_| raster.validity() != Some("mask")) {
        let (image, header) = tiff(&path)?;
        raster.set_mask(beside(&path, image, header, &raster)?);
    }
    Ok(raster)
}

#[cfg(not(feature = "gdal"))]
fn read_header(path: &Path, reader: Option<Reader>) -> Result<Raster> {
    match reader {
        Some(Reader::Gdal) => Err(Error::argument("reader", "this echogrid was built without GDAL: build it with --features gdal")),
        _ => built_in(path),
    }
}

/// By the built-in readers, or by GDAL where these refuse, or cannot use the coordinate system.
#[cfg(feature = "gdal")]
fn read_header(path: &Path, reader: Option<Reader>) -> Result<Raster> {
    use super::gdal_read;
    if reader == Some(Reader::BuiltIn) {
        return built_in(path);
    }
    let refused = if reader.is_some() || formats::is_virtual(path) {
        None
    } else {
        match built_in(path) {
            Ok(raster) if raster.crs_is_refused() => None,
            Err(e @ (Error::Unsupported { .. } | Error::NotAnImage { .. } | Error::TooLarge { .. })) => Some(e),
            other => return other,
        }
    };
    match gdal_read::open(path) {
        Ok((image, header)) => {
            check_place(path, &header)?;
            Raster::from_source(path, header, Arc::new(image))
        }
        // Not an image at all, or a kind that this GDAL does not have either: the first refusal says more.
        Err(Error::Gdal { detail, .. }) if refused.is_some() => {
            tracing::debug!("{}: GDAL: {detail}", path.display());
            Err(refused.expect("checked"))
        }
        Err(e) => Err(e),
    }
}

fn tiff(path: &Path) -> Result<(tiff_read::TiffImage, Header)> {
    let opened = tiff_read::open(path)?;
    Ok((opened.image, opened.header))
}

/// A mask as a raster of its own, which must be of the image's size.
fn beside(path: &Path, image: tiff_read::TiffImage, header: Header, of: &Raster) -> Result<Raster> {
    if (header.width, header.height) != (of.width(), of.height()) {
        return Err(Error::Sidecar {
            path: path.into(),
            detail: format!("this mask has {}x{} px, its image {}x{}", header.width, header.height, of.width(), of.height()),
        });
    }
    Raster::from_source(path, header, Arc::new(image))
}

fn from_tiff(path: &Path) -> Result<Raster> {
    let tiff_read::Opened { image, mut header, mask } = tiff_read::open(path)?;
    sidecar::apply(path, &mut header)?;
    check_place(path, &header)?;
    let mut raster = Raster::from_source(path, header, Arc::new(image))?;
    if let Some((image, header)) = mask {
        raster.set_mask(beside(path, image, header, &raster)?);
    }
    Ok(raster)
}

fn from_image(path: &Path) -> Result<Raster> {
    let (chunk, alpha) = image_read::decode(path)?;
    let kind = if matches!(chunk.samples, Samples::U16(_)) { SampleType::U16 } else { SampleType::U8 };
    let size = [chunk.width, chunk.height];
    let mut header = Header::plain(size, chunk.samples_per_pixel, kind, Layout::new(size, size));
    header.alpha = alpha.then(|| chunk.samples_per_pixel - 1);
    if chunk.samples_per_pixel >= 3 {
        header.colours = [Some(0), Some(1), Some(2)];
    }
    sidecar::apply(path, &mut header)?;
    check_place(path, &header)?;
    let mut raster = Raster::from_source(path, header, Arc::new(image_read::Whole(Arc::new(chunk))))?;
    // The image is in memory as it is.
    raster.set_cache_bytes(0);
    Ok(raster)
}

/// Refuses images whose place is told in a way that is not read.
fn check_place(path: &Path, header: &Header) -> Result<()> {
    let claim = &header.claim;
    if claim.rpc && claim.affine.is_none() && claim.ties.is_empty() {
        return Err(Error::unsupported(
            path,
            "a place told by rational polynomial coefficients (RPC) alone",
            "resample the image: gdalwarp -rpc -t_srs EPSG:3857 IN OUT.tif (or the UTM zone; with a terrain model -to RPC_DEM=DEM.tif)",
        ));
    }
    Ok(())
}

/// The files that some paths name: files as they are, the images of folders, and those that lists name (text files, `.txt` or `.lst`, of one
/// path a line, relative to the list's folder).
///
/// # Errors
/// A folder or list that cannot be read; a folder without images.
pub fn expand_paths(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for path in paths {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let product = path.file_name().is_some_and(|n| n.to_string_lossy().to_ascii_uppercase().ends_with(".SAFE"));
        if path.is_dir() && !product {
            let mut all: Vec<PathBuf> =
                std::fs::read_dir(path).and_then(|d| d.map(|e| e.map(|e| e.path())).collect()).map_err(|e| Error::read(path, e))?;
            all.retain(|p| {
                let image = p.extension().is_some_and(|e| ["tif", "tiff", "png", "jpg", "jpeg"].iter().any(|t| e.eq_ignore_ascii_case(t)));
                image && p.is_file()
            });
            if all.is_empty() {
                return Err(Error::argument("folder", format!("{} holds no GeoTIFF, PNG or JPEG", path.display())));
            }
            all.sort();
            out.extend(all);
        } else if matches!(extension.as_str(), "txt" | "lst" | "list") {
            let text = std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            let lines = text.trim_start_matches('\u{feff}').lines().map(|l| l.trim().trim_matches(['"', '\'']));
            let place = |l: &str| if formats::is_virtual(Path::new(l)) { l.into() } else { folder.join(l) };
            out.extend(lines.filter(|l| !l.is_empty() && !l.starts_with('#')).map(place));
        } else {
            out.push(path.clone());
        }
    }
    Ok(out)
}
