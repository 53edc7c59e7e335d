//! GeoTIFF: what the header says, and the layout of tiles and strips held against the file's length.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunk::{Chunk, Samples};
use super::crs::{Crs, GeoKeys};
use super::error::{Error, Result};
use super::georef;
use super::metadata::GdalMetadata;
use super::nodata;
use super::raster::SampleType;
use super::source::{Claim, Header, Layout, Source};
use super::ties::Tie;
use super::tiff_chunk::{JPEG, NONE, compression_name, is_read};
use super::tiff_ifd::{Directory, TiffBytes, tag};

/// Largest decoded tile or strip, bytes.
pub(super) const MAX_CHUNK_BYTES: u64 = 256 << 20;
/// Strips without compression are regrouped into chunks of about this many bytes.
const RAW_CHUNK_BYTES: u64 = 1 << 20;

const REWRITE: &str = "rewrite it: gdal_translate -co COMPRESS=DEFLATE -co TILED=YES IN OUT.tif";

/// How the samples of a TIFF are stored.
pub(super) struct TiffImage {
    pub(super) path: PathBuf,
    pub(super) bytes: Arc<TiffBytes>,
    width: u32,
    height: u32,
    /// Samples a pixel, alpha included.
    samples: u32,
    pub(super) planar: bool,
    pub(super) sample_type: SampleType,
    /// Bits of a sample: less than 8 where several share a byte.
    pub(super) bits: u32,
    pub(super) layout: Layout,
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
}

/// A TIFF, opened: its first full-resolution image, what is said of it, and its mask.
pub(super) struct Opened {
    pub(super) image: TiffImage,
    pub(super) header: Header,
    pub(super) mask: Option<(TiffImage, Header)>,
}

/// Opens a TIFF.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let bytes = Arc::new(TiffBytes::open(path)?);
    let (main, mask) = bytes.main_directory()?;
    let (image, mut header) = TiffImage::new(path, &bytes, &main)?;
    describe(path, &bytes, &main, &mut header)?;
    let mask = mask.map(|d| TiffImage::new(path, &bytes, &d)).transpose()?;
    Ok(Opened { image, header, mask })
}

/// Georeference, no-data value, names and alpha of the image.
fn describe(path: &Path, bytes: &TiffBytes, dir: &Directory, header: &mut Header) -> Result<()> {
    let scale = dir.doubles(bytes, tag::PIXEL_SCALE)?;
    let tiepoints = dir.doubles(bytes, tag::TIEPOINT)?;
    let matrix = dir.doubles(bytes, tag::TRANSFORMATION)?;
    let ascii = dir.text(bytes, tag::GEO_ASCII)?.unwrap_or_default();
    let keys = GeoKeys::parse(&dir.unsigned_array(bytes, tag::GEO_KEYS)?, &dir.doubles(bytes, tag::GEO_DOUBLES)?, &ascii);
    let affine = georef::from_tags(&scale, &tiepoints, &matrix, keys.pixel_is_point);
    let half = if keys.pixel_is_point { 0.5 } else { 0.0 };
    let ties = match affine {
        Some(_) => Vec::new(),
        None => tiepoints.as_chunks::<6>().0.iter().map(|t| Tie { px: [t[0] + half, t[1] + half], map: [t[3], t[4]] }).collect(),
    };
    header.claim = Claim { affine, ties, crs: keys.crs().map(|c| c.map(Crs::by_proj).map_err(|e| e.to_string())), rpc: dir.has(tag::RPC) };
    if let Some(text) = dir.text(bytes, tag::GDAL_NODATA)?.filter(|t| !t.trim().is_empty()) {
        header.nodata = nodata::parse(&text);
        if header.nodata.is_none() {
            header.warnings.push(format!(
                "{}: its no-data tag holds `{}`, which is no number, so no value is taken for no data; --no-data VALUE names one",
                path.display(),
                text.trim()
            ));
        }
    }
    let extra = dir.unsigned_array(bytes, tag::EXTRA_SAMPLES)?;
    let first_extra = header.samples.saturating_sub(extra.len() as u32);
    let alpha = extra.iter().position(|e| matches!(e, 1 | 2)).map(|i| first_extra + i as u32);
    header.alpha = alpha.filter(|a| *a < header.samples && header.samples > 1);
    // RGB, or YCbCr that becomes it.
    if matches!(dir.unsigned(bytes, tag::PHOTOMETRIC)?, Some(2 | 6)) && header.samples >= 3 {
        header.colours = [Some(0), Some(1), Some(2)];
    }
    if let Some(xml) = dir.text(bytes, tag::GDAL_METADATA)? {
        GdalMetadata::parse(&xml).apply(header);
    }
    Ok(())
}

