//! Decoding of one TIFF tile or strip.
//!
//! The bytes are handed to the `tiff` crate wrapped as a TIFF of that one chunk, with the crate's
//! limits set. So any number of chunks decode in parallel, all samples come back whatever the
//! photometric tag says, and tile tables of any length are read.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::chunk::Samples;
use super::error::{Error, Result};
use super::tiff_ifd::tag;
use super::tiff_read::{MAX_CHUNK_BYTES, TiffImage};

pub(super) const NONE: u64 = 1;
pub(super) const JPEG: u64 = 7;

impl TiffImage {
    /// Decodes the bytes of chunk `index`, `height` rows of it.
    pub(super) fn expand(&self, index: u64, height: u32, payload: &[u8]) -> Result<Samples> {
        let kind = compression_name(self.compression);
        let damaged = |detail: String| Error::damaged(&self.path, format!("tile or strip {index} ({kind}): {detail}"));
        if self.compression == JPEG {
            check_jpeg_size(payload, self.layout.chunk_width, height).map_err(damaged)?;
        }
        if self.bits < 8 && self.compression == NONE {
            return Ok(Samples::U8(self.unpack(height, payload)));
        }
        let wrapped = self.wrap(height, payload);
        // The decoders are other people's: a panic in one of them on a damaged file is an error here.
        let decoded = catch_unwind(AssertUnwindSafe(|| -> Result<DecodingResult, TiffError> {
            let mut limits = Limits::default();
            limits.decoding_buffer_size = MAX_CHUNK_BYTES as usize;
            limits.intermediate_buffer_size = MAX_CHUNK_BYTES as usize;
            Decoder::new(Cursor::new(wrapped))?.with_limits(limits).read_chunk(0)
        }))
        .map_err(|_| damaged("the decoder gave up".into()))?;
        let samples = match decoded {
            Ok(DecodingResult::U8(v)) => Samples::U8(v),
            Ok(DecodingResult::I8(v)) => Samples::I8(v),
            Ok(DecodingResult::U16(v)) => Samples::U16(v),
            Ok(DecodingResult::I16(v)) => Samples::I16(v),
            Ok(DecodingResult::U32(v)) => Samples::U32(v),
            Ok(DecodingResult::I32(v)) => Samples::I32(v),
            Ok(DecodingResult::F16(v)) => Samples::F16(v),
            Ok(DecodingResult::F32(v)) => Samples::F32(v),
            Ok(DecodingResult::F64(v)) => Samples::F64(v),
            Ok(_) => return Err(damaged("64-bit integers".into())),
            Err(TiffError::UnsupportedError(e)) => {
                return Err(Error::unsupported(
                    &self.path,
                    e.to_string(),
                    "rewrite it: gdal_translate -co COMPRESS=DEFLATE -co TILED=YES IN OUT.tif",
                ));
            }
            Err(e) => return Err(damaged(e.to_string())),
        };
        let need = (self.row_bytes(self.layout.chunk_width) * u64::from(height)) as usize;
        match samples {
            s if s.bytes() < need => Err(damaged(format!("holds {} bytes instead of {need}", s.bytes()))),
            Samples::U8(v) if self.bits < 8 => Ok(Samples::U8(self.unpack(height, &v))),
            Samples::U8(mut v) if self.ycbcr && !self.planar => {
                v.as_chunks_mut().0.iter_mut().for_each(ycbcr_to_rgb);
                Ok(Samples::U8(v))
            }
            s => Ok(s),
        }
    }

    /// Samples of fewer than 8 bits, one a byte: the first in the highest bits, rows padded to whole bytes.
    fn unpack(&self, height: u32, packed: &[u8]) -> Vec<u8> {
        let (row, samples) = (self.row_bytes(self.layout.chunk_width) as usize, (self.layout.chunk_width * self.chunk_samples()) as usize);
        let (bits, mask) = (self.bits as usize, (1u8 << self.bits) - 1);
        let lines = packed.chunks_exact(row).take(height as usize);
        lines.flat_map(|line| (0..samples).map(move |i| line[i * bits / 8] >> (8 - bits - i * bits % 8) & mask)).collect()
    }

