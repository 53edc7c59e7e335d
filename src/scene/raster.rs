//! A raster file read by windows through a bounded cache.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cache::ChunkCache;
use super::chunk::{Chunk, Marker, Samples};
use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::{GeoTransform, Georeference};
use super::nodata::{self, Fill, SOLID};
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

/// A rectangle of pixels in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Width, px.
    pub width: u32,
    /// Height, px.
    pub height: u32,
    /// Bands a pixel.
    pub bands: u32,
    /// Samples in the file's own units, `[height, width, bands]`; 0 where the pixel is not valid.
    pub data: Vec<f32>,
    /// `[height, width]`: 1 where the pixel holds data, 0 where it is no-data or outside the raster.
    pub valid: Vec<u8>,
}

impl Window {
    /// Share of pixels without data, 0..=1.
    pub fn missing_share(&self) -> f32 {
        let valid: u64 = self.valid.iter().map(|&v| u64::from(v)).sum();
        1.0 - valid as f32 / self.valid.len().max(1) as f32
    }
}

/// An image file: GeoTIFF, or PNG/JPEG with an optional world file. Shared freely between threads.
pub struct Raster {
    path: PathBuf,
    header: Header,
    /// The samples that are read, in this order.
    bands: Vec<u32>,
    source: Arc<dyn Source>,
    cache: Mutex<ChunkCache>,
    /// Where it is 0 the pixel is not valid.
    mask: Option<Box<Raster>>,
    fills: Vec<Fill>,
    surface: Option<Result<Arc<TieSurface>, String>>,
    /// The files it is made of, where it is several.
    pieces: Vec<PathBuf>,
    /// What tells pixels without data in these, in words, and whether some of it is unnamed fill.
    pieces_no_data: (Vec<String>, bool),
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
        })
    }

    /// Reads these samples alone, in this order.
    pub(super) fn set_bands(&mut self, bands: Vec<u32>) {
        if let Some(own) = bands.first().and_then(|b| self.header.nodata_of[*b as usize]) {
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

    /// Whether any tile that a rectangle touches is stored; what is not holds no data.
    pub fn stored(&self, x0: i64, y0: i64, width: u32, height: u32) -> bool {
        let Some(([left, right], [top, bottom])) = self.clip(x0, y0, width, height) else { return false };
        let l = &self.header.layout;
        let planes = self.planes();
        (top / l.chunk_height..=(bottom - 1) / l.chunk_height).any(|row| {
            (left / l.chunk_width..=(right - 1) / l.chunk_width)
                .any(|column| planes.iter().all(|plane| self.source.stored(l.index(*plane, row, column))))
        })
    }

    /// The columns and rows of a rectangle that lie in the image, if any.
    fn clip(&self, x0: i64, y0: i64, width: u32, height: u32) -> Option<([u32; 2], [u32; 2])> {
        let clip = |a: i64, n: u32, size: u32| {
            let end = a.saturating_add(i64::from(n)).clamp(0, i64::from(size));
            [a.clamp(0, i64::from(size)) as u32, end as u32]
        };
        let (x, y) = (clip(x0, width, self.width()), clip(y0, height, self.height()));
        (x[0] < x[1] && y[0] < y[1]).then_some((x, y))
    }

    /// The planes that hold what is read.
    fn planes(&self) -> Vec<u32> {
        if self.header.layout.planes == 1 {
            return vec![0];
        }
        self.bands.iter().copied().chain(self.header.alpha).collect()
    }

    /// Reads the rectangle of `width` x `height` px whose upper left pixel is (`x0`, `y0`).
    ///
    /// It may lie partly or wholly outside the raster: what lies outside is not valid, with data 0.
    /// Samples of 32-bit integers and 64-bit floats are rounded to `f32`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unsupported`] or [`Error::Read`] from the tiles touched.
    pub fn read_window(&self, x0: i64, y0: i64, width: u32, height: u32) -> Result<Window> {
        let mut window = self.read_named(x0, y0, width, height)?;
        if !self.fills.is_empty() {
            self.clear_fill(&mut window, x0, y0)?;
        }
        Ok(window)
    }

    /// A window without what the file names as no data: by value, mask or alpha.
    fn read_named(&self, x0: i64, y0: i64, width: u32, height: u32) -> Result<Window> {
        let (pixels, bands) = (width as usize * height as usize, self.bands.len());
        let total = pixels.checked_mul(bands).filter(|n| *n < isize::MAX as usize / 4);
        let total = total.ok_or_else(|| Error::argument("window", format!("{width}x{height} px in {bands} bands exceed memory")))?;
        let mut window = Window { width, height, bands: bands as u32, data: vec![0.0; total], valid: vec![0; pixels] };
        let Some(([left, right], [top, bottom])) = self.clip(x0, y0, width, height) else {
            return Ok(window);
        };
        for y in top..bottom {
            let at = (i64::from(y) - y0) as usize * width as usize;
            window.valid[at..][(i64::from(left) - x0) as usize..(i64::from(right) - x0) as usize].fill(1);
        }
        let l = &self.header.layout;
        let columns = left / l.chunk_width..=(right - 1) / l.chunk_width;
        let rows = top / l.chunk_height..=(bottom - 1) / l.chunk_height;
        let planes = self.planes();
        // Few enough at a time that decoded chunks beyond the cache stay a small number.
        let batch = rayon::current_num_threads().clamp(1, 16) * 2;
        let places: Vec<(u32, u32, u32)> =
            rows.flat_map(|r| columns.clone().map(move |c| (r, c))).flat_map(|(r, c)| planes.iter().map(move |p| (*p, r, c))).collect();
        let marker = self.header.nodata.map(Marker::new);
        let mut hits = vec![0u16; if marker.is_some() { pixels } else { 0 }];
        let area = [i64::from(left), i64::from(top), i64::from(right), i64::from(bottom)];
        for group in places.chunks(batch) {
            for (place, chunk) in group.iter().zip(self.chunks(group)?) {
                self.paste(&chunk, *place, (x0, y0), area, &mut window, marker, &mut hits);
            }
        }
        if let Some(mask) = &self.mask {
            let mask = mask.read_named(x0, y0, width, height)?;
            let bands = mask.bands as usize;
            for ((v, seen), m) in window.valid.iter_mut().zip(&mask.valid).zip(mask.data.chunks_exact(bands)) {
                *v &= u8::from(*seen != 0 && m.iter().any(|m| *m != 0.0));
            }
        }
        clear(&mut window, &hits);
        Ok(window)
    }

    /// Clears pixels of fill values that lie in whole squares of such.
    fn clear_fill(&self, window: &mut Window, x0: i64, y0: i64) -> Result<()> {
        let bands = window.bands as usize;
        let values: Vec<f32> = self.fills.iter().map(|f| f.value as f32).collect();
        let filled = |w: &Window, p: usize| {
            let pixel = &w.data[p * bands..(p + 1) * bands];
            w.valid[p] != 0 && values.contains(&pixel[0]) && pixel.iter().all(|v| *v == pixel[0])
        };
        let (width, height) = (window.width as usize, window.height as usize);
        let mut suspects: Vec<usize> = (0..window.valid.len()).filter(|p| filled(window, *p)).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        // What holds no data anyhow completes a square; beyond the image its edge goes on, so that fill may taper off there.
        let (right, bottom) = (i64::from(self.width()) - 1, i64::from(self.height()) - 1);
        let solid = |w: &Window, x0: i64, y0: i64| {
            let across = i64::from(w.width);
            let mark = |p: i64| {
                let (x, y) = (x0 + p % across, y0 + p / across);
                let (u, v) = (x.clamp(0, right), y.clamp(0, bottom));
                if x != u && y != v {
                    return 0;
                }
                let p = ((v - y0) * across + u - x0) as usize;
                u8::from(w.valid[p] == 0 || filled(w, p))
            };
            let mut marks: Vec<u8> = (0..w.valid.len() as i64).map(mark).collect();
            nodata::keep_solid(&mut marks, w.width as usize);
            marks
        };
        let inside = solid(window, x0, y0);
        let clear = |p: usize, window: &mut Window| {
            window.valid[p] = 0;
            window.data[p * bands..(p + 1) * bands].fill(0.0);
        };
        suspects.retain(|p| {
            let found = inside[*p] != 0;
            if found {
                clear(*p, window);
            }
            !found
        });
        // A square may reach over the window's edge.
        let margin = SOLID - 1;
        let near = |p: &usize| {
            let (x, y) = (p % width, p / width);
            x < margin || y < margin || x + margin >= width || y + margin >= height
        };
        suspects.retain(near);
        if suspects.is_empty() {
            return Ok(());
        }
        let m = margin as u32;
        let around = self.read_named(x0 - i64::from(m), y0 - i64::from(m), window.width + 2 * m, window.height + 2 * m)?;
        let marks = solid(&around, x0 - i64::from(m), y0 - i64::from(m));
        for p in suspects {
            if marks[(p / width + margin) * around.width as usize + p % width + margin] != 0 {
                clear(p, window);
            }
        }
        Ok(())
    }

    fn lock_cache(&self) -> std::sync::MutexGuard<'_, ChunkCache> {
        self.cache.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The chunks at (plane, row, column), from the cache or decoded in parallel.
    fn chunks(&self, places: &[(u32, u32, u32)]) -> Result<Vec<Arc<Chunk>>> {
        let index = |&(plane, row, column): &(u32, u32, u32)| self.header.layout.index(plane, row, column);
        let mut found: Vec<Option<Arc<Chunk>>> = {
            let mut cache = self.lock_cache();
            places.iter().map(|p| cache.get(index(p))).collect()
        };
        let missing: Vec<usize> = (0..places.len()).filter(|&i| found[i].is_none()).collect();
        let decode = |&i: &usize| self.source.decode(index(&places[i])).map(|c| (i, c));
        let decoded: Vec<(usize, Arc<Chunk>)> = if missing.len() > 1 {
            missing.par_iter().map(decode).collect::<Result<_>>()?
        } else {
            missing.iter().map(decode).collect::<Result<_>>()?
        };
        let mut cache = self.lock_cache();
        for (i, chunk) in decoded {
            cache.insert(index(&places[i]), chunk.clone());
            found[i] = Some(chunk);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Copies the part of a chunk that lies in `area` (raster pixels) into the window, and counts bands that hold the marker.
    fn paste(
        &self,
        chunk: &Chunk,
        (plane, row, column): (u32, u32, u32),
        origin: (i64, i64),
        area: [i64; 4],
        window: &mut Window,
        marker: Option<Marker>,
        hits: &mut [u16],
    ) {
        let l = &self.header.layout;
        let (cx, cy) = (i64::from(column) * i64::from(l.chunk_width), i64::from(row) * i64::from(l.chunk_height));
        let (left, right) = (area[0].max(cx), area[2].min(cx + i64::from(chunk.width)));
        let (top, bottom) = (area[1].max(cy), area[3].min(cy + i64::from(chunk.height)));
        if left >= right {
            return;
        }
        let n = (right - left) as usize;
        let (bands, step) = (self.bands.len(), chunk.samples_per_pixel as usize);
        let missing = matches!(chunk.samples, Samples::Missing);
        // Where each sample that this chunk holds goes.
        let own: Vec<(usize, usize)> = match l.planes {
            1 => self.bands.iter().enumerate().map(|(to, from)| (*from as usize, to)).collect(),
            _ => self.bands.iter().enumerate().filter(|(_, b)| **b == plane).map(|(to, _)| (0, to)).collect(),
        };
        let whole = l.planes == 1 && step == bands && own.iter().all(|(from, to)| from == to);
        let alpha = match (l.planes, self.header.alpha) {
            (1, Some(a)) => Some(a as usize),
            (_, Some(a)) if a == plane => Some(0),
            _ => None,
        };
        let mut opacity = vec![1.0; if alpha.is_some() { n } else { 0 }];
        for y in top..bottom {
            let pixel = (y - cy) as usize * chunk.width as usize + (left - cx) as usize;
            let target = (y - origin.1) as usize * window.width as usize + (left - origin.0) as usize;
            let valid = &mut window.valid[target..target + n];
            if missing {
                valid.fill(0);
                continue;
            }
            let (source, data) = (pixel * step, &mut window.data[target * bands..(target + n) * bands]);
            if whole {
                chunk.samples.copy(source, 1, n * bands, data, 1);
            }
            for &(from, to) in &own {
                if !whole {
                    chunk.samples.copy(source + from, step, n, &mut data[to..], bands);
                }
                if let Some(marker) = marker {
                    chunk.samples.count(source + from, step, n, marker, &mut hits[target..target + n]);
                }
            }
            if let Some(stored) = &chunk.valid {
                valid.iter_mut().zip(&stored[pixel..]).for_each(|(v, s)| *v &= s);
            }
            if let Some(a) = alpha {
                chunk.samples.copy(source + a, step, n, &mut opacity, 1);
                valid.iter_mut().zip(&opacity).for_each(|(v, a)| *v &= u8::from(*a != 0.0));
            }
        }
    }
}

/// Clears what is not valid, not finite, or holds the marker in every band.
fn clear(window: &mut Window, hits: &[u16]) {
    const PART: usize = 1 << 14;
    let bands = window.bands as usize;
    let none = [0u16; PART];
    let parts = window.data.par_chunks_mut(bands * PART).zip(window.valid.par_chunks_mut(PART));
    parts.enumerate().for_each(|(i, (data, valid))| {
        let hits = if hits.is_empty() { &none[..] } else { &hits[i * PART..] };
        for ((pixel, valid), hits) in data.chunks_exact_mut(bands).zip(valid).zip(hits) {
            if *valid == 0 || usize::from(*hits) == bands || pixel.iter().any(|v| !v.is_finite()) {
                *valid = 0;
                pixel.fill(0.0);
            }
        }
    });
}