/// Bytes of rows as they are stored, and where strips of them are absent.
type Stored = (Vec<u8>, Option<Vec<u8>>);

impl TiffImage {
    /// The image of a directory, and the plain facts of it.
    fn new(path: &Path, bytes: &Arc<TiffBytes>, dir: &Directory) -> Result<(Self, Header)> {
        let required = |id, name: &str| -> Result<u32> {
            let value = dir.unsigned(bytes, id)?.unwrap_or(0);
            u32::try_from(value)
                .ok()
                .filter(|&v| v > 0 && v <= i32::MAX as u32)
                .ok_or_else(|| Error::damaged(path, format!("the {name} {value} in its header is not between 1 and {}", i32::MAX)))
        };
        let width = required(tag::WIDTH, "width")?;
        let height = required(tag::HEIGHT, "height")?;
        let samples = dir.unsigned(bytes, tag::SAMPLES)?.unwrap_or(1);
        if !(1..=1024).contains(&samples) {
            return Err(Error::damaged(path, format!("its header claims {samples} bands")));
        }
        let samples = samples as u32;
        let (sample_type, bits, sample_format) = sample_type(path, bytes, dir)?;
        let compression = dir.unsigned(bytes, tag::COMPRESSION)?.unwrap_or(NONE);
        if !is_read(compression) {
            return Err(Error::unsupported(path, format!("{} compression", compression_name(compression)), REWRITE));
        }
        let ycbcr = ycbcr(path, bytes, dir, samples, sample_type, compression)?;
        if dir.unsigned(bytes, tag::FILL_ORDER)?.unwrap_or(1) == 2 && compression != JPEG {
            return Err(Error::unsupported(path, "a TIFF whose bits run backwards (FillOrder 2)", REWRITE));
        }
        let mut image = Self {
            path: path.into(),
            width,
            height,
            samples,
            planar: dir.unsigned(bytes, tag::PLANAR)?.unwrap_or(1) == 2 && samples > 1,
            sample_type,
            bits,
            layout: Layout::new([width, height], [width, height]),
            predictor: if compression == NONE { 1 } else { dir.unsigned(bytes, tag::PREDICTOR)?.unwrap_or(1) },
            compression,
            sample_format,
            ycbcr,
            tables: if compression == JPEG { dir.bytes(bytes, tag::JPEG_TABLES)? } else { None },
            offsets: Vec::new(),
            counts: Vec::new(),
            raw_strip_rows: None,
            tiled: dir.has(tag::TILE_OFFSETS),
            bytes: bytes.clone(),
        };
        image.read_chunk_table(dir)?;
        let header = Header::plain([width, height], samples, sample_type, image.layout);
        Ok((image, header))
    }

