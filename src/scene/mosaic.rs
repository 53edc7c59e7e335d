//! Several files as one map: joined as they are where they lie on one lattice of pixels, else resampled to the first one's.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::chunk::{Chunk, Samples};
use super::error::{Error, Result};
use super::georef::{GeoTransform, Georeference};
use super::open::OpenOptions;
use super::raster::{DEFAULT_CACHE_BYTES, Raster};
use super::source::{Header, Layout, Source};
use super::warp::Warp;

/// Side of a chunk, px.
const CHUNK: u32 = 512;
/// Files that are kept open at most.
const OPEN: usize = 64;
/// Pixels that a file's corner may lie off the lattice for it to count as on it.
const ON_LATTICE: f64 = 0.01;
/// Decoded tiles that each keeps, bytes, or one row of them: what is put together is kept already.
const PIECE_CACHE: usize = 8 << 20;
/// Bytes of pictures that open files hold decoded, at most.
const RESIDENT: usize = 1 << 30;
/// Warnings of files that are told.
const TOLD: usize = 12;
/// Places along each axis at which gaps and overlaps are counted.
const COUNTED: u32 = 512;

/// One file.
pub(super) struct Piece {
    pub(super) path: PathBuf,
    /// Left, top, right and bottom in pixels of the whole.
    pub(super) area: [i64; 4],
    /// Where it is not on the lattice: its own pixels.
    pub(super) place: Option<Georeference>,
}

/// The files, opened when they are read.
pub(super) struct Mosaic {
    pieces: Vec<Piece>,
    layout: Layout,
    place: Georeference,
    bands: u32,
    options: OpenOptions,
    /// Pieces that touch each chunk, first ones first.
    by_chunk: Vec<Vec<u32>>,
    /// The most recently used at the end.
    open: Mutex<Vec<(u32, Arc<Raster>)>>,
}

/// The numbers of the bands that are read.
fn numbers(raster: &Raster) -> String {
    raster.band_names().into_iter().map(|(b, _)| b.to_string()).collect::<Vec<_>>().join(", ")
}

