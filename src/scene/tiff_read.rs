//! GeoTIFF: what the header says, and the layout of tiles and strips held against the file's length.

use std::path::{Path, PathBuf};

use super::chunk::{Chunk, Samples};
use super::error::{Error, Result};
use super::georef::{self, GeoTransform};
use super::raster::SampleType;
use super::tiff_chunk::{JPEG, NONE, compression_name};
use super::tiff_ifd::{Directory, TiffBytes, tag};

/// Largest decoded tile or strip, bytes.
pub(super) const MAX_CHUNK_BYTES: u64 = 256 << 20;
/// Strips without compression are regrouped into chunks of about this many bytes.
const RAW_CHUNK_BYTES: u64 = 1 << 20;

const YCBCR: u64 = 6;
const PALETTE: u64 = 3;

/// An open GeoTIFF, its first full-resolution image.
pub(super) struct TiffImage {
    pub(super) path: PathBuf,
    pub(super) bytes: TiffBytes,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Samples a pixel, alpha included.
    pub(super) samples: u32,
    pub(super) alpha: bool,
    pub(super) planar: bool,
    pub(super) sample_type: SampleType,
    pub(super) chunk_width: u32,
    pub(super) chunk_height: u32,
    pub(super) across: u32,
    pub(super) down: u32,
    pub(super) compression: u64,
    pub(super) predictor: u64,
    pub(super) sample_format: u64,
    pub(super) ycbcr: bool,
    pub(super) tables: Option<Vec<u8>>,
    offsets: Vec<u64>,
    counts: Vec<u64>,
    /// Rows of a strip where strips are regrouped.
    raw_strip_rows: Option<u32>,
    tiled: bool,
    pub(super) geo: Option<GeoTransform>,
    pub(super) epsg: Option<u32>,
    pub(super) nodata: Option<f64>,
}

