//! From a map to a database.

use super::config::{IndexConfig, MAX_VIEWS};
use super::embed::{Embedder, LoadedModel};
use super::store::{Database, DatabaseManifest, RowId, Writer};
use crate::gpu::{Engine, OpTime, medians};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::scene::{Cell, Grid, Image, MapInfo, PageCache, ValidityMask};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// A view may lack this share of its pixels (it reaches beyond its cell, which may be at the border of the data).
pub const VIEW_MAX_MISSING: f64 = 0.25;

/// Cells whose views are prepared together.
const CELLS_AT_ONCE: usize = 256;

/// The views of some cells, of which the first has the number `first`: what to encode, and its row. The view on the cell itself is
/// always there; another is left out where more than [`VIEW_MAX_MISSING`] of it lacks data.
///
/// # Errors
/// A cell too large for the sampler.
pub fn view_records(
    config: &IndexConfig,
    first: usize,
    cells: &[Cell],
    mask: &ValidityMask,
    input: usize,
) -> Result<(Vec<RowId>, Vec<PatchRecord>)> {
    let side = f64::from(config.cell);
    let scale = side / input as f64;
    let (mut rows, mut records) = (Vec::new(), Vec::new());
    for (i, cell) in cells.iter().enumerate() {
        for view in 0..config.views_a_cell() {
            let offset = config.offset(view);
            let centre = [cell.centre_px.0 + offset[0], cell.centre_px.1 + offset[1]];
            if offset == [0.0, 0.0] || mask.share(centre[0] - side / 2.0, centre[1] - side / 2.0, side, side) >= 1.0 - VIEW_MAX_MISSING {
                rows.push(RowId::new(config, (first + i) as u32, view));
                records.push(PatchRecord::new(0, centre, scale, 0.0, false, input)?);
            }
        }
    }
    Ok((rows, records))
}

/// Encodes a map's cells into a database. `progress(done, total)` counts cells.
///
/// # Errors
/// An even number of views, no cell with data, reading, the device, the file.
pub fn build(
    embedder: &Embedder<'_>,
    model: &LoadedModel,
    map: &Arc<Image>,
    config: &IndexConfig,
    writer: Writer,
    mut progress: impl FnMut(usize, usize),
) -> Result<Database> {
    if config.views.is_multiple_of(2) {
        return Err(Error::invalid(format!("--views {} is even: no view would lie on the cell itself; give an odd number", config.views)));
    }
    if config.views > MAX_VIEWS {
        return Err(Error::invalid(format!("--views {} is more than {MAX_VIEWS}", config.views)));
    }
    let raster = &map.raster;
    raster.georeference()?;
    let grid = Grid::new(raster.width(), raster.height(), config.cell, config.stride)?;
    let cells = valid_cells(map, &grid, config)?;
    let mask = ValidityMask::new(raster)?;
    let most = cells.len() as u64 * u64::from(config.views_a_cell());
    if most > u64::from(u32::MAX) {
        return Err(Error::invalid(format!(
            "{} cells of {} views are more rows than a database counts; use fewer views or larger cells",
            cells.len(),
            config.views_a_cell()
        )));
    }
    let taps = sampler::taps_for(f64::from(config.cell) / embedder.input() as f64);
    let mut cache = PageCache::new(embedder.engine(), vec![map.clone()], crate::scene::pages::DEFAULT_PAGES)?;
    let mut writer = writer;
    writer.begin(embedder.dim())?;
    let mut rows = Vec::new();
    progress(0, cells.len());
    // A few cells at a time: a large map has millions of views.
    for (chunk, some) in cells.chunks(CELLS_AT_ONCE).enumerate() {
        let first = chunk * CELLS_AT_ONCE;
        let (ids, records) = view_records(config, first, some, &mask, embedder.input())?;
        embedder.embed(Modality::Map, &mut cache, &records, taps, |done, vectors| {
            writer.rows(vectors)?;
            let share = (done + vectors.len() / embedder.dim()) as f64 / records.len() as f64;
            progress(first + (share * some.len() as f64) as usize, cells.len());
            Ok(())
        })?;
        rows.extend(ids);
    }
    let manifest = DatabaseManifest {
        kind: "database".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        model: model.hash.clone(),
        map: MapInfo::of(map)?,
        grid: *config,
        adapter: embedder.engine().adapter().to_string(),
    };
    writer.finish(manifest, &cells, &rows)
}

/// Median time of each dispatch for a batch of views from the middle of a map over `steps` runs, sampler and encoder of the shipped weights,
/// for `echogrid profile`.
///
/// # Errors
/// As [`build`].
pub fn profile_encoding(engine: &Engine, path: &Path, batch: usize, steps: usize) -> Result<Vec<OpTime>> {
    let model = LoadedModel::load(None)?;
    let embedder = model.embedder(engine, batch)?;
    let map = Arc::new(Image::map(path)?);
    let config = IndexConfig::default();
    let grid = Grid::new(map.raster.width(), map.raster.height(), config.cell, config.stride)?;
    let cells = valid_cells(&map, &grid, &config)?;
    let (_, records) = view_records(&config, 0, &cells[cells.len() / 2..], &ValidityMask::new(&map.raster)?, embedder.input())?;
    let taps = sampler::taps_for(f64::from(config.cell) / embedder.input() as f64);
    let mut cache = PageCache::new(engine, vec![map], crate::scene::pages::DEFAULT_PAGES)?;
    let runs = (0..=steps).map(|_| embedder.profile(Modality::Map, &mut cache, &records, taps)).collect::<Result<Vec<_>>>()?;
    // The first warms up.
    Ok(medians(&runs[1..]))
}

/// The cells that have data; there must be some.
fn valid_cells(map: &Image, grid: &Grid, config: &IndexConfig) -> Result<Vec<Cell>> {
    let cells = grid.valid_cells(&map.raster, config.max_missing)?;
    if cells.is_empty() {
        return Err(Error::invalid(format!(
            "{}: no cell of {} px has data in at least {:.0} % of its pixels; use smaller cells (--cell) or another map",
            map.raster.path().display(),
            config.cell,
            100.0 * (1.0 - config.max_missing)
        )));
    }
    Ok(cells)
}
