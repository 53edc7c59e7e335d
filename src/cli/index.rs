//! `echogrid index`.

use super::common::{Global, MapArgs, check_file, check_regular, print_json, warn};
use super::cost::{weigh_dense, weigh_index};
use super::dense_args::{DenseArgs, LARGEST_PATCH};
use super::eval_dense::build_dense_with_bar;
use crate::Result;
use crate::dense::FeatureKind;
use crate::dense::{DenseDatabase, DenseModel};
use crate::gpu::Engine;
use crate::index::{DEFAULT_VIEWS, Database, Embedder, IndexConfig, LoadedModel, MAX_VIEWS, build};
use crate::locate::{Method, dense_beside};
use crate::scene::{Grid, Image, MapInfo};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Encode a map into databases that SAR images are located with
///
/// The retrieval database (--method index): the map is cut into square cells; each is encoded at several positions, so that a SAR patch
/// that lies between cells finds one too. Cells of which more than 1 % has no data are left out. The dense database (--method
/// dense): the spectra of the whole map's features, with which patches are correlated to the metre. With both, the default, the dense one
/// lies beside the other, with `.dense` behind its name, where `locate` finds it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    map: MapArgs,
    /// Which databases
    #[arg(long, value_enum, default_value_t = Method::Both)]
    method: Method,
    /// Model of the retrieval database [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    grid: GridArgs,
    #[command(flatten)]
    dense: DenseArgs,
    /// The database to write; with both, the retrieval one, and the dense one as DB.dense
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
    #[arg(long, value_name = "PX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub(super) cell: u32,
    /// Distance between cells, map pixels [default: the cell]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    stride: Option<u32>,
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

/// Megabytes of a file.
fn megabytes(path: &Path) -> f64 {
    std::fs::metadata(path).map_or(0.0, |m| m.len() as f64 / 1e6)
}

/// The retrieval database; returns what to print, as JSON and for people.
fn retrieval(global: &Global, args: &Args, engine: &Engine, map: &Arc<Image>, model: &LoadedModel) -> Result<(Value, String)> {
    let embedder = model.embedder(engine, args.grid.batch as usize)?;
    let (database, seconds) = build_with_bar(global, &embedder, model, map, &args.grid.config(), Database::writer(&args.out))?;
    let (cells, rows, dim) = (database.cells(), database.len(), database.dim());
    let (rate, views) = (cells as f64 / seconds, rows as f64 / seconds);
    let grid = Grid::new(map.raster.width(), map.raster.height(), args.grid.cell, args.grid.stride.unwrap_or(args.grid.cell))?;
    let left_out = (grid.len() as usize).saturating_sub(cells);
    let why = map.raster.no_data_words();
    let value = json!({
        "out": args.out, "cells": cells, "cells_left_out": left_out, "no_data_by": why, "rows": rows, "dim": dim, "seconds": seconds, "cells_per_s": rate,
        "views_per_s": views, "mb": megabytes(&args.out), "model": model.hash, "supply": embedder.supply(),
    });
    let mut text = format!(
        "{}: {cells} cells, {rows} rows of {dim} values, {seconds:.1} s, {rate:.1} cells/s ({views:.0} views/s)",
        args.out.display()
    );
    if left_out > 0 {
        let said = format!("{left_out} more cells are left out: more than 1 % of each has no data (by {why})");
        match map.raster.has_unnamed_fill() {
            // Nothing in the file says so.
            true => warn(said),
            false => text += &format!("\n{said}"),
        }
    }
    Ok((value, text))
}

/// The dense database, likewise.
fn dense(global: &Global, args: &Args, engine: &Engine, map: &Arc<Image>, model: &DenseModel, out: &Path) -> Result<(Value, String)> {
    let layout = args.dense.layout(&MapInfo::of(map)?, model, f64::from(args.dense.patch.unwrap_or(LARGEST_PATCH)))?;
    let (database, seconds) = build_dense_with_bar(global, engine, model, map, &layout, DenseDatabase::writer(out))?;
    // The map alone: what SAR images look like is seen when they are located.
    let calibration = model.calibration();
    if let Some(text) = calibration.distance(database.manifest.statistics.as_ref(), None).warning(calibration) {
        warn(text);
    }
    let (blocks, mb) = (database.len(), megabytes(out));
    let largest = layout.largest_patch();
    let value = json!({
        "out": out, "blocks": blocks, "side": layout.side, "step": layout.step, "patch": largest, "features": model.name(),
        "channels": model.channels(), "seconds": seconds, "mb": mb, "model": model.hash(),
    });
    let text = format!(
        "{}: {blocks} blocks of {} x {} {} features, for patches of up to {largest} map pixels, {seconds:.1} s, {mb:.0} MB",
        out.display(),
        layout.side,
        layout.side,
        model.name()
    );
    Ok((value, text))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let beside = match args.method {
        Method::Index => None,
        Method::Dense => Some(args.out.clone()),
        Method::Both => Some(dense_beside(&args.out)),
    };
    let with_index = args.method != Method::Dense;
    let check = if args.method == Method::Both { check_regular } else { check_file };
    [with_index.then_some(&args.out), beside.as_ref()].into_iter().flatten().try_for_each(|p| check(p))?;
    let model = if with_index { Some(args.dense.what.encoder(args.model.as_deref())?) } else { None };
    let features = if beside.is_some() { Some(args.dense.what.model(FeatureKind::Learned)?) } else { None };
    let bar = global.working("reading");
    let map = Arc::new(args.map.open()?);
    if let Some(features) = &features {
        // Sizes that make no sense are said before the cells are encoded.
        let layout = args.dense.layout(&MapInfo::of(&map)?, features, f64::from(args.dense.patch.unwrap_or(LARGEST_PATCH)))?;
        weigh_dense(global, &map, &layout, features, beside.as_deref())?;
    }
    if let Some(model) = &model {
        weigh_index(global, &map, &args.grid.config(), model.encoder().dim(), Some(&args.out))?;
    }
    bar.finish_and_clear();
    let engine = global.engine()?;
    let index = model.as_ref().map(|m| retrieval(global, args, &engine, &map, m)).transpose()?;
    let spectra = beside.as_ref().zip(features.as_ref()).map(|(out, f)| dense(global, args, &engine, &map, f, out)).transpose()?;
    if args.json {
        // The figures of the first; with both, those of the dense one under `dense`.
        let mut value = match (&index, &spectra) {
            (Some((v, _)), _) | (None, Some((v, _))) => v.clone(),
            (None, None) => json!({}),
        };
        if let (Some(_), Some((v, _))) = (&index, &spectra) {
            value["dense"] = v.clone();
        }
        value["method"] = json!(args.method.name());
        value["adapter"] = json!(engine.adapter().to_string());
        return print_json(&value);
    }
    index.iter().chain(&spectra).for_each(|(_, text)| out!("{text}"));
    Ok(())
}
