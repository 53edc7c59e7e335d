//! The file of a Cloud Optimized GeoTIFF, put together of tiles that are compressed already: header, directories from the largest image to the
//! smallest, then the tiles from the smallest to the largest, as GDAL's driver COG lays them out. Little-endian.

use std::fs::File;
use std::io::{BufWriter, Result, Seek, SeekFrom, Write};
use std::path::Path;

use super::crs::GeoKeyTags;
use super::write::GeoTiff;

/// What GDAL reads before the directories: each tile has its length before it and its last four bytes twice, so that a reader over the network
/// gets both in one request.
const LAYOUT: &str = "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\nBLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n ";
/// Bytes that a TIFF holds at most; a longer file is a BigTIFF.
pub(super) const CLASSIC: u64 = u32::MAX as u64;
/// Bytes of leader and trailer of a tile.
const AROUND: u64 = 8;

/// How samples are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples {
    pub(super) bits: u16,
    /// TIFF's SampleFormat.
    pub(super) format: u16,
    /// TIFF's Predictor.
    pub(super) predictor: u16,
}

/// The tiles of one resolution, row by row, in a temporary file.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) size: [u32; 2],
    pub(super) tile: [u32; 2],
    file: BufWriter<File>,
    lengths: Vec<u32>,
}

impl Level {
    pub(super) fn new(size: [u32; 2], tile: [u32; 2], folder: &Path) -> Result<Self> {
        Ok(Self { size, tile, file: BufWriter::new(tempfile::tempfile_in(folder)?), lengths: Vec::new() })
    }

    /// The next tile, compressed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let length = bytes.len() as u32;
        self.lengths.push(length);
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(bytes)?;
        self.file.write_all(&bytes[bytes.len().saturating_sub(4)..])
    }

    fn bytes(&self) -> u64 {
        self.lengths.iter().map(|l| u64::from(*l) + AROUND).sum()
    }
}

/// An entry of a directory: tag, type, count and value.
struct Entry(u16, u16, u64, Vec<u8>);