/// Opens several files as one map.
///
/// # Errors
/// As [`Raster::open`] of each; one without a transform and a system; pixel sizes or numbers of bands that do not go together.
pub(super) fn open(paths: &[PathBuf], options: &OpenOptions) -> Result<Raster> {
    let first = paths.iter().map(|p| options.open(p)).find(|r| !matches!(r, Err(Error::Empty { .. })));
    let first = first.unwrap_or_else(|| Err(Error::Empty { path: paths[0].clone() }))?;
    let (geo, crs) = first.georeference()?;
    let (geo, crs) = (*geo, crs.clone());
    let (bands, kind, reader, first_path) = (first.bands(), first.sample_type(), first.reader(), first.path().to_path_buf());
    let names = first.band_names().into_iter().map(|(_, name)| name.map(Into::into)).collect();
    let order = numbers(&first);
    let lattice = Georeference::affine(geo, crs.clone(), [first.width(), first.height()]);
    let (mut first, mut warnings, mut told) = (Some(first), Vec::new(), HashSet::new());
    let mut pieces = Vec::with_capacity(paths.len());
    let (mut opened, mut no_data) = (Vec::new(), (Vec::new(), false));
    for path in paths {
        // Of a few files all is known at once; of many only what their headers say.
        let open = || if paths.len() <= OPEN { options.open(path) } else { options.open_unread(path) };
        let again = if *path == first_path { first.take() } else { None };
        let mut raster = match again.map_or_else(open, Ok) {
            Err(Error::Empty { path }) => {
                warnings.push(format!("{}: stores no pixel, and adds nothing to the map", path.display()));
                continue;
            }
            other => other?,
        };
        // What is said of one file in the same words as of another is told once.
        let own = raster.path().display().to_string();
        warnings.extend(raster.warnings().iter().filter(|w| told.insert(w.replacen(&own, "", 1))).cloned());
        if raster.sample_type() != kind {
            return Err(Error::argument(
                "map",
                format!(
                    "{} holds {} and {} {}: files of one map must have one type, or their values mean different things; write them with one (gdal_translate -ot)",
                    first_path.display(),
                    kind.name(),
                    path.display(),
                    raster.sample_type().name()
                ),
            ));
        }
        if raster.bands() != bands {
            return Err(Error::argument(
                "map",
                format!(
                    "{} is read in {} bands and {} in {}: files of one map must have the same",
                    first_path.display(),
                    bands,
                    path.display(),
                    raster.bands()
                ),
            ));
        }
        if numbers(&raster) != order {
            warnings.push(format!(
                "{own}: its bands {} are read where of {} it is {}: write both in one order if these are not the same colours (gdal_translate -b)",
                numbers(&raster),
                first_path.display(),
                order
            ));
        }
        pieces.push(piece(&raster, &lattice, &geo)?);
        let words = raster.no_data_words();
        if !no_data.0.contains(&words) {
            no_data.0.push(words);
        }
        no_data.1 |= raster.has_unnamed_fill();
        if paths.len() <= OPEN {
            raster.set_cache_bytes(PIECE_CACHE.max(raster.row_of_chunks()).min(DEFAULT_CACHE_BYTES));
            keep(&mut opened, pieces.len() as u32 - 1, Arc::new(raster));
        }
    }
    let more = warnings.len().saturating_sub(TOLD);
    warnings.truncate(TOLD);
    if more > 0 {
        warnings.push(format!("{more} more warnings of its files; `echogrid info FILE` tells those of each"));
    }
    let resampled = pieces.iter().filter(|p| p.place.is_some()).count();
    let bound = |d: usize, most: fn(i64, i64) -> i64| pieces.iter().map(|p| p.area[d]).reduce(most).unwrap_or(0);
    let origin = [bound(0, i64::min), bound(1, i64::min)];
    let size = [bound(2, i64::max) - origin[0], bound(3, i64::max) - origin[1]];
    let size = size.map(|s| u32::try_from(s).unwrap_or(u32::MAX));
    pieces.iter_mut().for_each(|p| (0..4).for_each(|i| p.area[i] -= origin[i % 2]));
    let geo = geo.offset(origin[0] as f64, origin[1] as f64);
    warnings.extend(coverage(&pieces, size, resampled));
    let source = Mosaic::new(pieces, size, Georeference::affine(geo, crs.clone(), size), bands, options)?;
    source.keep_open(opened);
    let mut header = Header::plain(size, bands, kind, source.layout());
    header.claim.affine = Some(geo);
    header.claim.crs = Some(Ok(crs));
    header.names = names;
    header.reader = reader;
    header.warnings = warnings;
    let mut raster = Raster::from_source(&first_path, header, Arc::new(source))?;
    raster.set_pieces(paths.to_vec(), no_data);
    Ok(raster)
}

/// Where a file lies in the first one's pixels.
fn piece(raster: &Raster, lattice: &Georeference, first: &GeoTransform) -> Result<Piece> {
    let (geo, crs) = raster.georeference()?;
    let (w, h) = (f64::from(raster.width()), f64::from(raster.height()));
    let path = raster.path().to_path_buf();
    let (a, b) = (first.coefficients(), geo.coefficients());
    let edge = w.max(h);
    let alike = [1, 2, 4, 5].iter().all(|i| (a[*i] - b[*i]).abs() * edge < ON_LATTICE * (a[1].hypot(a[4])));
    let (x, y) = first.map_to_pixel(b[0], b[3]);
    let far = || Error::argument("map", format!("{} lies too far from the first file to be one map with it", raster.path().display()));
    let near = |v: f64| v.abs() < f64::from(i32::MAX);
    if crs == lattice.crs() && alike && near(x) && near(y) && (x - x.round()).abs() < ON_LATTICE && (y - y.round()).abs() < ON_LATTICE {
        let (x, y) = (x.round() as i64, y.round() as i64);
        return Ok(Piece { path, area: [x, y, x + i64::from(raster.width()), y + i64::from(raster.height())], place: None });
    }
    let place = raster.placement()?;
    let mut area = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for i in 0..=16 {
        let t = f64::from(i) / 16.0;
        for p in [[t * w, 0.0], [t * w, h], [0.0, t * h], [w, t * h]] {
            let q = place.to_pixels_of(lattice, p)?;
            (0..2).for_each(|d| (area[d], area[d + 2]) = (area[d].min(q[d]), area[d + 2].max(q[d])));
        }
    }
    if !area.iter().all(|v| near(*v)) {
        return Err(far());
    }
    let area = [area[0].floor(), area[1].floor(), area[2].ceil(), area[3].ceil()].map(|v| v as i64);
    Ok(Piece { path, area, place: Some(place) })
}

