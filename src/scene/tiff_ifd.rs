//! The directory of a TIFF or BigTIFF file, read against the file's length.
//!
//! Our own reader, because the `tiff` crate's decoder (0.11) is one stream behind `&mut`, so that tiles cannot be decoded side by
//! side, and it keeps each entry of a tile table as an enum that may hold a text. Nothing is allocated that the file does not
//! hold: an array is read only where `offset + bytes` lies within the file.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};

/// Directories looked at before giving up on finding the full-resolution image.
const MAX_DIRECTORIES: usize = 64;

pub(super) mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTES: u16 = 279;
    pub const PLANAR: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const YCBCR_SUBSAMPLING: u16 = 530;
    pub const PIXEL_SCALE: u16 = 33550;
    pub const TIEPOINT: u16 = 33922;
    pub const TRANSFORMATION: u16 = 34264;
    pub const GEO_KEYS: u16 = 34735;
    pub const GEO_DOUBLES: u16 = 34736;
    pub const GEO_ASCII: u16 = 34737;
    pub const GDAL_METADATA: u16 = 42112;
    pub const GDAL_NODATA: u16 = 42113;
    pub const RPC: u16 = 50844;
}

/// The file, its byte order and its length; reads are by position.
pub(super) struct TiffBytes {
    path: PathBuf,
    file: File,
    pub(super) len: u64,
    pub(super) big_endian: bool,
    big_tiff: bool,
}

struct Entry {
    kind: u16,
    count: u64,
    /// Position of the value in the file, in the entry itself where it fits.
    at: u64,
}

/// One image file directory.
pub(super) struct Directory {
    entries: HashMap<u16, Entry>,
    next: u64,
}