impl TiffImage {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes = TiffBytes::open(path)?;
        let dir = bytes.main_directory()?;
        let required = |id, name: &str| -> Result<u32> {
            let value = dir.unsigned(&bytes, id)?.unwrap_or(0);
            u32::try_from(value)
                .ok()
                .filter(|&v| v > 0 && v <= i32::MAX as u32)
                .ok_or_else(|| Error::damaged(path, format!("the {name} {value} in its header is not between 1 and {}", i32::MAX)))
        };
        let width = required(tag::WIDTH, "width")?;
        let height = required(tag::HEIGHT, "height")?;
        let samples = dir.unsigned(&bytes, tag::SAMPLES)?.unwrap_or(1);
        if !(1..=1024).contains(&samples) {
            return Err(Error::damaged(path, format!("its header claims {samples} bands")));
        }
        let samples = samples as u32;
        let (sample_type, sample_format) = sample_type(path, &bytes, &dir)?;
        let compression = dir.unsigned(&bytes, tag::COMPRESSION)?.unwrap_or(NONE);
        if compression_name(compression).is_none() {
            return Err(Error::unsupported(
                path,
                format!("TIFF compression {compression}"),
                "rewrite it with gdal_translate -co COMPRESS=DEFLATE -co TILED=YES IN OUT.tif \
                 (read are none, LZW, Deflate, JPEG, ZSTD, PackBits)",
            ));
        }
        let photometric = dir.unsigned(&bytes, tag::PHOTOMETRIC)?.unwrap_or(1);
        if photometric == PALETTE {
            return Err(Error::unsupported(path, "a colour palette", "expand it: gdal_translate -expand rgb IN OUT.tif"));
        }
        let ycbcr = photometric == YCBCR && samples == 3;
        if ycbcr && compression != JPEG {
            let sub = dir.unsigned_array(&bytes, tag::YCBCR_SUBSAMPLING)?;
            if sub != [1, 1] || sample_type != SampleType::U8 {
                return Err(Error::unsupported(
                    path,
                    "sub-sampled YCbCr without JPEG compression",
                    "rewrite it as RGB: gdal_translate -co PHOTOMETRIC=RGB IN OUT.tif",
                ));
            }
        }
        let planar = dir.unsigned(&bytes, tag::PLANAR)?.unwrap_or(1) == 2 && samples > 1;
        let extra = dir.unsigned_array(&bytes, tag::EXTRA_SAMPLES)?;
        let alpha = samples > 1 && matches!(extra.last(), Some(1 | 2));
        let scale = dir.doubles(&bytes, tag::PIXEL_SCALE)?;
        let tiepoint = dir.doubles(&bytes, tag::TIEPOINT)?;
        let matrix = dir.doubles(&bytes, tag::TRANSFORMATION)?;
        let keys = georef::GeoKeys::parse(&dir.unsigned_array(&bytes, tag::GEO_KEYS)?);
        let geo = georef::from_tags(&scale, &tiepoint, &matrix, keys.pixel_is_point);
        let nodata = match dir.text(&bytes, tag::GDAL_NODATA)? {
            Some(text) if !text.is_empty() => {
                Some(text.trim().parse().map_err(|_| Error::damaged(path, format!("its no-data tag holds `{text}`, which is no number")))?)
            }
            _ => None,
        };
        let mut image = Self {
            path: path.into(),
            width,
            height,
            samples,
            alpha,
            planar,
            sample_type,
            chunk_width: width,
            chunk_height: height,
            across: 1,
            down: 1,
            predictor: if compression == NONE { 1 } else { dir.unsigned(&bytes, tag::PREDICTOR)?.unwrap_or(1) },
            compression,
            sample_format,
            ycbcr,
            tables: if compression == JPEG { dir.bytes(&bytes, tag::JPEG_TABLES)? } else { None },
            offsets: Vec::new(),
            counts: Vec::new(),
            raw_strip_rows: None,
            tiled: dir.has(tag::TILE_OFFSETS),
            geo,
            epsg: keys.epsg,
            nodata,
            bytes,
        };
        image.read_chunk_table(&dir)?;
        Ok(image)
    }

    fn planes(&self) -> u32 {
        if self.planar { self.samples } else { 1 }
    }

    /// Samples of one pixel within one chunk.
    pub(super) fn chunk_samples(&self) -> u32 {
        if self.planar { 1 } else { self.samples }
    }

    pub(super) fn row_bytes(&self, width: u32) -> u64 {
        u64::from(width) * u64::from(self.chunk_samples()) * u64::from(self.sample_type.bytes())
    }

    fn read_chunk_table(&mut self, dir: &Directory) -> Result<()> {
        let (offsets, counts) = if self.tiled {
            let edge = |id| -> Result<u32> {
                let value = dir.unsigned(&self.bytes, id)?.unwrap_or(0);
                u32::try_from(value)
                    .ok()
                    .filter(|&v| v > 0)
                    .ok_or_else(|| Error::damaged(&self.path, format!("its header claims tiles of {value} px")))
            };
            (self.chunk_width, self.chunk_height) = (edge(tag::TILE_WIDTH)?, edge(tag::TILE_HEIGHT)?);
            (tag::TILE_OFFSETS, tag::TILE_BYTES)
        } else {
            let rows = dir.unsigned(&self.bytes, tag::ROWS_PER_STRIP)?.unwrap_or(u64::MAX);
            self.chunk_height = rows.clamp(1, u64::from(self.height)) as u32;
            (tag::STRIP_OFFSETS, tag::STRIP_BYTES)
        };
        self.across = self.width.div_ceil(self.chunk_width);
        self.down = self.height.div_ceil(self.chunk_height);
        let expected = u64::from(self.across) * u64::from(self.down) * u64::from(self.planes());
        let found = dir.count(offsets);
        if found != expected || dir.count(counts) != expected || expected > u64::from(u32::MAX) {
            return Err(Error::damaged(
                &self.path,
                format!("its header claims {}x{} px in {expected} tiles or strips, but lists {found} of them", self.width, self.height),
            ));
        }
        if self.compression == NONE && !self.tiled {
            self.raw_strip_rows = Some(self.chunk_height);
            let rows = (RAW_CHUNK_BYTES / self.row_bytes(self.width)).clamp(1, u64::from(self.height));
            self.chunk_height = rows as u32;
            self.down = self.height.div_ceil(self.chunk_height);
        }
        let size = u128::from(self.row_bytes(self.chunk_width)) * u128::from(self.chunk_height);
        if size > u128::from(MAX_CHUNK_BYTES) {
            return Err(Error::TooLarge {
                path: self.path.clone(),
                what: format!("one {} of {}x{} px", if self.tiled { "tile" } else { "strip" }, self.chunk_width, self.chunk_height),
                bytes: size,
                limit: MAX_CHUNK_BYTES,
            });
        }
        self.offsets = dir.unsigned_array(&self.bytes, offsets)?;
        self.counts = dir.unsigned_array(&self.bytes, counts)?;
        if self.offsets.len() as u64 != expected || self.counts.len() as u64 != expected {
            return Err(Error::damaged(&self.path, "its table of tiles or strips is of an unknown type"));
        }
        for (i, (&at, &n)) in self.offsets.iter().zip(&self.counts).enumerate() {
            let strips = self.height.div_ceil(self.raw_strip_rows.unwrap_or(u32::MAX)) as usize;
            let rows = match self.raw_strip_rows {
                Some(rows) => rows.min(self.height - (i % strips) as u32 * rows),
                None => self.chunk_height,
            };
            let need = self.row_bytes(self.chunk_width).saturating_mul(u64::from(rows));
            if self.compression == NONE && n > 0 && n < need {
                return Err(Error::damaged(&self.path, format!("tile or strip {i} of {expected} holds {n} bytes, its pixels need {need}")));
            }
            if n > 0 && at.checked_add(n).is_none_or(|end| end > self.bytes.len) {
                return Err(Error::damaged(
                    &self.path,
                    format!("tile or strip {i} of {expected} would end at byte {}, the file has {}", at.saturating_add(n), self.bytes.len),
                ));
            }
        }
        Ok(())
    }

    /// Decodes chunk `index` = (plane * down + row) * across + column.
    pub(super) fn decode(&self, index: u32) -> Result<Chunk> {
        let per_plane = self.across * self.down;
        let (plane, row) = (index / per_plane, index % per_plane / self.across);
        let height = if self.tiled { self.chunk_height } else { self.chunk_height.min(self.height - row * self.chunk_height) };
        let payload = match self.raw_strip_rows {
            Some(strip_rows) => self.raw_rows(plane, row * self.chunk_height, height, strip_rows)?,
            None => {
                let (at, n) = (self.offsets[index as usize], self.counts[index as usize]);
                (n > 0).then(|| self.bytes.read(at, n, &format!("tile or strip {index}"))).transpose()?
            }
        };
        let samples = match payload {
            None => Samples::Missing,
            Some(payload) => self.expand(index, height, &payload)?,
        };
        Ok(Chunk { samples, width: self.chunk_width, height, samples_per_pixel: self.chunk_samples() })
    }

    /// Rows `y0..y0 + rows` of strips without compression; `None` where any of them is sparse.
    fn raw_rows(&self, plane: u32, y0: u32, rows: u32, strip_rows: u32) -> Result<Option<Vec<u8>>> {
        let row_bytes = self.row_bytes(self.width);
        let strips = self.height.div_ceil(strip_rows);
        let mut out = Vec::with_capacity((row_bytes * u64::from(rows)) as usize);
        let mut y = y0;
        while y < y0 + rows {
            let strip = (plane * strips + y / strip_rows) as usize;
            let n = (strip_rows - y % strip_rows).min(y0 + rows - y);
            let (from, len) = (u64::from(y % strip_rows) * row_bytes, u64::from(n) * row_bytes);
            if self.counts[strip] == 0 {
                return Ok(None);
            }
            if from + len > self.counts[strip] {
                return Err(Error::damaged(
                    &self.path,
                    format!("strip {strip} holds {} bytes, its rows need {}", self.counts[strip], from + len),
                ));
            }
            out.extend(self.bytes.read(self.offsets[strip] + from, len, "a strip")?);
            y += n;
        }
        Ok(Some(out))
    }
}