/// Chunks that an area touches.
fn chunks_of(layout: &Layout, area: [i64; 4]) -> impl Iterator<Item = u64> {
    let layout = *layout;
    let span = |from: i64, to: i64, size: u32, most: u32| {
        let last = ((to - 1).max(from) / i64::from(size)).clamp(0, i64::from(most) - 1) as u32;
        (from / i64::from(size)).clamp(0, i64::from(most) - 1) as u32..=last
    };
    let columns = span(area[0], area[2], layout.chunk_width, layout.across);
    let rows = span(area[1], area[3], layout.chunk_height, layout.down);
    rows.flat_map(move |r| columns.clone().map(move |c| layout.index(0, r, c)))
}

/// What the files leave open and cover more than once, in words.
fn coverage(pieces: &[Piece], size: [u32; 2], resampled: usize) -> Option<String> {
    let mut counts = vec![0u8; (COUNTED * COUNTED) as usize];
    let cell = |v: i64, size: u32| (v.max(0) as u64 * u64::from(COUNTED)).div_ceil(u64::from(size)).min(u64::from(COUNTED)) as usize;
    for p in pieces {
        // Cells whose upper left corner it covers.
        for y in cell(p.area[1], size[1])..cell(p.area[3], size[1]) {
            for c in &mut counts[y * COUNTED as usize..][cell(p.area[0], size[0])..cell(p.area[2], size[0])] {
                *c = c.saturating_add(1);
            }
        }
    }
    let share = |f: fn(u8) -> bool| 100.0 * counts.iter().filter(|c| f(**c)).count() as f64 / counts.len() as f64;
    let (gaps, overlaps) = (share(|c| c == 0), share(|c| c > 1));
    let mut parts = Vec::new();
    if gaps > 0.0 {
        parts.push(format!("{gaps:.1} % of its frame lies in none of them"));
    }
    if overlaps > 0.0 {
        parts.push(format!("{overlaps:.1} % in several, of which the first that has data counts"));
    }
    if resampled > 0 {
        parts.push(format!("{resampled} are resampled to the first one's pixels"));
    }
    (!parts.is_empty()).then(|| format!("the map of {} files, {}x{} px: {}", pieces.len(), size[0], size[1], parts.join("; ")))
}

/// Keeps a file open, and lets go of those used longest ago where they are too many or hold too much.
fn keep(open: &mut Vec<(u32, Arc<Raster>)>, piece: u32, raster: Arc<Raster>) {
    open.push((piece, raster));
    while open.len() > OPEN || open.len() > 1 && open.iter().map(|(_, r)| r.resident()).sum::<usize>() > RESIDENT {
        open.remove(0);
    }
}

impl Mosaic {
    /// Of pieces that lie somewhere in `size` px, each opened by `options` when it is first read.
    ///
    /// # Errors
    /// More chunks than one map may have.
    pub(super) fn new(pieces: Vec<Piece>, size: [u32; 2], place: Georeference, bands: u32, options: &OpenOptions) -> Result<Self> {
        let layout = Layout::new(size, [CHUNK.min(size[0]), CHUNK.min(size[1])]);
        if layout.chunks() > 1 << 24 {
            return Err(Error::argument(
                "map",
                format!(
                    "its {} files span {}x{} px, more than one map may; leave out those that lie far off",
                    pieces.len(),
                    size[0],
                    size[1]
                ),
            ));
        }
        let mut by_chunk = vec![Vec::new(); layout.chunks() as usize];
        for (i, p) in pieces.iter().enumerate() {
            for index in chunks_of(&layout, p.area) {
                by_chunk[index as usize].push(i as u32);
            }
        }
        Ok(Self { pieces, layout, place, bands, options: options.clone(), by_chunk, open: Mutex::default() })
    }