fn shorts(tag: u16, values: &[u16]) -> Entry {
    Entry(tag, 3, values.len() as u64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn longs(tag: u16, values: &[u32]) -> Entry {
    Entry(tag, 4, values.len() as u64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn doubles(tag: u16, values: &[f64]) -> Entry {
    Entry(tag, 12, values.len() as u64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn text(tag: u16, value: &str) -> Entry {
    let bytes: Vec<u8> = value.bytes().filter(|b| *b != 0).chain([0]).collect();
    Entry(tag, 2, bytes.len() as u64, bytes)
}

/// Text within XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace(|c: char| c.is_control() && c != '\n', " ")
}

/// GDAL's metadata: remarks, and descriptions of bands.
fn metadata(header: &GeoTiff<'_>) -> Option<String> {
    let items = header.about.iter().map(|(name, value)| format!("  <Item name=\"{}\">{}</Item>\n", escaped(name), escaped(value)));
    let names = header.names.iter().take(header.bands as usize).enumerate().filter_map(|(i, name)| {
        Some(format!("  <Item name=\"DESCRIPTION\" sample=\"{i}\" role=\"description\">{}</Item>\n", escaped((*name)?)))
    });
    let all: String = items.chain(names).collect();
    (!all.is_empty()).then(|| format!("<GDALMetadata>\n{all}</GDALMetadata>\n"))
}

/// The tags that say where pixels lie.
pub(super) fn place(header: &GeoTiff<'_>, keys: Option<&GeoKeyTags>) -> Vec<(u16, PlaceValue)> {
    let mut out = Vec::new();
    if let Some(geo) = header.geo {
        let c = geo.coefficients();
        if geo.is_north_up() {
            out.push((33550, PlaceValue::Doubles(vec![c[1], -c[5], 0.0])));
            out.push((33922, PlaceValue::Doubles(vec![0.0, 0.0, 0.0, c[0], c[3], 0.0])));
        } else {
            let m = vec![c[1], c[2], 0.0, c[0], c[4], c[5], 0.0, c[3], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
            out.push((34264, PlaceValue::Doubles(m)));
        }
    } else if !header.ties.is_empty() {
        out.push((33922, PlaceValue::Doubles(header.ties.iter().flat_map(|(p, m)| [p[0], p[1], 0.0, m[0], m[1], 0.0]).collect())));
    }
    if let Some(keys) = keys {
        out.push((34735, PlaceValue::Shorts(keys.directory.clone())));
        if !keys.doubles.is_empty() {
            out.push((34736, PlaceValue::Doubles(keys.doubles.clone())));
        }
        if !keys.ascii.is_empty() {
            out.push((34737, PlaceValue::Text(keys.ascii.clone())));
        }
    }
    out
}

/// The value of a tag that says where pixels lie.
pub(super) enum PlaceValue {
    Doubles(Vec<f64>),
    Shorts(Vec<u16>),
    Text(String),
}

/// The entries of a directory but for its tiles' places, in order.
fn entries(header: &GeoTiff<'_>, keys: Option<&GeoKeyTags>, samples: Samples, level: &Level, first: bool) -> Vec<Entry> {
    let bands = header.bands as usize;
    // Three bands of any type are colours.
    let (photometric, colours) = if bands == 3 { (2, 3) } else { (1, 1) };
    let mut all = vec![
        longs(254, &[u32::from(!first)]),
        longs(256, &level.size[..1]),
        longs(257, &level.size[1..]),
        shorts(258, &vec![samples.bits; bands]),
        // Deflate.
        shorts(259, &[8]),
        shorts(262, &[photometric]),
        shorts(277, &[bands as u16]),
        shorts(284, &[1]),
        shorts(317, &[samples.predictor]),
        longs(322, &level.tile[..1]),
        longs(323, &level.tile[1..]),
        longs(325, &level.lengths),
        shorts(339, &vec![samples.format; bands]),
    ];
    if bands > colours {
        all.push(shorts(338, &vec![0; bands - colours]));
    }
    if let Some(nodata) = header.nodata {
        all.push(text(42113, &if nodata.is_nan() { "nan".into() } else { nodata.to_string() }));
    }
    if first {
        all.push(text(305, concat!("echogrid ", env!("CARGO_PKG_VERSION"))));
        all.extend(place(header, keys).into_iter().map(|(tag, value)| match value {
            PlaceValue::Doubles(v) => doubles(tag, &v),
            PlaceValue::Shorts(v) => shorts(tag, &v),
            PlaceValue::Text(v) => text(tag, &v),
        }));
        all.extend(metadata(header).map(|m| text(42112, &m)));
    }
    all
}

/// Bytes of a directory with what lies behind it.
fn size(entries: &[Entry], tiles: usize, big: bool) -> u64 {
    let (head, entry, word) = if big { (16, 20, 8) } else { (6, 12, 4) };
    let beyond = |bytes: u64| if bytes > word { bytes.next_multiple_of(2) } else { 0 };
    // One more: where the tiles lie.
    head + entry * (entries.len() as u64 + 1) + entries.iter().map(|e| beyond(e.3.len() as u64)).sum::<u64>() + beyond(tiles as u64 * word)
}

/// A number as wide as the file's offsets.
fn word(v: u64, big: bool) -> Vec<u8> {
    if big { v.to_le_bytes().to_vec() } else { (v as u32).to_le_bytes().to_vec() }
}

/// Writes the file; a BigTIFF where it needs more than `classic` bytes ([`CLASSIC`], but for tests).
pub(super) fn assemble(
    out: &File,
    header: &GeoTiff<'_>,
    keys: Option<&GeoKeyTags>,
    samples: Samples,
    levels: Vec<Level>,
    classic: u64,
) -> Result<()> {
    let data: u64 = levels.iter().map(Level::bytes).sum();
    let ghost = format!("GDAL_STRUCTURAL_METADATA_SIZE={:06} bytes\n{LAYOUT}", LAYOUT.len());
    let directories: Vec<Vec<Entry>> = levels.iter().enumerate().map(|(i, l)| entries(header, keys, samples, l, i == 0)).collect();
    let start = |big: bool| (if big { 16 } else { 8 } + ghost.len() as u64).next_multiple_of(2);
    let sizes = |big: bool| -> Vec<u64> { directories.iter().zip(&levels).map(|(d, l)| size(d, l.lengths.len(), big)).collect() };
    let big = start(false) + sizes(false).iter().sum::<u64>() + data > classic;
    let (sizes, first) = (sizes(big), start(big));
    // Where each resolution's tiles begin: the smallest first.
    let mut at = first + sizes.iter().sum::<u64>();
    let mut begins = vec![0; levels.len()];
    for (begin, level) in begins.iter_mut().zip(&levels).rev() {
        *begin = at;
        at += level.bytes();
    }
    let mut out = BufWriter::new(out);
    out.write_all(if big { b"II\x2b\0\x08\0\0\0" } else { b"II\x2a\0" })?;
    out.write_all(&word(first, big))?;
    out.write_all(ghost.as_bytes())?;
    out.write_all(&vec![b' '; (first - if big { 16 } else { 8 }) as usize - ghost.len()])?;
    let mut at = first;
    for (i, mut entries) in directories.into_iter().enumerate() {
        let mut offset = begins[i];
        let offsets = levels[i].lengths.iter().flat_map(|l| {
            let here = offset + 4;
            offset += u64::from(*l) + AROUND;
            word(here, big)
        });
        entries.push(Entry(324, if big { 16 } else { 4 }, levels[i].lengths.len() as u64, offsets.collect()));
        entries.sort_by_key(|e| e.0);
        let next = if i + 1 < levels.len() { at + sizes[i] } else { 0 };
        out.write_all(&directory(&entries, at, next, big))?;
        at += sizes[i];
    }
    for level in levels.into_iter().rev() {
        let mut file = level.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut file, &mut out)?;
    }
    out.flush()
}

/// A directory at a position of the file, and the values that do not fit into it behind it.
fn directory(entries: &[Entry], at: u64, next: u64, big: bool) -> Vec<u8> {
    let (head, entry, wide) = if big { (16, 20, 8) } else { (6, 12, 4) };
    let mut beyond = at + head + entry * entries.len() as u64;
    let (mut out, mut values) = (Vec::new(), Vec::new());
    out.extend(if big { (entries.len() as u64).to_le_bytes().to_vec() } else { (entries.len() as u16).to_le_bytes().to_vec() });
    for Entry(tag, kind, count, value) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(word(*count, big));
        if value.len() <= wide {
            out.extend(value);
            out.resize(out.len() + wide - value.len(), 0);
        } else {
            out.extend(word(beyond, big));
            values.extend(value);
            values.resize(values.len().next_multiple_of(2), 0);
            beyond += (value.len() as u64).next_multiple_of(2);
        }
    }
    out.extend(word(next, big));
    out.extend(values);
    out
}
