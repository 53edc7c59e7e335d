//! A raster file read by windows through a bounded cache.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bands::Choice;
use super::cache::ChunkCache;
use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::{GeoTransform, Georeference};
use super::nodata::{self, Fill};
use super::open::OpenOptions;
use super::source::{Header, Reader, Source};
use super::ties::TieSurface;

/// Decoded tiles a raster keeps unless told otherwise, bytes.
pub const DEFAULT_CACHE_BYTES: usize = 256 << 20;
/// Pixels of an image at most: a million squared. A header that claims more is taken for a mistake.
const MAX_PIXELS: u64 = 1 << 40;

/// Type of one sample in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SampleType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F16,
    F32,
    F64,
}

impl SampleType {
    /// Bytes of one sample.
    pub fn bytes(self) -> u32 {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Its name: `u8`, `f32`, ...
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether samples are floating point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }
}

/// An image file: GeoTIFF, or PNG/JPEG with an optional world file. Shared freely between threads.
pub struct Raster {
    path: PathBuf,
    pub(super) header: Header,
    /// The samples that are read, in this order.
    pub(super) bands: Vec<u32>,
    pub(super) source: Arc<dyn Source>,
    pub(super) cache: Mutex<ChunkCache>,
    /// Where it is 0 the pixel is not valid.
    pub(super) mask: Option<Box<Raster>>,
    pub(super) fills: Vec<Fill>,
    surface: Option<Result<Arc<TieSurface>, String>>,
    /// The files it is made of, where it is several.
    pieces: Vec<PathBuf>,
    /// What tells pixels without data in these, in words, and whether some of it is unnamed fill.
    pieces_no_data: (Vec<String>, bool),
    /// The files' hash, once it was asked for: large maps take seconds.
    sha256: OnceLock<String>,
}

impl std::fmt::Debug for Raster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raster")
            .field("path", &self.path)
            .field("size", &(self.header.width, self.header.height, self.bands.len()))
            .field("sample_type", &self.header.sample_type)
            .field("nodata", &self.header.nodata)
            .field("crs", &self.crs())
            .finish_non_exhaustive()
    }
}

