//! The database file: safetensors with f16 rows, positions and a manifest, mapped from disk.
//!
//! Tensors: `rows` F16 [R, D], `row_id` U32 [R] (cell * views * views + view; rising), `cell_px` F64 [C, 2], `cell_lonlat` F64 [C, 2].

use super::config::{IndexConfig, MAX_VIEWS};
use crate::atomic::{AtomicFile, advice, spool};
use crate::container::{self, stream};
use crate::scene::{Cell, Crs, GeoTransform, MapInfo};
use crate::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a database says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseManifest {
    /// `database`.
    pub kind: String,
    /// Version of echogrid that wrote it.
    pub version: String,
    /// Hash of the model that encoded it.
    pub model: String,
    /// The map.
    #[serde(flatten)]
    pub map: MapInfo,
    /// Cells and views.
    pub grid: IndexConfig,
    /// Adapter it was made on.
    pub adapter: String,
}

/// What a row is: a view of a cell, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId(u32);

impl RowId {
    pub(super) fn new(config: &IndexConfig, cell: u32, view: u32) -> Self {
        Self(cell * config.views_a_cell() + view)
    }
}

/// One row: a view of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The cell's number.
    pub cell: u32,
    /// Centre of the view, map pixels.
    pub centre_px: [f64; 2],
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(m) => m,
            Self::Owned(v) => v,
        }
    }
}

/// A database, in memory or mapped from its file.
#[derive(Debug)]
pub struct Database {
    /// The manifest.
    pub manifest: DatabaseManifest,
    /// Where it lies; `(memory)` for one that was not stored.
    pub path: PathBuf,
    /// Centres of the cells, map pixels.
    pub cell_px: Vec<[f64; 2]>,
    /// Centres of the cells, WGS 84 longitude and latitude in degrees.
    pub cell_lonlat: Vec<[f64; 2]>,
    dim: usize,
    count: usize,
    bytes: Bytes,
    /// Where the rows and their ids lie in the file.
    rows: Range<usize>,
    ids: Range<usize>,
}