impl TiffBytes {
    /// Opens a file whose first two bytes are `II` or `MM`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::read(path, e))?;
        let len = file.metadata().map_err(|e| Error::read(path, e))?.len();
        let mut bytes = Self { path: path.into(), file, len, big_endian: false, big_tiff: false };
        let head = bytes.read(0, 4, "the header")?;
        bytes.big_endian = head[0] == b'M';
        bytes.big_tiff = match bytes.u16(&head[2..4]) {
            42 => false,
            43 => true,
            _ => return Err(Error::NotAnImage { path: path.into() }),
        };
        Ok(bytes)
    }

    /// Reads `len` bytes at `offset`, or says that `what` lies outside the file.
    pub(super) fn read(&self, offset: u64, len: u64, what: &str) -> Result<Vec<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Error::damaged(
                &self.path,
                format!("{what} needs bytes {offset} to {} of a file of {} bytes", offset.saturating_add(len), self.len),
            ));
        }
        let mut out = vec![0; len as usize];
        read_exact_at(&self.file, &mut out, offset).map_err(|e| Error::read(&self.path, e))?;
        Ok(out)
    }

    /// Bytes of an offset, and of what fits into an entry.
    pub(super) fn word(&self) -> u64 {
        if self.big_tiff { 8 } else { 4 }
    }

    /// Bytes of a number, the highest first, in the file's order.
    pub(super) fn ordered(&self, big_endian: &[u8]) -> Vec<u8> {
        if self.big_endian { big_endian.to_vec() } else { big_endian.iter().rev().copied().collect() }
    }

    /// An offset or count as the file has it.
    pub(super) fn offset_bytes(&self, v: u64) -> Vec<u8> {
        if self.big_tiff { self.ordered(&v.to_be_bytes()) } else { self.ordered(&(v as u32).to_be_bytes()) }
    }

    pub(super) fn u16(&self, b: &[u8]) -> u16 {
        let b = [b[0], b[1]];
        if self.big_endian { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) }
    }

    fn u32(&self, b: &[u8]) -> u32 {
        let b = [b[0], b[1], b[2], b[3]];
        if self.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
    }

    fn u64(&self, b: &[u8]) -> u64 {
        let b = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
        if self.big_endian { u64::from_be_bytes(b) } else { u64::from_le_bytes(b) }
    }

    fn offset(&self, b: &[u8]) -> u64 {
        if self.big_tiff { self.u64(b) } else { u64::from(self.u32(b)) }
    }

    /// The first directory that is neither an overview nor a mask (if none is, an overview or a mask), and the mask of the whole image, where
    /// there is one of its size.
    pub(super) fn main_directory(&self) -> Result<(Directory, Option<Directory>)> {
        const OVERVIEW: u64 = 1;
        const MASK: u64 = 4;
        let word = if self.big_tiff { 8 } else { 4 };
        let head = self.read(if self.big_tiff { 8 } else { 4 }, word, "the header")?;
        let mut at = self.offset(&head);
        let (mut first, mut main, mut masks) = (None, None, Vec::new());
        let mut seen = Vec::new();
        while at != 0 && seen.len() < MAX_DIRECTORIES && !seen.contains(&at) {
            seen.push(at);
            let directory = self.directory(at)?;
            let subfile = directory.unsigned(self, tag::NEW_SUBFILE_TYPE)?.unwrap_or(0);
            at = directory.next;
            if subfile & (OVERVIEW | MASK) == 0 {
                main.get_or_insert(directory);
            } else if subfile & (OVERVIEW | MASK) == MASK {
                masks.push(directory);
            } else {
                first.get_or_insert(directory);
            }
        }
        // A mask in a file of its own is that file's image.
        let Some(main) = main.or(first).or_else(|| masks.pop()) else {
            return Err(Error::damaged(&self.path, "it holds no image"));
        };
        let size = |d: &Directory| Ok::<_, Error>((d.unsigned(self, tag::WIDTH)?, d.unsigned(self, tag::HEIGHT)?));
        let of = size(&main)?;
        for mask in masks {
            if size(&mask)? == of {
                return Ok((main, Some(mask)));
            }
        }
        Ok((main, None))
    }

    /// The directory of [`main_directory`](Self::main_directory) as it is stored: where the file points to it, its entries, and the next one's
    /// place.
    pub(super) fn main_entries(&self) -> Result<(u64, Vec<Vec<u8>>, u64)> {
        const WHAT: &str = "the image directory";
        const LESSER: u64 = 1 | 4;
        let word = self.word();
        let mut pointer = if self.big_tiff { 8 } else { 4 };
        let mut first = None;
        for _ in 0..MAX_DIRECTORIES {
            let at = self.offset(&self.read(pointer, word, "the header")?);
            if at == 0 {
                break;
            }
            let (head, entry) = if self.big_tiff { (8, 20) } else { (2, 12) };
            let count = self.read(at, head, WHAT)?;
            let count = if self.big_tiff { self.u64(&count) } else { u64::from(self.u16(&count)) };
            let body = self.read(at + head, count.saturating_mul(entry).saturating_add(word), WHAT)?;
            let (body, next) = body.split_at((count * entry) as usize);
            let found = (pointer, body.chunks_exact(entry as usize).map(<[u8]>::to_vec).collect(), self.offset(next));
            if self.directory(at)?.unsigned(self, tag::NEW_SUBFILE_TYPE)?.unwrap_or(0) & LESSER == 0 {
                return Ok(found);
            }
            first.get_or_insert(found);
            pointer = at + head + count * entry;
        }
        first.ok_or_else(|| Error::damaged(&self.path, "it holds no image"))
    }

    fn directory(&self, at: u64) -> Result<Directory> {
        const WHAT: &str = "the image directory";
        let (count_bytes, entry_bytes, word) = if self.big_tiff { (8, 20, 8) } else { (2, 12, 4) };
        let head = self.read(at, count_bytes, WHAT)?;
        let count = if self.big_tiff { self.u64(&head) } else { u64::from(self.u16(&head)) };
        let size = count.checked_mul(entry_bytes).and_then(|n| n.checked_add(word)).unwrap_or(u64::MAX);
        let body = self.read(at + count_bytes, size, WHAT)?;
        let mut entries = HashMap::new();
        for i in 0..count as usize {
            let start = i * entry_bytes as usize;
            let e = &body[start..start + entry_bytes as usize];
            let (id, kind) = (self.u16(&e[0..2]), self.u16(&e[2..4]));
            let (n, field) = if self.big_tiff { (self.u64(&e[4..12]), &e[12..20]) } else { (u64::from(self.u32(&e[4..8])), &e[8..12]) };
            let Some(bytes) = kind_bytes(kind) else {
                continue;
            };
            let inline = n.checked_mul(bytes).is_some_and(|b| b <= word);
            let value_at = if inline { at + count_bytes + start as u64 + entry_bytes - word } else { self.offset(field) };
            entries.entry(id).or_insert(Entry { kind, count: n, at: value_at });
        }
        Ok(Directory { entries, next: self.offset(&body[size as usize - word as usize..]) })
    }
}

