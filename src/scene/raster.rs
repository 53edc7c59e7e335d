//! A raster file read by windows through a bounded cache.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cache::ChunkCache;
use super::chunk::{Chunk, Samples};
use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::{self, GeoTransform};
use super::image_read;
use super::tiff_read::TiffImage;

/// Decoded tiles a raster keeps unless told otherwise, bytes.
pub const DEFAULT_CACHE_BYTES: usize = 256 << 20;

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

enum Source {
    Tiff(Box<TiffImage>),
    Whole(Arc<Chunk>),
}

/// Geometry of a source's chunks.
struct Layout {
    chunk_width: u32,
    chunk_height: u32,
    across: u32,
    down: u32,
    /// Chunks that hold one plane each, per position.
    planes: u32,
}

/// An image file: GeoTIFF, or PNG/JPEG with an optional world file. Shared freely between threads.
pub struct Raster {
    path: PathBuf,
    width: u32,
    height: u32,
    bands: u32,
    alpha: bool,
    sample_type: SampleType,
    nodata: Option<f64>,
    geo: Option<GeoTransform>,
    epsg: Option<u32>,
    crs: Option<Crs>,
    layout: Layout,
    source: Source,
    cache: Mutex<ChunkCache>,
}

impl std::fmt::Debug for Raster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raster")
            .field("path", &self.path)
            .field("size", &(self.width, self.height, self.bands))
            .field("sample_type", &self.sample_type)
            .field("nodata", &self.nodata)
            .field("epsg", &self.epsg)
            .finish_non_exhaustive()
    }
}