impl Database {
    /// Maps a database file.
    ///
    /// # Errors
    /// Not there, not a database, cut short, tensors that do not fit each other.
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            std::fs::File::open(path).map_err(|e| Error::io(path, format!("cannot be opened ({e}); make one with `echogrid index`"), e))?;
        Self::map(path, &file)
    }

    fn map(path: &Path, file: &std::fs::File) -> Result<Self> {
        // SAFETY: the file is only read; one that another process cuts short while it is mapped ends this process, as with
        // any mapped file.
        let mapped = unsafe { Mmap::map(file) }.map_err(|e| Error::io(path, format!("cannot be mapped ({e})"), e))?;
        Self::parse(path, Bytes::Mapped(mapped))
    }

    fn parse(path: &Path, bytes: Bytes) -> Result<Self> {
        let bad = |reason: &dyn std::fmt::Display| Error::Index {
            path: path.into(),
            reason: format!("{reason}; make the database anew with `echogrid index`"),
        };
        let data = bytes.get();
        let text = container::manifest(data).map_err(|e| bad(&format!("not a database, or cut short ({e})")))?;
        let text = text.ok_or_else(|| bad(&"no echogrid manifest in it"))?;
        let manifest: DatabaseManifest = serde_json::from_str(&text).map_err(|e| bad(&format!("not a database's manifest ({e})")))?;
        let file = SafeTensors::deserialize(data).map_err(|e| bad(&format!("not a database, or cut short ({e})")))?;
        let tensor = |name: &str, dtype: Dtype, shape: &[usize]| {
            let t = file.tensor(name).map_err(|_| bad(&format!("tensor `{name}` is missing")))?;
            let fits = t.shape().len() == shape.len() && t.shape().iter().zip(shape).all(|(a, b)| *b == usize::MAX || a == b);
            if t.dtype() != dtype || !fits {
                return Err(bad(&format!("tensor `{name}` is {:?} {:?}", t.dtype(), t.shape())));
            }
            Ok(t)
        };
        let any = usize::MAX;
        let rows = tensor("rows", Dtype::F16, &[any, any])?;
        let (count, dim) = (rows.shape()[0], rows.shape()[1]);
        let pairs = |t: &TensorView<'_>| -> Vec<[f64; 2]> {
            let f = |b: &[u8]| f64::from_le_bytes(b.try_into().expect("8 bytes"));
            t.data().chunks_exact(16).map(|b| [f(&b[..8]), f(&b[8..])]).collect()
        };
        let ids = tensor("row_id", Dtype::U32, &[count])?;
        let cell_px = pairs(&tensor("cell_px", Dtype::F64, &[any, 2])?);
        let cell_lonlat = pairs(&tensor("cell_lonlat", Dtype::F64, &[cell_px.len(), 2])?);
        let number = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let views = match manifest.grid.views {
            v @ 1..=MAX_VIEWS => v * v,
            v => return Err(bad(&format!("its manifest tells of {v} views a side"))),
        };
        let mut last = None;
        let rising = ids
            .data()
            .chunks_exact(4)
            .map(number)
            .all(|id| last.replace(id).is_none_or(|l| l < id) && ((id / views) as usize) < cell_px.len());
        if !rising || count == 0 || dim == 0 {
            return Err(bad(&"rows and cells do not fit each other"));
        }
        let span = |t: &TensorView<'_>| {
            let start = t.data().as_ptr() as usize - data.as_ptr() as usize;
            start..start + t.data().len()
        };
        let (rows, ids) = (span(&rows), span(&ids));
        Ok(Self { manifest, path: path.into(), cell_px, cell_lonlat, dim, count, rows, ids, bytes })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Never: a database has at least one row.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What a row is.
    ///
    /// # Panics
    /// No such row.
    pub fn row(&self, index: usize) -> Row {
        let b = &self.bytes.get()[self.ids.clone()][index * 4..][..4];
        let id = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let grid = &self.manifest.grid;
        let (cell, offset) = (id / grid.views_a_cell(), grid.offset(id % grid.views_a_cell()));
        let centre = self.cell_px[cell as usize];
        Row { cell, centre_px: [centre[0] + offset[0], centre[1] + offset[1]] }
    }

    /// Length of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.cell_px.len()
    }

    /// The f16 values of some rows, as little-endian bytes.
    pub fn row_bytes(&self, rows: Range<usize>) -> &[u8] {
        let width = self.dim * 2;
        &self.bytes.get()[self.rows.clone()][rows.start * width..rows.end * width]
    }

    /// The rows of a cell: its views.
    pub fn rows_of(&self, cell: u32) -> Range<usize> {
        let first = |cell: u32| {
            let (mut low, mut high) = (0, self.count);
            while low < high {
                let middle = low.midpoint(high);
                if self.row(middle).cell < cell { low = middle + 1 } else { high = middle }
            }
            low
        };
        first(cell)..first(cell + 1)
    }

    /// The values of one row.
    ///
    /// # Panics
    /// No such row.
    pub fn row_values(&self, row: usize) -> Vec<f32> {
        let mut values = vec![0.0; self.dim];
        self.read_row(row, &mut values);
        values
    }

    /// Writes a row's values into `values`, one for each.
    pub(crate) fn read_row(&self, row: usize, values: &mut [f32]) {
        let parts = self.row_bytes(row..row + 1).chunks(2 * PART).zip(values.chunks_mut(PART));
        parts.for_each(|(bytes, values)| values.copy_from_slice(&widened(bytes)[..values.len()]));
    }

    /// The cosine of a row with `query`, of unit length.
    ///
    /// # Panics
    /// No such row.
    pub(crate) fn cosine(&self, row: usize, query: &[f32]) -> f32 {
        product(self.row_bytes(row..row + 1), query)
    }

    /// A position on the map in metres from its upper left corner, x to the right and y down, at the map's mean pixel size: exact enough
    /// for distances between neighbours.
    pub fn metres(&self, map_px: [f64; 2]) -> [f64; 2] {
        let pixel = self.manifest.map.pixel_m;
        [map_px[0] * pixel[0], map_px[1] * pixel[1]]
    }

    /// The position on the map of what [`Database::metres`] gives.
    pub fn pixels(&self, metres: [f64; 2]) -> [f64; 2] {
        let pixel = self.manifest.map.pixel_m;
        [metres[0] / pixel[0], metres[1] / pixel[1]]
    }

    /// Whether a cell is right for a place on the map (map pixels): its centre lies within half a cell in both axes.
    ///
    /// # Panics
    /// No such cell.
    pub fn cell_holds(&self, cell: u32, p: [f64; 2]) -> bool {
        let half = f64::from(self.manifest.grid.cell) / 2.0;
        let c = self.cell_px[cell as usize];
        (c[0] - p[0]).abs() <= half && (c[1] - p[1]).abs() <= half
    }

    /// Refuses a model other than the one that encoded the rows.
    ///
    /// # Errors
    /// The hashes differ; the message names both.
    pub fn check_model(&self, hash: &str, model: &Path) -> Result<()> {
        if self.manifest.model == hash {
            return Ok(());
        }
        let short = |h: &str| h.get(..12).unwrap_or(h).to_string();
        Err(Error::Index {
            path: self.path.clone(),
            reason: format!(
                "was made with model {}, not with {} ({}); give that model with --model, or make the database anew with `echogrid index`",
                short(&self.manifest.model),
                short(hash),
                model.display()
            ),
        })
    }

    /// The map's geotransform and coordinate system.
    ///
    /// # Errors
    /// A code or transform that is not valid.
    pub fn georeference(&self) -> Result<(GeoTransform, Crs)> {
        Ok(self.manifest.map.georeference()?)
    }
}

/// Writes a database row by row: the rows go to a temporary file first, and the database appears whole or not at all.
#[derive(Debug)]
pub struct Writer {
    path: Option<PathBuf>,
    spool: Option<BufWriter<std::fs::File>>,
    dim: usize,
    count: usize,
}