    /// Samples of one pixel within one chunk.
    pub(super) fn chunk_samples(&self) -> u32 {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes of a row as it is stored, uncompressed.
    pub(super) fn row_bytes(&self, width: u32) -> u64 {
        (u64::from(width) * u64::from(self.chunk_samples()) * u64::from(self.bits)).div_ceil(8)
    }

    fn read_chunk_table(&mut self, dir: &Directory) -> Result<()> {
        let edge = |id| -> Result<u32> {
            let value = dir.unsigned(&self.bytes, id)?.unwrap_or(0);
            u32::try_from(value)
                .ok()
                .filter(|&v| v > 0)
                .ok_or_else(|| Error::damaged(&self.path, format!("its header claims tiles of {value} px")))
        };
        let (size, offsets, counts) = if self.tiled {
            ([edge(tag::TILE_WIDTH)?, edge(tag::TILE_HEIGHT)?], tag::TILE_OFFSETS, tag::TILE_BYTES)
        } else {
            let rows = dir.unsigned(&self.bytes, tag::ROWS_PER_STRIP)?.unwrap_or(u64::MAX);
            ([self.width, rows.clamp(1, u64::from(self.height)) as u32], tag::STRIP_OFFSETS, tag::STRIP_BYTES)
        };
        let planes = if self.planar { self.samples } else { 1 };
        let stored = Layout { planes, ..Layout::new([self.width, self.height], size) };
        let (expected, found) = (stored.chunks(), dir.count(offsets));
        if found != expected || dir.count(counts) != expected {
            return Err(Error::damaged(
                &self.path,
                format!("its header claims {}x{} px in {expected} tiles or strips, but lists {found} of them", self.width, self.height),
            ));
        }
        self.layout = stored;
        if self.compression == NONE && !self.tiled {
            self.raw_strip_rows = Some(stored.chunk_height);
            let rows = (RAW_CHUNK_BYTES / self.row_bytes(self.width)).clamp(1, u64::from(self.height)) as u32;
            self.layout = Layout { planes, ..Layout::new([self.width, self.height], [self.width, rows]) };
        }
        let (w, h) = (self.layout.chunk_width, self.layout.chunk_height);
        let decoded = u64::from(w) * u64::from(self.chunk_samples()) * u64::from(self.sample_type.bytes());
        let bytes = u128::from(decoded) * u128::from(h);
        if bytes > u128::from(MAX_CHUNK_BYTES) {
            return Err(Error::TooLarge {
                path: self.path.clone(),
                what: format!("one {} of {w}x{h} px", if self.tiled { "tile" } else { "strip" }),
                bytes,
                limit: MAX_CHUNK_BYTES,
            });
        }
        self.offsets = dir.unsigned_array(&self.bytes, offsets)?;
        self.counts = dir.unsigned_array(&self.bytes, counts)?;
        if self.offsets.len() as u64 != expected || self.counts.len() as u64 != expected {
            return Err(Error::damaged(&self.path, "its table of tiles or strips is of an unknown type"));
        }
        for (i, (&at, &n)) in self.offsets.iter().zip(&self.counts).enumerate() {
            let (_, row, _) = stored.place(i as u64);
            let rows = if self.tiled { stored.chunk_height } else { self.rows_of(&stored, row) };
            let need = self.row_bytes(stored.chunk_width).saturating_mul(u64::from(rows));
            if self.compression == NONE && n > 0 && n < need {
                return Err(Error::damaged(&self.path, format!("tile or strip {i} of {expected} holds {n} bytes, its pixels need {need}")));
            }
            if self.compression != NONE && n > 2 * MAX_CHUNK_BYTES {
                return Err(Error::TooLarge {
                    path: self.path.clone(),
                    what: format!("what is stored of tile or strip {i}"),
                    bytes: n.into(),
                    limit: 2 * MAX_CHUNK_BYTES,
                });
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

    /// Rows of a strip: the last one may be shorter.
    fn rows_of(&self, layout: &Layout, row: u32) -> u32 {
        layout.chunk_height.min(self.height - row * layout.chunk_height)
    }

    /// The strips, as they lie in the file, that hold rows `y0..y0 + rows` of a plane, with the rows of each.
    fn strips(&self, plane: u32, y0: u32, rows: u32, strip_rows: u32) -> impl Iterator<Item = (usize, u32, u32)> {
        let strips = self.height.div_ceil(strip_rows);
        let mut y = y0;
        std::iter::from_fn(move || {
            (y < y0 + rows).then(|| {
                let n = (strip_rows - y % strip_rows).min(y0 + rows - y);
                let found = (plane as usize * strips as usize + (y / strip_rows) as usize, y % strip_rows, n);
                y += n;
                found
            })
        })
    }

    /// Rows of strips without compression, one after the other; those of absent strips are 0 and marked so.
    fn raw_rows(&self, plane: u32, y0: u32, rows: u32, strip_rows: u32) -> Result<Option<Stored>> {
        let (row_bytes, width) = (self.row_bytes(self.width), self.width as usize);
        let mut out = Vec::with_capacity((row_bytes * u64::from(rows)) as usize);
        let mut valid = Vec::new();
        for (strip, first, n) in self.strips(plane, y0, rows, strip_rows) {
            let (from, len) = (u64::from(first) * row_bytes, u64::from(n) * row_bytes);
            let count = self.counts[strip];
            valid.resize(valid.len() + n as usize * width, u8::from(count > 0));
            if count == 0 {
                out.resize(out.len() + len as usize, 0);
            } else if from + len > count {
                return Err(Error::damaged(&self.path, format!("strip {strip} holds {count} bytes, its rows need {}", from + len)));
            } else {
                out.extend(self.bytes.read(self.offsets[strip] + from, len, "a strip")?);
            }
        }
        if !valid.contains(&1) {
            return Ok(None);
        }
        let valid = valid.contains(&0).then_some(valid);
        Ok(Some((out, valid)))
    }
}

impl Source for TiffImage {
    fn decode(&self, index: u64) -> Result<Arc<Chunk>> {
        let (plane, row, _) = self.layout.place(index);
        let height = if self.tiled { self.layout.chunk_height } else { self.rows_of(&self.layout, row) };
        let payload = match self.raw_strip_rows {
            Some(strip_rows) => self.raw_rows(plane, row * self.layout.chunk_height, height, strip_rows)?,
            None => {
                let (at, mut n) = (self.offsets[index as usize], self.counts[index as usize]);
                if self.compression == NONE {
                    n = n.min(self.row_bytes(self.layout.chunk_width) * u64::from(height));
                }
                (n > 0).then(|| self.bytes.read(at, n, &format!("tile or strip {index}")).map(|b| (b, None))).transpose()?
            }
        };
        let (samples, valid) = match payload {
            None => (Samples::Missing, None),
            Some((payload, valid)) => (self.expand(index, height, &payload)?, valid),
        };
        Ok(Arc::new(Chunk { samples, valid, width: self.layout.chunk_width, height, samples_per_pixel: self.chunk_samples() }))
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|n| *n == 0)
    }

    fn stored(&self, index: u64) -> bool {
        match self.raw_strip_rows {
            None => self.counts[index as usize] > 0,
            Some(strip_rows) => {
                let (plane, row, _) = self.layout.place(index);
                let rows = self.rows_of(&self.layout, row);
                self.strips(plane, row * self.layout.chunk_height, rows, strip_rows).any(|(strip, ..)| self.counts[strip] > 0)
            }
        }
    }
}

/// Whether colours are YCbCr that must become RGB; colours of other kinds are refused.
fn ycbcr(path: &Path, bytes: &TiffBytes, dir: &Directory, samples: u32, kind: SampleType, compression: u64) -> Result<bool> {
    let refused = |what: &str, advice: &str| Err(Error::unsupported(path, what, advice));
    let photometric = dir.unsigned(bytes, tag::PHOTOMETRIC)?.unwrap_or(1);
    // GDAL takes grey with a colour map for a palette too.
    let palette = samples == 1 && kind == SampleType::U8 && dir.has(tag::COLOR_MAP);
    match if palette { 3 } else { photometric } {
        3 => return refused("a colour palette", "expand it: gdal_translate -expand rgb IN OUT.tif"),
        5 => return refused("CMYK colour", "convert it to RGB: gdal_translate -co PHOTOMETRIC=RGB -b 1 -b 2 -b 3 IN OUT.tif"),
        8..=10 => return refused("L*a*b* colour", "convert it to RGB with an image editor, and copy the georeference"),
        32844 | 32845 => return refused("LogLuv colour", "convert it to RGB with an image editor, and copy the georeference"),
        6 if samples != 3 => {
            return refused("YCbCr colour with further bands", "rewrite it as RGB: gdal_translate -co PHOTOMETRIC=RGB IN OUT.tif");
        }
        6 => {}
        _ => return Ok(false),
    }
    if compression != JPEG {
        let sub = dir.unsigned_array(bytes, tag::YCBCR_SUBSAMPLING)?;
        if sub != [1, 1] || kind != SampleType::U8 {
            return refused(
                "sub-sampled YCbCr without JPEG compression",
                "rewrite it as RGB: gdal_translate -co PHOTOMETRIC=RGB IN OUT.tif",
            );
        }
    }
    Ok(true)
}

/// Type, bits in the file, and TIFF's sample format.
fn sample_type(path: &Path, bytes: &TiffBytes, dir: &Directory) -> Result<(SampleType, u32, u64)> {
    let bits = dir.unsigned_array(bytes, tag::BITS)?;
    let formats = dir.unsigned_array(bytes, tag::SAMPLE_FORMAT)?;
    let (b, f) = (bits.first().copied().unwrap_or(1), formats.first().copied().unwrap_or(1));
    if bits.iter().any(|&x| x != b) || formats.iter().any(|&x| x != f) {
        return Err(Error::unsupported(
            path,
            "bands of unlike sample types",
            "write the bands with one type: gdal_translate -ot Float32 IN OUT.tif",
        ));
    }
    let kind = match (b, f) {
        (1 | 2 | 4 | 8, 1 | 4) => SampleType::U8,
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
                "complex SAR data (single look complex)",
                "take the detected (GRD, amplitude or intensity) product, or write the magnitude: gdal_calc.py -A IN --calc \"abs(A)\" --type Float32 --outfile OUT.tif",
            ));
        }
        _ => {
            return Err(Error::unsupported(
                path,
                format!("{b}-bit samples of TIFF format {f}"),
                "rewrite it: gdal_translate -ot UInt16 IN OUT.tif (or -ot Float32)",
            ));
        }
    };
    Ok((kind, b as u32, if f == 4 { 1 } else { f }))
}
