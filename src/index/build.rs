//! From a map to a database.

use super::embed::{Embedder, LoadedModel};
use super::store::{Database, DatabaseManifest, Row, Writer};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::scene::{Cell, DEFAULT_MAX_MISSING, Grid, Image, PageCache, ValidityMask};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Views a side of each cell.
pub const DEFAULT_VIEWS: u32 = 7;

/// A view may lack this share of its pixels (it reaches beyond its cell, which may be at the border of the data).
pub const VIEW_MAX_MISSING: f64 = 0.25;

/// The grid of a database.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IndexConfig {
    /// Side of a cell, map pixels.
    pub cell: u32,
    /// Distance between cells, map pixels.
    pub stride: u32,
    /// Each cell is encoded at `views` x `views` positions spread over its stride, so that a query that lies anywhere is close
    /// to one of them; the cell's score is the best of them. Odd, so that one lies on the cell itself.
    pub views: u32,
    /// A cell may lack this share of its pixels.
    pub max_missing: f32,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self { cell: 200, stride: 200, views: DEFAULT_VIEWS, max_missing: DEFAULT_MAX_MISSING }
    }
}

impl IndexConfig {
    /// Offsets of the views from the cell's centre along one axis, map pixels.
    fn offsets(&self) -> Vec<f64> {
        let v = f64::from(self.views);
        (0..self.views).map(|i| (f64::from(i) - (v - 1.0) / 2.0) * f64::from(self.stride) / v).collect()
    }
}

/// The views of each cell: what to encode, and where it lies. The view on the cell itself is always there; another is left out
/// where more than [`VIEW_MAX_MISSING`] of it lacks data.
///
/// # Errors
/// A cell too large for the sampler.
pub fn view_records(config: &IndexConfig, cells: &[Cell], mask: &ValidityMask, input: usize) -> Result<Vec<(Row, PatchRecord)>> {
    let offsets = config.offsets();
    let side = f64::from(config.cell);
    let scale = side / input as f64;
    let mut all = Vec::with_capacity(cells.len() * offsets.len() * offsets.len());
    for (id, cell) in cells.iter().enumerate() {
        for dy in &offsets {
            for dx in &offsets {
                let centre = [cell.centre_px.0 + dx, cell.centre_px.1 + dy];
                let own = *dx == 0.0 && *dy == 0.0;
                if own || mask.share(centre[0] - side / 2.0, centre[1] - side / 2.0, side, side) >= 1.0 - VIEW_MAX_MISSING {
                    let record = PatchRecord::new(0, centre, scale, 0.0, false, input)?;
                    all.push((Row { cell: id as u32, centre_px: centre }, record));
                }
            }
        }
    }
    Ok(all)
}

/// Encodes a map's cells into a database. `progress(done, total)` counts views.
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
    let raster = &map.raster;
    raster.georeference()?;
    let grid = Grid::new(raster.width(), raster.height(), config.cell, config.stride)?;
    let cells = grid.valid_cells(raster, config.max_missing)?;
    if cells.is_empty() {
        return Err(Error::invalid(format!(
            "{}: no cell of {} px has data in at least {:.0} % of its pixels; use smaller cells (--cell) or another map",
            raster.path().display(),
            config.cell,
            100.0 * (1.0 - config.max_missing)
        )));
    }
    let mask = ValidityMask::new(raster)?;
    let views = view_records(config, &cells, &mask, embedder.input())?;
    let taps = sampler::taps_for(f64::from(config.cell) / embedder.input() as f64);
    let mut cache = PageCache::new(embedder.engine(), vec![map.clone()], crate::scene::pages::DEFAULT_PAGES)?;
    let records: Vec<PatchRecord> = views.iter().map(|v| v.1).collect();
    let mut writer = writer;
    writer.begin(embedder.dim())?;
    let total = records.len();
    embedder.embed(Modality::Map, &mut cache, &records, taps, |first, rows| {
        writer.rows(rows)?;
        progress(first + rows.len() / embedder.dim(), total);
        Ok(())
    })?;
    let (pixel_x, pixel_y) = raster.ground_pixel_size()?;
    let (geo, crs) = raster.georeference()?;
    let manifest = DatabaseManifest {
        kind: "database".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        model: model.hash.clone(),
        map: raster.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        map_sha256: raster.sha256()?,
        map_standardisation: serde_json::to_value(&map.standardisation).unwrap_or_default(),
        epsg: crs.epsg(),
        geotransform: geo.coefficients(),
        width: raster.width(),
        height: raster.height(),
        pixel_m: [pixel_x, pixel_y],
        grid: *config,
        adapter: embedder.engine().adapter().to_string(),
    };
    writer.finish(manifest, &cells, &views.iter().map(|v| v.0).collect::<Vec<_>>())
}