impl Database {
    /// A writer to a file.
    pub fn writer(path: &Path) -> Writer {
        Writer { path: Some(path.into()), spool: None, dim: 0, count: 0 }
    }

    /// A writer that keeps the database in memory.
    pub fn in_memory() -> Writer {
        Writer { path: None, spool: None, dim: 0, count: 0 }
    }
}

impl Writer {
    fn fail(&self, e: std::io::Error) -> Error {
        let (path, advice) = match &self.path {
            Some(path) => (path.clone(), advice(path, &e)),
            None => ("(temporary file)".into(), format!("check that {} is writable and has room", std::env::temp_dir().display())),
        };
        Error::io(path, format!("cannot be written ({e}); {advice}"), e)
    }

    /// Opens the spool beside the file to come.
    pub(super) fn begin(&mut self, dim: usize) -> Result<()> {
        let spool = spool(self.path.as_deref());
        self.spool = Some(BufWriter::new(spool.map_err(|e| self.fail(e))?));
        self.dim = dim;
        Ok(())
    }

    /// Appends rows of f32, rounded to f16.
    pub(super) fn rows(&mut self, values: &[f32]) -> Result<()> {
        let half: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        self.count += values.len() / self.dim;
        let result = self.spool.as_mut().expect("begin() was called").write_all(&half);
        result.map_err(|e| self.fail(e))
    }

    /// Writes the file and maps it.
    pub(super) fn finish(mut self, manifest: DatabaseManifest, cells: &[Cell], rows: &[RowId]) -> Result<Database> {
        let spool = self.spool.take().expect("begin() was called").into_inner().map_err(|e| self.fail(e.into_error()))?;
        // SAFETY: the file has no name, so nobody else can change it.
        let data = unsafe { Mmap::map(&spool) }.map_err(|e| self.fail(e))?;
        let flat = |p: &mut dyn Iterator<Item = [f64; 2]>| -> Vec<u8> {
            p.flat_map(|[a, b]| [a.to_le_bytes(), b.to_le_bytes()].concat()).collect()
        };
        let ids: Vec<u8> = rows.iter().flat_map(|r| r.0.to_le_bytes()).collect();
        let cell_px = flat(&mut cells.iter().map(|c| [c.centre_px.0, c.centre_px.1]));
        let cell_lonlat = flat(&mut cells.iter().map(|c| c.centre_lonlat.map_or([f64::NAN; 2], |p| [p.0, p.1])));
        let (r, c) = (rows.len(), cells.len());
        let views = [
            ("rows", Dtype::F16, vec![r, self.dim], &data[..]),
            ("row_id", Dtype::U32, vec![r], &ids[..]),
            ("cell_px", Dtype::F64, vec![c, 2], &cell_px[..]),
            ("cell_lonlat", Dtype::F64, vec![c, 2], &cell_lonlat[..]),
        ];
        let views = views
            .into_iter()
            .map(|(name, dtype, shape, data)| {
                Ok((name, TensorView::new(dtype, shape, data).map_err(|e| self.fail(std::io::Error::other(e)))?))
            })
            .collect::<Result<Vec<_>>>()?;
        let json = serde_json::to_string(&manifest).map_err(|e| self.fail(e.into()))?;
        let Some(path) = self.path.clone() else {
            let meta = Some(HashMap::from([("echogrid".to_string(), json)]));
            let bytes = safetensors::serialize(views, meta).map_err(|e| self.fail(std::io::Error::other(e)))?;
            return Database::parse(Path::new("(memory)"), Bytes::Owned(bytes));
        };
        let file = AtomicFile::create(&path).map_err(|e| self.fail(e))?;
        stream(file.file(), &json, views).map_err(|e| self.fail(e))?;
        let file = file.commit().map_err(|e| self.fail(e))?;
        Database::map(&path, &file)
    }
}

/// Values converted at once: the processor does several together.
const PART: usize = 64;

/// Up to [`PART`] f16 values, little-endian, and zeros behind them.
fn widened(bytes: &[u8]) -> [f32; PART] {
    let (mut halves, mut singles) = ([f16::ZERO; PART], [0.0f32; PART]);
    halves.iter_mut().zip(bytes.chunks_exact(2)).for_each(|(h, b)| *h = f16::from_le_bytes([b[0], b[1]]));
    halves.convert_to_f32_slice(&mut singles);
    singles
}

/// The sum of products of f16 values, little-endian, with as many of f32.
pub(super) fn product(halves: &[u8], values: &[f32]) -> f32 {
    // Several sums side by side: one alone would wait for each addition.
    let mut sums = [0.0f32; 8];
    for (bytes, values) in halves.chunks(2 * PART).zip(values.chunks(PART)) {
        for (a, b) in widened(bytes).chunks(8).zip(values.chunks(8)) {
            sums.iter_mut().zip(a).zip(b).for_each(|((s, a), b)| *s += a * b);
        }
    }
    sums.iter().sum()
}
