//! Making databases of a map, with progress: for `index` and for commands that need one of their own.

use super::common::{Global, warn};
use crate::Result;
use crate::dense::{DenseDatabase, DenseModel, Layout};
use crate::index::{DEFAULT_VIEWS, Database, Embedder, IndexConfig, LoadedModel, MAX_VIEWS, build};
use crate::scene::Image;
use std::sync::Arc;
use std::time::Instant;

/// How a map is cut and encoded.
#[derive(Debug, clap::Args)]
pub(super) struct GridArgs {
    /// Side of a cell, map pixels
    #[arg(long, value_name = "PX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub(super) cell: u32,
    /// Distance between cells, map pixels [default: the cell]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) stride: Option<u32>,
    /// Positions a side at which each cell is encoded (odd); fewer are faster, and find less. A cell takes the square of it in rows
    #[arg(long, value_name = "N", default_value_t = DEFAULT_VIEWS, value_parser = odd)]
    views: u32,
    /// Patches encoded at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) batch: u32,
}

/// A number of views a side.
pub(super) fn odd(text: &str) -> std::result::Result<u32, String> {
    let views = text.parse().map_err(|e| format!("{e}"))?;
    match views {
        1..=MAX_VIEWS if views % 2 == 1 => Ok(views),
        _ => Err(format!("an odd number from 1 to {MAX_VIEWS} is needed, so that one view lies on the cell itself")),
    }
}

impl GridArgs {
    pub(super) fn config(&self) -> IndexConfig {
        IndexConfig { cell: self.cell, stride: self.stride.unwrap_or(self.cell), views: self.views, ..IndexConfig::default() }
    }
}

/// Builds with a progress bar; returns the database and the seconds it took.
pub(super) fn build_with_bar(
    global: &Global,
    embedder: &Embedder<'_>,
    model: &LoadedModel,
    map: &Arc<Image>,
    config: &IndexConfig,
    writer: crate::index::Writer,
) -> Result<(Database, f64)> {
    warn_of_scale(map, config.cell, model);
    let start = Instant::now();
    let bar = global.working("indexing");
    let database = build(embedder, model, map, config, writer, |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    Ok((database, start.elapsed().as_secs_f64()))
}

/// Says so where cells cover quite another ground than the patches the model learnt from.
fn warn_of_scale(map: &Image, cell: u32, model: &LoadedModel) {
    let pixel = map.raster.ground_pixel_size().map_or(0.0, |(x, y)| (x * y).sqrt());
    let (ground, trained) = (f64::from(cell) * pixel, model.file.manifest.patch_m);
    if trained > 0.0 && ground > 0.0 && !(0.66..1.5).contains(&(ground / trained)) {
        let better = (trained / pixel).round();
        warn(format_args!(
            "a cell is {ground:.0} m wide on the ground, the model was trained on patches of {trained:.0} m; --cell {better:.0} would be like those"
        ));
    }
}

/// Transforms a map with a progress bar.
pub(super) fn build_dense_with_bar(
    global: &Global,
    engine: &crate::gpu::Engine,
    model: &DenseModel,
    map: &Arc<Image>,
    layout: &Layout,
    writer: crate::dense::DenseWriter,
) -> Result<(DenseDatabase, f64)> {
    let start = Instant::now();
    let bar = global.working("transforming");
    let database = crate::dense::build(engine, model, map, layout, writer, |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    Ok((database, start.elapsed().as_secs_f64()))
}
