//! `echogrid index`.

use super::common::{Global, check_output, print_json};
use crate::Result;
use crate::index::{DEFAULT_VIEWS, Database, Embedder, IndexConfig, LoadedModel, build};
use crate::scene::Image;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Encode a map's cells into a database that SAR images are located with
///
/// The map is cut into square cells; each is encoded at several positions, so that a SAR patch that lies between cells finds
/// one too. Cells of which more than 1 % has no data are left out.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Optical map: GeoTIFF, or PNG or JPEG with a world file; georeferenced
    #[arg(long, value_name = "MAP")]
    map: PathBuf,
    /// Model [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    grid: GridArgs,
    /// The database to write
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// How a map is cut and encoded.
#[derive(Debug, clap::Args)]
pub(super) struct GridArgs {
    /// Side of a cell, map pixels
    #[arg(long, value_name = "PX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) cell: u32,
    /// Distance between cells, map pixels [default: the cell]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    stride: Option<u32>,
    /// Positions a side at which each cell is encoded (odd); fewer are faster, and find less
    #[arg(long, value_name = "N", default_value_t = DEFAULT_VIEWS)]
    views: u32,
    /// Patches encoded at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) batch: u32,
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
    let start = Instant::now();
    let bar = global.bar(0, "indexing");
    let database = build(embedder, model, map, config, writer, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok((database, start.elapsed().as_secs_f64()))
}

/// Says so where cells cover quite another ground than the patches the model learnt from.
pub(super) fn warn_of_scale(database: &Database, model: &LoadedModel) {
    let [x, y] = database.manifest.map.pixel_m;
    let (ground, trained) = (f64::from(database.manifest.grid.cell) * (x * y).sqrt(), model.file.manifest.patch_m);
    if trained > 0.0 && !(0.66..1.5).contains(&(ground / trained)) {
        let better = (trained / (x * y).sqrt()).round();
        eprintln!(
            "warning: a cell is {ground:.0} m wide on the ground, the model was trained on patches of {trained:.0} m; --cell {better:.0} would be like those"
        );
    }
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    check_output(&args.out)?;
    let model = LoadedModel::load(args.model.as_deref())?;
    let map = Arc::new(Image::map(&args.map)?);
    let config = args.grid.config();
    let engine = global.engine()?;
    let embedder = model.embedder(&engine, args.grid.batch as usize)?;
    let (database, seconds) = build_with_bar(global, &embedder, &model, &map, &config, Database::writer(&args.out))?;
    warn_of_scale(&database, &model);
    let (cells, rows, dim) = (database.cells(), database.len(), database.dim());
    let rate = cells as f64 / seconds;
    if args.json {
        return print_json(&serde_json::json!({
            "out": args.out, "cells": cells, "rows": rows, "dim": dim, "seconds": seconds, "cells_per_s": rate,
            "views_per_s": rows as f64 / seconds, "model": model.hash, "adapter": engine.adapter().to_string(),
        }));
    }
    out!(
        "{}: {cells} cells, {rows} rows of {dim} values, {seconds:.1} s, {rate:.1} cells/s ({:.0} views/s)",
        args.out.display(),
        rows as f64 / seconds
    );
    Ok(())
}