    /// A TIFF holding one chunk as its only strip, in the byte order of the file. Samples of fewer than 8 bits are wrapped as bytes.
    fn wrap(&self, height: u32, payload: &[u8]) -> Vec<u8> {
        let be = self.bytes.big_endian;
        let u16s = |v: u16| if be { v.to_be_bytes() } else { v.to_le_bytes() };
        let u32s = |v: u32| if be { v.to_be_bytes() } else { v.to_le_bytes() };
        const SHORT: u16 = 3;
        const LONG: u16 = 4;
        const UNDEFINED: u16 = 7;
        let tables = self.tables.as_deref().unwrap_or(&[]);
        let entries = 11 + usize::from(!tables.is_empty());
        let tables_at = 8 + 2 + entries * 12 + 4;
        let payload_at = tables_at + tables.len();
        let mut out = Vec::with_capacity(payload_at + payload.len());
        out.extend(if be { b"MM" } else { b"II" });
        out.extend(u16s(42));
        out.extend(u32s(8));
        out.extend(u16s(entries as u16));
        let mut entry = |id: u16, kind: u16, count: u32, value: u32| {
            out.extend(u16s(id));
            out.extend(u16s(kind));
            out.extend(u32s(count));
            if kind == SHORT {
                out.extend(u16s(value as u16));
                out.extend([0, 0]);
            } else {
                out.extend(u32s(value));
            }
        };
        let packed = self.bits < 8;
        let (width, samples) = match packed {
            true => (self.row_bytes(self.layout.chunk_width) as u32, 1),
            false => (self.layout.chunk_width, self.chunk_samples()),
        };
        entry(tag::WIDTH, LONG, 1, width);
        entry(tag::HEIGHT, LONG, 1, height);
        entry(tag::BITS, SHORT, 1, self.sample_type.bytes() * 8);
        entry(tag::COMPRESSION, SHORT, 1, self.compression as u32);
        entry(tag::PHOTOMETRIC, SHORT, 1, 1);
        entry(tag::STRIP_OFFSETS, LONG, 1, payload_at as u32);
        entry(tag::SAMPLES, SHORT, 1, samples);
        entry(tag::ROWS_PER_STRIP, LONG, 1, height);
        entry(tag::STRIP_BYTES, LONG, 1, payload.len() as u32);
        entry(tag::PREDICTOR, SHORT, 1, self.predictor as u32);
        entry(tag::SAMPLE_FORMAT, SHORT, 1, self.sample_format as u32);
        if !tables.is_empty() {
            entry(tag::JPEG_TABLES, UNDEFINED, tables.len() as u32, tables_at as u32);
        }
        out.extend(u32s(0));
        out.extend(tables);
        out.extend(payload);
        out
    }
}

/// Whether a TIFF compression is read.
pub(super) fn is_read(code: u64) -> bool {
    matches!(code, NONE | 5 | JPEG | 8 | 32946 | 32773 | 50000)
}

/// Name of a TIFF compression.
pub(super) fn compression_name(code: u64) -> String {
    let name = match code {
        NONE => "no compression",
        2..=4 => "CCITT fax",
        5 => "LZW",
        6 => "old-style JPEG",
        JPEG => "JPEG",
        8 | 32946 => "Deflate",
        32773 => "PackBits",
        34712 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        50000 => "ZSTD",
        50001 => "WebP",
        50002 | 52546 => "JPEG XL",
        _ => return format!("number {code} TIFF"),
    };
    name.to_string()
}

/// The frame header of a JPEG stream must agree with the chunk before the decoder allocates for it.
fn check_jpeg_size(data: &[u8], width: u32, height: u32) -> Result<(), String> {
    let mut at = 2;
    while at + 9 <= data.len() {
        if data[at] != 0xff {
            break;
        }
        let marker = data[at + 1];
        if marker == 0xff || marker == 0x01 || (0xd0..=0xd8).contains(&marker) {
            at += if marker == 0xff { 1 } else { 2 };
            continue;
        }
        if (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
            let h = u32::from(u16::from_be_bytes([data[at + 5], data[at + 6]]));
            let w = u32::from(u16::from_be_bytes([data[at + 7], data[at + 8]]));
            // A last strip may be padded to full height, but not by more than a block row or two.
            return if w == width && h >= height && h <= height.saturating_mul(2).max(4096) {
                Ok(())
            } else {
                Err(format!("its JPEG frame is {w}x{h} px instead of {width}x{height}"))
            };
        }
        at += 2 + usize::from(u16::from_be_bytes([data[at + 2], data[at + 3]]));
    }
    Err("it holds no JPEG frame".into())
}

/// Full-range YCbCr to RGB (JFIF, ITU-R BT.601), in place.
fn ycbcr_to_rgb(p: &mut [u8; 3]) {
    let (y, cb, cr) = (f32::from(p[0]), f32::from(p[1]) - 128.0, f32::from(p[2]) - 128.0);
    let clamp = |v: f32| (v + 0.5).clamp(0.0, 255.0) as u8;
    *p = [clamp(y + 1.402 * cr), clamp(y - 0.344_136 * cb - 0.714_136 * cr), clamp(y + 1.772 * cb)];
}