/// Reads at a position without moving another reader's, so that any number of threads read one file.
#[cfg(unix)]
fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

/// Reads at a position; every reader brings its own, so that they do not disturb each other.
#[cfg(windows)]
fn read_exact_at(file: &File, mut out: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => (out, offset) = (&mut out[n..], offset + n as u64),
        }
    }
    Ok(())
}

/// Bytes of one value of a TIFF field type, `None` for a type unknown to us.
fn kind_bytes(kind: u16) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => return None,
    })
}

impl Directory {
    pub(super) fn has(&self, id: u16) -> bool {
        self.entries.contains_key(&id)
    }

    /// Number of values of a tag, 0 where it is absent.
    pub(super) fn count(&self, id: u16) -> u64 {
        self.entries.get(&id).map_or(0, |e| e.count)
    }

    /// The raw bytes of a tag.
    pub(super) fn bytes(&self, file: &TiffBytes, id: u16) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entries.get(&id) else {
            return Ok(None);
        };
        let size = kind_bytes(entry.kind).unwrap_or(1).saturating_mul(entry.count);
        file.read(entry.at, size, &format!("tag {id}")).map(Some)
    }

    /// A tag of unsigned integers, empty where it is absent or of another type.
    pub(super) fn unsigned_array(&self, file: &TiffBytes, id: u16) -> Result<Vec<u64>> {
        let Some(raw) = self.bytes(file, id)? else {
            return Ok(Vec::new());
        };
        Ok(match self.entries[&id].kind {
            1 | 7 => raw.iter().map(|&b| u64::from(b)).collect(),
            3 => raw.chunks_exact(2).map(|b| u64::from(file.u16(b))).collect(),
            4 | 13 => raw.chunks_exact(4).map(|b| u64::from(file.u32(b))).collect(),
            16 | 18 => raw.chunks_exact(8).map(|b| file.u64(b)).collect(),
            _ => Vec::new(),
        })
    }

    /// The first value of a tag of unsigned integers.
    pub(super) fn unsigned(&self, file: &TiffBytes, id: u16) -> Result<Option<u64>> {
        Ok(self.unsigned_array(file, id)?.first().copied())
    }

    /// A tag of floating point values, empty where it is absent or of another type.
    pub(super) fn doubles(&self, file: &TiffBytes, id: u16) -> Result<Vec<f64>> {
        let Some(raw) = self.bytes(file, id)? else {
            return Ok(Vec::new());
        };
        Ok(match self.entries[&id].kind {
            11 => raw.chunks_exact(4).map(|b| f64::from(f32::from_bits(file.u32(b)))).collect(),
            12 => raw.chunks_exact(8).map(|b| f64::from_bits(file.u64(b))).collect(),
            _ => Vec::new(),
        })
    }

    /// A tag of text, without the closing zeros.
    pub(super) fn text(&self, file: &TiffBytes, id: u16) -> Result<Option<String>> {
        Ok(self.bytes(file, id)?.map(|b| String::from_utf8_lossy(&b).trim_matches(['\0', ' ']).to_string()))
    }
}
