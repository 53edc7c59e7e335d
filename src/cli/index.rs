//! `echogrid index`.

use super::common::{Global, MapArgs, check_apart, check_file, check_regular, print_json, warn};
use super::cost::{weigh_dense, weigh_index};
use super::databases::{GridArgs, build_dense_with_bar, build_with_bar};
use super::dense_args::{DenseArgs, LARGEST_PATCH};
use crate::Result;
use crate::dense::FeatureKind;
use crate::dense::{DenseDatabase, DenseModel};
use crate::gpu::Engine;
use crate::index::{Database, LoadedModel};
use crate::locate::{Method, dense_beside};
use crate::scene::{Grid, Image, MapInfo};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    let outputs: Vec<&Path> = [with_index.then_some(&args.out), beside.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    check_apart(&outputs, args.map.map.iter().map(PathBuf::as_path))?;
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