impl Raster {
    /// Opens an image, whatever its name ends in, with a cache of [`DEFAULT_CACHE_BYTES`].
    ///
    /// Reads the header only (a PNG or JPEG is decoded whole, up to 1 GiB). An alpha channel is not
    /// a band: where it is 0 the pixel is not valid. Of several images in a TIFF the first that is
    /// neither an overview nor a mask is taken.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotAnImage`], [`Error::Damaged`], [`Error::Unsupported`],
    /// [`Error::TooLarge`], or [`Error::Sidecar`] for a world or `.prj` file that does not read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut magic = [0u8; 8];
        let got = std::fs::File::open(path)
            .and_then(|f| {
                let mut got = 0;
                let mut f = f.take(8);
                loop {
                    match f.read(&mut magic[got..])? {
                        0 => return Ok(got),
                        n => got += n,
                    }
                }
            })
            .map_err(|e| Error::read(path, e))?;
        let magic = &magic[..got];
        if matches!(
            magic,
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..]
        ) {
            Self::from_tiff(path)
        } else if magic.starts_with(b"\x89PNG") || magic.starts_with(&[0xff, 0xd8, 0xff]) {
            Self::from_image(path)
        } else {
            Err(Error::NotAnImage { path: path.into() })
        }
    }

    fn from_tiff(path: &Path) -> Result<Self> {
        let image = TiffImage::open(path)?;
        let geo = match image.geo {
            Some(g) => Some(g),
            None => georef::world_file(path)?,
        };
        let epsg = match image.epsg {
            Some(code) => Some(code),
            None => georef::prj_file(path).ok().flatten(),
        };
        Ok(Self {
            path: path.into(),
            width: image.width,
            height: image.height,
            bands: image.samples - u32::from(image.alpha),
            alpha: image.alpha,
            sample_type: image.sample_type,
            nodata: image.nodata.or(default_nodata(image.sample_type)),
            geo,
            epsg,
            crs: epsg.and_then(|code| Crs::from_epsg(code).ok()),
            layout: Layout {
                chunk_width: image.chunk_width,
                chunk_height: image.chunk_height,
                across: image.across,
                down: image.down,
                planes: if image.planar { image.samples } else { 1 },
            },
            source: Source::Tiff(Box::new(image)),
            cache: Mutex::new(ChunkCache::new(DEFAULT_CACHE_BYTES)),
        })
    }

    fn from_image(path: &Path) -> Result<Self> {
        let (chunk, alpha) = image_read::decode(path)?;
        let sample_type = if matches!(chunk.samples, Samples::U16(_)) {
            SampleType::U16
        } else {
            SampleType::U8
        };
        let epsg = georef::prj_file(path)?;
        Ok(Self {
            path: path.into(),
            width: chunk.width,
            height: chunk.height,
            bands: chunk.samples_per_pixel - u32::from(alpha),
            alpha,
            sample_type,
            nodata: default_nodata(sample_type),
            geo: georef::world_file(path)?,
            epsg,
            crs: epsg.and_then(|code| Crs::from_epsg(code).ok()),
            layout: Layout {
                chunk_width: chunk.width,
                chunk_height: chunk.height,
                across: 1,
                down: 1,
                planes: 1,
            },
            source: Source::Whole(Arc::new(chunk)),
            cache: Mutex::new(ChunkCache::new(0)),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Width, px.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height, px.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bands a pixel, alpha not counted.
    pub fn bands(&self) -> u32 {
        self.bands
    }

    /// Type of the samples in the file.
    pub fn sample_type(&self) -> SampleType {
        self.sample_type
    }

    /// Edges of the file's own tiles or strips, px: windows along them read fastest.
    pub fn chunk_size(&self) -> (u32, u32) {
        (self.layout.chunk_width, self.layout.chunk_height)
    }

    /// The value that marks a pixel without data where **every** band equals it: the file's own
    /// (GDAL_NODATA), else 0 for 8- and 16-bit integers, else none. NaN and infinity never are data.
    pub fn nodata(&self) -> Option<f64> {
        self.nodata
    }

    /// Replaces the no-data value; `None` makes every finite pixel valid.
    pub fn set_nodata(&mut self, nodata: Option<f64>) {
        self.nodata = nodata;
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
        self.geo.as_ref()
    }

    /// The EPSG code the file names, known to the built-in tables or not.
    pub fn epsg(&self) -> Option<u32> {
        self.epsg
    }

    /// The coordinate reference system, where the file names one that is known.
    pub fn crs(&self) -> Option<&Crs> {
        self.crs.as_ref()
    }

    /// Geotransform and coordinate reference system, for work that needs both.
    ///
    /// # Errors
    /// [`Error::NoGeotransform`], [`Error::NoCrs`] or [`Error::UnknownEpsg`].
    pub fn georeference(&self) -> Result<(&GeoTransform, &Crs)> {
        let geo = self.geo.as_ref().ok_or_else(|| Error::NoGeotransform {
            path: self.path.clone(),
        })?;
        match (&self.crs, self.epsg) {
            (Some(crs), _) => Ok((geo, crs)),
            (None, Some(code)) => Crs::from_epsg(code).and(Err(Error::NoCrs {
                path: self.path.clone(),
            })),
            (None, None) => Err(Error::NoCrs {
                path: self.path.clone(),
            }),
        }
    }

    /// Metres on the ground of one pixel in the raster's middle, along its row and its column.
    ///
    /// # Errors
    /// Those of [`georeference`](Self::georeference), or [`Error::Projection`].
    pub fn ground_pixel_size(&self) -> Result<(f64, f64)> {
        let (geo, crs) = self.georeference()?;
        let (cx, cy) = (f64::from(self.width) / 2.0, f64::from(self.height) / 2.0);
        let (x, y) = geo.pixel_to_map(cx, cy);
        let (mx, my) = crs.meters_per_unit_at(x, y)?;
        let c = geo.coefficients();
        Ok(((c[1] * mx).hypot(c[4] * my), (c[2] * mx).hypot(c[5] * my)))
    }

    /// SHA-256 of the whole file in hexadecimal, read in pieces.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn sha256(&self) -> Result<String> {
        let mut file = std::fs::File::open(&self.path).map_err(|e| Error::read(&self.path, e))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file
                .read(&mut buffer)
                .map_err(|e| Error::read(&self.path, e))?
            {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Reads the rectangle of `width` x `height` px whose upper left pixel is (`x0`, `y0`).
    ///
    /// It may lie partly or wholly outside the raster: what lies outside is not valid, with data 0.
    /// Samples of 32-bit integers and 64-bit floats are rounded to `f32`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unsupported`] or [`Error::Read`] from the tiles touched.
    pub fn read_window(&self, x0: i64, y0: i64, width: u32, height: u32) -> Result<Window> {
        let pixels = width as usize * height as usize;
        let total = pixels
            .checked_mul(self.bands as usize)
            .filter(|n| *n < isize::MAX as usize / 4);
        let total = total.ok_or_else(|| {
            Error::argument(
                "window",
                format!("{width}x{height} px in {} bands exceed memory", self.bands),
            )
        })?;
        let mut window = Window {
            width,
            height,
            bands: self.bands,
            data: vec![0.0; total],
            valid: vec![0; pixels],
        };
        let clip = |a: i64, n: u32, size: u32| {
            let end = a.saturating_add(i64::from(n)).min(i64::from(size));
            (a.clamp(0, i64::from(size)), end.max(0))
        };
        let ((left, right), (top, bottom)) =
            (clip(x0, width, self.width), clip(y0, height, self.height));
        if left >= right || top >= bottom {
            return Ok(window);
        }
        let l = &self.layout;
        let columns = left as u32 / l.chunk_width..=(right as u32 - 1) / l.chunk_width;
        let rows = top as u32 / l.chunk_height..=(bottom as u32 - 1) / l.chunk_height;
        // Few enough at a time that decoded chunks beyond the cache stay a small number.
        let batch = rayon::current_num_threads().clamp(1, 16) * 2;
        let places: Vec<(u32, u32, u32)> = rows
            .flat_map(|r| columns.clone().map(move |c| (r, c)))
            .flat_map(|(r, c)| (0..l.planes).map(move |p| (r, c, p)))
            .collect();
        let area = (left, top, right, bottom);
        for group in places.chunks(batch) {
            for (&(row, column, plane), chunk) in group.iter().zip(self.chunks(group)?) {
                self.paste(&chunk, row, column, plane, (x0, y0), area, &mut window);
            }
        }
        self.mark_nodata(&mut window);
        Ok(window)
    }

    fn lock_cache(&self) -> std::sync::MutexGuard<'_, ChunkCache> {
        self.cache.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The chunks at (row, column, plane), from the cache or decoded in parallel.
    fn chunks(&self, places: &[(u32, u32, u32)]) -> Result<Vec<Arc<Chunk>>> {
        let image = match &self.source {
            Source::Whole(chunk) => return Ok(vec![chunk.clone(); places.len()]),
            Source::Tiff(image) => image,
        };
        let l = &self.layout;
        let index =
            |&(row, column, plane): &(u32, u32, u32)| (plane * l.down + row) * l.across + column;
        let mut found: Vec<Option<Arc<Chunk>>> = {
            let mut cache = self.lock_cache();
            places.iter().map(|p| cache.get(index(p))).collect()
        };
        let missing: Vec<usize> = (0..places.len()).filter(|&i| found[i].is_none()).collect();
        let decode = |&i: &usize| image.decode(index(&places[i])).map(|c| (i, Arc::new(c)));
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

    /// Copies the part of a chunk that lies in `area` (raster pixels) into the window.
    fn paste(
        &self,
        chunk: &Chunk,
        row: u32,
        column: u32,
        plane: u32,
        origin: (i64, i64),
        area: (i64, i64, i64, i64),
        window: &mut Window,
    ) {
        if matches!(chunk.samples, Samples::Missing) {
            return;
        }
        let l = &self.layout;
        let (cx, cy) = (
            i64::from(column) * i64::from(l.chunk_width),
            i64::from(row) * i64::from(l.chunk_height),
        );
        let (left, right) = (area.0.max(cx), area.2.min(cx + i64::from(chunk.width)));
        let (top, bottom) = (area.1.max(cy), area.3.min(cy + i64::from(chunk.height)));
        if left >= right {
            return;
        }
        let n = (right - left) as usize;
        let (bands, step) = (self.bands as usize, chunk.samples_per_pixel as usize);
        let mut alpha = vec![1.0; if self.alpha { n } else { 0 }];
        for y in top..bottom {
            let source = ((y - cy) as usize * chunk.width as usize + (left - cx) as usize) * step;
            let target =
                (y - origin.1) as usize * window.width as usize + (left - origin.0) as usize;
            let valid = &mut window.valid[target..target + n];
            let data = &mut window.data[target * bands..(target + n) * bands];
            if l.planes == 1 {
                if step == bands {
                    chunk.samples.copy(source, 1, n * bands, data, 1);
                } else {
                    for b in 0..bands {
                        chunk
                            .samples
                            .copy(source + b, step, n, &mut data[b..], bands);
                    }
                }
                valid.fill(1);
            } else if (plane as usize) < bands {
                chunk
                    .samples
                    .copy(source, 1, n, &mut data[plane as usize..], bands);
                valid.fill(1);
            }
            if self.alpha && (l.planes == 1 || plane as usize == bands) {
                let start = if l.planes == 1 {
                    source + bands
                } else {
                    source
                };
                chunk.samples.copy(start, step, n, &mut alpha, 1);
                for (v, &a) in valid.iter_mut().zip(&alpha) {
                    *v &= u8::from(a != 0.0);
                }
            }
        }
    }

    fn mark_nodata(&self, window: &mut Window) {
        let bands = self.bands as usize;
        let nodata = self.nodata.map(|v| v as f32);
        window
            .data
            .par_chunks_mut(bands << 14)
            .zip(window.valid.par_chunks_mut(1 << 14))
            .for_each(|(data, valid)| {
                for (pixel, valid) in data.chunks_exact_mut(bands).zip(valid) {
                    let missing = *valid == 0
                        || pixel.iter().any(|v| !v.is_finite())
                        || nodata.is_some_and(|n| pixel.iter().all(|&v| v == n));
                    if missing {
                        *valid = 0;
                        pixel.fill(0.0);
                    }
                }
            });
    }
}

fn default_nodata(kind: SampleType) -> Option<f64> {
    matches!(
        kind,
        SampleType::U8 | SampleType::I8 | SampleType::U16 | SampleType::I16
    )
    .then_some(0.0)
}