impl Raster {
    /// Opens an image, whatever its name ends in, with a cache of [`DEFAULT_CACHE_BYTES`]: all bands, and no data as the file says
    /// ([`OpenOptions`] has other ways).
    ///
    /// Reads the header and some places along the border (a PNG or JPEG is decoded whole, up to 1 GiB). An alpha channel is not
    /// a band: where it is 0 the pixel is not valid; nor is it where a mask says so, inside the TIFF or beside the file (`FILE.msk`).
    /// Of several images in a TIFF the first that is neither an overview nor a mask is taken.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotAnImage`], [`Error::Damaged`], [`Error::Unsupported`],
    /// [`Error::TooLarge`], or [`Error::Sidecar`] for a world, `.prj` or `.aux.xml` file that does not read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::default().open(path)
    }

    /// Of what a reader found. Nothing is known of fill yet.
    pub(super) fn from_source(path: &Path, mut header: Header, source: Arc<dyn Source>) -> Result<Self> {
        let pixels = u64::from(header.width) * u64::from(header.height);
        if pixels > MAX_PIXELS {
            return Err(Error::unsupported(
                path,
                format!("an image of {}x{} px", header.width, header.height),
                "cut out the part that you need: gdal_translate -projwin LEFT TOP RIGHT BOTTOM IN OUT.tif",
            ));
        }
        if source.is_empty() {
            return Err(Error::Empty { path: path.into() });
        }
        let surface = match &header.claim {
            c if c.ties.is_empty() => None,
            c => match &c.crs {
                Some(Ok(crs)) => {
                    let places: Result<Vec<_>> = c.ties.iter().map(|t| Ok((t.px, crs.to_lonlat(t.map[0], t.map[1])?))).collect();
                    Some(places.map_err(|e| e.to_string()).and_then(|p| TieSurface::new(&p)).map(Arc::new))
                }
                _ => None,
            },
        };
        if let Some(Ok(crs)) = &header.claim.crs
            && crs.is_fitted()
        {
            header.warnings.push(format!(
                "{}: the shift of {} to WGS 84 differs from place to place; where the built-in one is known it is within 10 m of PROJ's (a build with --features gdal takes PROJ's own)",
                path.display(),
                crs.name()
            ));
        }
        let bands = (0..header.samples).filter(|b| Some(*b) != header.alpha).collect();
        let cache = Mutex::new(ChunkCache::new(DEFAULT_CACHE_BYTES));
        Ok(Self {
            path: path.into(),
            header,
            bands,
            source,
            cache,
            mask: None,
            fills: Vec::new(),
            surface,
            pieces: Vec::new(),
            pieces_no_data: Default::default(),
            sha256: OnceLock::new(),
        })
    }

    /// Reads the samples that were chosen alone, in their order, and takes over the doubt about them.
    pub(super) fn set_bands(&mut self, chosen: Choice) {
        let Choice { bands, doubt } = chosen;
        self.header.warnings.extend(doubt);
        let own = bands.first().and_then(|b| self.header.nodata_of[*b as usize]);
        if let Some(own) = own.filter(|_| !self.header.masked) {
            self.header.nodata = Some(own);
        }
        self.bands = bands;
    }

    /// Takes pixels for valid only where the mask is not 0; values then say nothing.
    pub(super) fn set_mask(&mut self, mask: Raster) {
        self.mask = Some(Box::new(mask));
        self.header.masked = true;
        self.header.nodata = None;
    }

    pub(super) fn set_nodata(&mut self, nodata: Option<f64>) {
        self.header.nodata = nodata;
    }

    pub(super) fn set_pieces(&mut self, pieces: Vec<PathBuf>, no_data: (Vec<String>, bool)) {
        (self.pieces, self.pieces_no_data) = (pieces, no_data);
    }

    /// Bytes that it holds whatever is read.
    pub(super) fn resident(&self) -> usize {
        self.source.resident()
    }

    /// Bytes of one row of its tiles, decoded.
    pub(super) fn row_of_chunks(&self) -> usize {
        let l = &self.header.layout;
        let samples = u64::from(l.across) * u64::from(l.chunk_width) * u64::from(l.chunk_height) * u64::from(self.header.samples);
        usize::try_from(samples.saturating_mul(u64::from(self.header.sample_type.bytes()))).unwrap_or(usize::MAX)
    }

    /// Finds fill that nothing names, and says so.
    pub(super) fn recognise_fill(&mut self) -> Result<()> {
        if self.header.masked || self.header.alpha.is_some() {
            return Ok(());
        }
        self.fills = nodata::recognise(self)?;
        for f in self.fills.iter().filter(|f| f.border > 0.0 || f.inside > 0.0) {
            self.header.warnings.push(format!(
                "{}: the value {} is taken for no data where it fills whole areas: {:.0} % of the border and {:.0} % of the inside, {}; --no-data none (of a map --map-no-data none) reads it as data, --no-data VALUE names another",
                self.path.display(),
                f.value,
                100.0 * f.border,
                100.0 * f.inside,
                match self.header.nodata {
                    Some(v) => format!("though the file names {v}"),
                    None => "though the file names no such value".into(),
                }
            ));
        }
        Ok(())
    }

    /// The file; of a map in pieces the first.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of a map in pieces; none of a single file.
    pub fn pieces(&self) -> &[PathBuf] {
        &self.pieces
    }

    /// Width, px.
    pub fn width(&self) -> u32 {
        self.header.width
    }

    /// Height, px.
    pub fn height(&self) -> u32 {
        self.header.height
    }

    /// Bands that are read of a pixel, alpha not counted.
    pub fn bands(&self) -> u32 {
        self.bands.len() as u32
    }

    /// Samples a pixel in the file, alpha included.
    pub fn samples(&self) -> u32 {
        self.header.samples
    }

    /// The bands that are read: number in the file, from 1, and description where it has one.
    pub fn band_names(&self) -> Vec<(u32, Option<&str>)> {
        self.bands.iter().map(|b| (b + 1, self.header.names[*b as usize].as_deref())).collect()
    }

    /// Descriptions of all samples of the file.
    pub(super) fn names(&self) -> &[Option<String>] {
        &self.header.names
    }

    /// The samples that the file says are red, green and blue.
    pub(super) fn colours(&self) -> [Option<u32>; 3] {
        self.header.colours
    }

    /// Type of the samples in the file.
    pub fn sample_type(&self) -> SampleType {
        self.header.sample_type
    }

    /// Who reads the file.
    pub fn reader(&self) -> Reader {
        self.header.reader
    }

    /// What a user should know of how the file was understood.
    pub fn warnings(&self) -> &[String] {
        &self.header.warnings
    }

    /// Edges of the file's own tiles or strips, px: windows along them read fastest.
    pub fn chunk_size(&self) -> (u32, u32) {
        (self.header.layout.chunk_width, self.header.layout.chunk_height)
    }

    /// The value that marks a pixel without data where **every** band that is read equals it, as the file (GDAL_NODATA) or the caller says. NaN and
    /// infinity never are data.
    pub fn nodata(&self) -> Option<f64> {
        self.header.nodata
    }

    /// Values taken for no data though nothing names them: only where they fill squares of 8 x 8 px (beyond the image its edge
    /// goes on), so that single pixels of such a value stay data.
    pub fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// Where validity comes from besides values: `mask`, `alpha`, or nothing.
    pub fn validity(&self) -> Option<&'static str> {
        match (self.header.masked, self.header.alpha) {
            (true, _) => Some("mask"),
            (false, Some(_)) => Some("alpha"),
            (false, None) => None,
        }
    }

    /// Whether values are taken for no data that nothing names, in it or in one of its files.
    pub fn has_unnamed_fill(&self) -> bool {
        !self.fills.is_empty() || self.pieces_no_data.1
    }

    /// In words, what tells pixels without data.
    pub fn no_data_words(&self) -> String {
        if !self.pieces_no_data.0.is_empty() {
            return format!("{}, what no file covers", self.pieces_no_data.0.join(", or "));
        }
        let mut parts: Vec<String> = self.validity().map(|v| format!("its {v}")).into_iter().collect();
        parts.extend(self.nodata().map(|v| format!("the value {v}")));
        parts.extend(self.fills.iter().map(|f| format!("areas of {}, which nothing names", f.value)));
        parts.push("what is absent or no number".into());
        parts.join(", ")
    }

    /// Bounds the decoded tiles kept in memory, bytes (0 keeps none).
    pub fn set_cache_bytes(&mut self, bytes: usize) {
        self.lock_cache().set_limit(bytes);
    }

    /// Bytes of decoded tiles held now.
    pub fn cached_bytes(&self) -> usize {
        self.lock_cache().bytes()
    }

    /// Pixels to map coordinates, where the file or its world file says.
    pub fn geo(&self) -> Option<&GeoTransform> {
        self.header.claim.affine.as_ref()
    }

    /// Ground control points that stand for a transform.
    pub fn control_points(&self) -> usize {
        self.header.claim.ties.len()
    }

    /// The EPSG code of the coordinate system, where it has one that is known.
    pub fn epsg(&self) -> Option<u32> {
        self.crs().and_then(Crs::epsg)
    }

    /// The coordinate reference system, where the file names one that is known.
    pub fn crs(&self) -> Option<&Crs> {
        self.header.claim.crs.as_ref().and_then(|c| c.as_ref().ok())
    }

    /// Whether a system is named that cannot be used.
    #[cfg(feature = "gdal")]
    pub(super) fn crs_is_refused(&self) -> bool {
        matches!(self.header.claim.crs, Some(Err(_)))
    }

    fn named_crs(&self) -> Result<&Crs> {
        match &self.header.claim.crs {
            Some(Ok(crs)) => Ok(crs),
            Some(Err(detail)) => Err(Error::FileCrs { path: self.path.clone(), detail: detail.clone() }),
            None => Err(Error::NoCrs { path: self.path.clone() }),
        }
    }

    /// Geotransform and coordinate reference system, for work that needs both.
    ///
    /// # Errors
    /// [`Error::NoGeotransform`], [`Error::TiesOnly`], [`Error::NoCrs`] or [`Error::FileCrs`].
    pub fn georeference(&self) -> Result<(&GeoTransform, &Crs)> {
        match (self.geo(), self.control_points()) {
            (Some(geo), _) => Ok((geo, self.named_crs()?)),
            (None, 0) => Err(Error::NoGeotransform { path: self.path.clone() }),
            (None, points) => Err(Error::TiesOnly { path: self.path.clone(), points }),
        }
    }

    /// Where its pixels lie, by a transform or by ground control points.
    ///
    /// # Errors
    /// [`Error::NoGeotransform`], [`Error::NoCrs`], [`Error::FileCrs`], or control points that make no surface.
    pub fn placement(&self) -> Result<Georeference> {
        if let Some(geo) = self.geo() {
            return Ok(Georeference::affine(*geo, self.named_crs()?.clone(), [self.width(), self.height()]));
        }
        if self.control_points() == 0 {
            return Err(Error::NoGeotransform { path: self.path.clone() });
        }
        let crs = self.named_crs()?;
        match &self.surface {
            Some(Ok(surface)) => Ok(Georeference::ties(surface.clone(), crs.clone())),
            Some(Err(detail)) => Err(Error::ControlPoints { path: self.path.clone(), detail: detail.clone() }),
            None => Err(Error::NoCrs { path: self.path.clone() }),
        }
    }

    /// Metres on the ground of one pixel in the raster's middle, along its row and its column.
    ///
    /// # Errors
    /// Those of [`placement`](Self::placement), or [`Error::Projection`].
    pub fn ground_pixel_size(&self) -> Result<(f64, f64)> {
        let middle = [f64::from(self.width()) / 2.0, f64::from(self.height()) / 2.0];
        if let Ok((geo, crs)) = self.georeference() {
            let (x, y) = geo.pixel_to_map(middle[0], middle[1]);
            let (mx, my) = crs.meters_per_unit_at(x, y)?;
            let c = geo.coefficients();
            return Ok(((c[1] * mx).hypot(c[4] * my), (c[2] * mx).hypot(c[5] * my)));
        }
        let j = self.placement()?.ground_jacobian(middle)?;
        Ok((j[0][0].hypot(j[1][0]), j[0][1].hypot(j[1][1])))
    }

    /// SHA-256 of the whole file in hexadecimal, read in pieces; of a map in pieces that of the hashes of its files; of what is no plain file
    /// (an address, a folder, a part of a file) that of its name, size and place.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn sha256(&self) -> Result<String> {
        if let Some(known) = self.sha256.get() {
            return Ok(known.clone());
        }
        let hash = self.hashed()?;
        Ok(self.sha256.get_or_init(|| hash).clone())
    }

    fn hashed(&self) -> Result<String> {
        let hex = |hash: Sha256| hash.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>();
        let one = |path: &PathBuf| -> Result<String> {
            if !path.is_file() {
                let about = format!("{} {}x{} {:?}", path.display(), self.width(), self.height(), self.geo());
                return Ok(hex(Sha256::new_with_prefix(about)));
            }
            let mut file = std::fs::File::open(path).map_err(|e| Error::read(path, e))?;
            let mut hash = Sha256::new();
            let mut buffer = vec![0; 1 << 20];
            loop {
                match file.read(&mut buffer).map_err(|e| Error::read(path, e))? {
                    0 => return Ok(hex(hash)),
                    n => hash.update(&buffer[..n]),
                }
            }
        };
        if self.pieces.is_empty() {
            return one(&self.path);
        }
        let mut all = Sha256::new();
        self.pieces.par_iter().map(one).collect::<Result<Vec<_>>>()?.iter().for_each(|h| all.update(h));
        Ok(hex(all))
    }

    /// Chunks that hold anything, at most `most` of them, as rectangles: left, top, width, height.
    pub(super) fn stored_chunks(&self, most: usize) -> Vec<[u32; 4]> {
        let l = &self.header.layout;
        let plane = self.planes()[0];
        let per_plane = u64::from(l.across) * u64::from(l.down);
        // Not the first ones alone, where they are more.
        let step = (per_plane / most as u64).max(1) as usize;
        let stored = (0..per_plane).step_by(step).map(|i| u64::from(plane) * per_plane + i).filter(|i| self.source.stored(*i));
        let rectangle = |i: u64| {
            let (_, row, column) = l.place(i);
            let (x, y) = (column * l.chunk_width, row * l.chunk_height);
            [x, y, l.chunk_width.min(self.width() - x), l.chunk_height.min(self.height() - y)]
        };
        stored.take(most).map(rectangle).collect()
    }
}