    /// The chunks that it delivers.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Takes files that are open already, by their pieces' numbers.
    fn keep_open(&self, opened: Vec<(u32, Arc<Raster>)>) {
        *self.open.lock().unwrap_or_else(|e| e.into_inner()) = opened;
    }

    fn raster(&self, piece: u32) -> Result<Arc<Raster>> {
        let lock = || self.open.lock().unwrap_or_else(|e| e.into_inner());
        {
            let mut open = lock();
            if let Some(at) = open.iter().position(|(i, _)| *i == piece) {
                let found = open.remove(at);
                open.push(found.clone());
                return Ok(found.1);
            }
        }
        let mut raster = self.options.open(&self.pieces[piece as usize].path)?;
        raster.set_cache_bytes(PIECE_CACHE.max(raster.row_of_chunks()).min(DEFAULT_CACHE_BYTES));
        let raster = Arc::new(raster);
        keep(&mut lock(), piece, raster.clone());
        Ok(raster)
    }

    /// A rectangle of a piece, `[height, width, bands]`, and where it has data.
    fn read(&self, piece: u32, [x, y]: [u32; 2], [w, h]: [u32; 2]) -> Result<(Vec<f32>, Vec<u8>)> {
        let raster = self.raster(piece)?;
        let Piece { area, place, .. } = &self.pieces[piece as usize];
        let Some(own) = place else {
            // Small pieces fill little of a chunk: only what they do is read.
            let [left, top] = [i64::from(x).max(area[0]), i64::from(y).max(area[1])];
            let [right, bottom] = [(i64::from(x) + i64::from(w)).min(area[2]), (i64::from(y) + i64::from(h)).min(area[3])];
            let (mut data, mut valid) = (vec![0.0; w as usize * h as usize * self.bands as usize], vec![0; w as usize * h as usize]);
            if left < right && top < bottom {
                let (across, down) = ((right - left) as usize, (bottom - top) as usize);
                let window = raster.read_window(left - area[0], top - area[1], across as u32, down as u32)?;
                let bands = self.bands as usize;
                for row in 0..down {
                    let to = (top - i64::from(y)) as usize * w as usize + row * w as usize + (left - i64::from(x)) as usize;
                    valid[to..to + across].copy_from_slice(&window.valid[row * across..][..across]);
                    data[to * bands..(to + across) * bands].copy_from_slice(&window.data[row * across * bands..][..across * bands]);
                }
            }
            return Ok((data, valid));
        };
        let far = [f64::NAN; 2];
        let to_own = |p: [f64; 2]| self.place.to_pixels_of(own, p).unwrap_or(far);
        let data = Warp::new(&raster, &to_own, f32::NAN).tile(x, y, w, h)?;
        let valid = data.chunks_exact(self.bands as usize).map(|p| u8::from(p.iter().all(|v| !v.is_nan()))).collect();
        Ok((data, valid))
    }
}

impl Source for Mosaic {
    fn decode(&self, index: u64) -> Result<Arc<Chunk>> {
        let (width, height) = (self.layout.chunk_width, self.layout.chunk_height);
        let mut chunk = Chunk { samples: Samples::Missing, valid: None, width, height, samples_per_pixel: self.bands };
        let (_, row, column) = self.layout.place(index);
        let (bands, pixels) = (self.bands as usize, width as usize * height as usize);
        let (mut data, mut valid) = (vec![0.0f32; pixels * bands], vec![0u8; pixels]);
        for piece in &self.by_chunk[index as usize] {
            let (from, seen) = self.read(*piece, [column * width, row * height], [width, height])?;
            for ((to, v), (from, s)) in data.chunks_exact_mut(bands).zip(&mut valid).zip(from.chunks_exact(bands).zip(&seen)) {
                if *v == 0 && *s != 0 {
                    to.copy_from_slice(from);
                    *v = 1;
                }
            }
            if !valid.contains(&0) {
                break;
            }
        }
        if valid.contains(&1) {
            chunk.samples = Samples::F32(data);
            chunk.valid = valid.contains(&0).then_some(valid);
        }
        Ok(Arc::new(chunk))
    }

    fn stored(&self, index: u64) -> bool {
        !self.by_chunk[index as usize].is_empty()
    }
}