fn sample_type(path: &Path, bytes: &TiffBytes, dir: &Directory) -> Result<(SampleType, u64)> {
    let bits = dir.unsigned_array(bytes, tag::BITS)?;
    let formats = dir.unsigned_array(bytes, tag::SAMPLE_FORMAT)?;
    let (b, f) = (bits.first().copied().unwrap_or(1), formats.first().copied().unwrap_or(1));
    if bits.iter().any(|&x| x != b) || formats.iter().any(|&x| x != f) {
        return Err(Error::unsupported(path, "bands of unlike sample types", "write the bands with one type"));
    }
    let kind = match (b, f) {
        (8, 1 | 4) => SampleType::U8,
        (16, 1 | 4) => SampleType::U16,
        (32, 1 | 4) => SampleType::U32,
        (8, 2) => SampleType::I8,
        (16, 2) => SampleType::I16,
        (32, 2) => SampleType::I32,
        (16, 3) => SampleType::F16,
        (32, 3) => SampleType::F32,
        (64, 3) => SampleType::F64,
        (_, 5 | 6) => {
            return Err(Error::unsupported(
                path,
                "complex SAR data",
                "take the detected (amplitude or intensity) product, or write the magnitude",
            ));
        }
        _ => {
            return Err(Error::unsupported(
                path,
                format!("{b}-bit samples of TIFF format {f}"),
                "rewrite it with gdal_translate -ot Byte, UInt16 or Float32",
            ));
        }
    };
    Ok((kind, if f == 4 { 1 } else { f }))
}
