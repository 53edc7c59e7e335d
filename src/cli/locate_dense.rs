//! `echogrid locate` by dense matching: over the whole map, or around the best cells of the index.

use super::common::{Global, command_line, name_of, print_json, warn};
use super::dense_args::{FeatureKind, LARGEST_PATCH, Method, dense_beside, largest_patch};
use super::locate::{Args, map_of, median, warn_unoriented};
use super::present::{features_name, meta, model_name, overview};
use super::present_dense::{add_pictures, fixes, queries, room_for_tiles};
use crate::dense::{
    Closer, DenseConfig, DenseDatabase, DenseLocated, DenseModel, Hint, Hints, Matcher, SearchConfig, Statistics, build_at, locate_dense,
};
use crate::gpu::Engine;
use crate::index::{Database, LoadedModel, LocateConfig, RESIDENT_BYTES, Searcher, locate};
use crate::report::{Fix, csv, geojson, html::Page};
use crate::scene::{Image, MapInfo, Mirrored};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The dense database of `--index`: itself, or the one beside it.
fn dense_path(args: &Args) -> Option<PathBuf> {
    let beside = dense_beside(&args.index);
    [&args.index, &beside].into_iter().find(|p| DenseDatabase::is_one(p)).cloned()
}

/// The method that was asked for, or the best for what there is.
pub(super) fn choose(args: &Args) -> Result<Method> {
    let itself = DenseDatabase::is_one(&args.index);
    let shown = args.index.display();
    match args.method {
        Some(m @ (Method::Index | Method::Both)) if itself => Err(Error::invalid(format!(
            "{shown}: is a dense database, and --method {} needs one of cells; make it with `echogrid index --method index`, or use --method dense",
            m.name()
        ))),
        Some(Method::Dense) if dense_path(args).is_none() => Err(Error::invalid(format!(
            "{shown}: is no dense database, and there is none beside it ({}); make one with `echogrid index --method dense`, or use --method both",
            dense_beside(&args.index).display()
        ))),
        Some(method) => Ok(method),
        None if dense_path(args).is_some() => Ok(Method::Dense),
        None => {
            let database = Database::open(&args.index)?;
            let map = map_of(args, &database.manifest.map, &database.path)?;
            Ok(if map.is_some() { Method::Both } else { Method::Index })
        }
    }
}

/// What is asked of dense matching, for patches of `side` feature pixels.
fn config(args: &Args, patch: u32, side: usize, tiles: bool) -> DenseConfig {
    let plain = DenseConfig {
        step: args.step.unwrap_or(patch),
        pixel_m: args.pixel_size,
        prior_m: args.prior,
        mirrored: args.mirror.mirrored,
        threshold: args.matching.threshold,
        vote: !args.no_vote,
        search: SearchConfig { top: (args.top as usize).max(SearchConfig::default().top), tiles, ..SearchConfig::default() },
        ..DenseConfig::new(patch)
    };
    plain.around(args.rotation_range, args.scale_range, side)
}

fn search(
    global: &Global,
    args: &Args,
    matcher: &Matcher<'_>,
    sar: &Arc<Image>,
    map: Option<&Arc<Image>>,
    config: &DenseConfig,
) -> Result<DenseLocated> {
    let closer = args.closer.map(|metres| Closer { metres, ..Closer::than(matcher.database()) });
    let closer = match (&closer, map) {
        (Some(c), Some(m)) => Some((c, m)),
        (Some(_), None) => {
            return Err(Error::invalid(format!(
                "--closer reads the map again, and {} was not found beside the database; name it with --map",
                matcher.database().manifest.map.name
            )));
        }
        (None, _) => None,
    };
    let bar = global.bar(0, "matching");
    let located = locate_dense(matcher, sar, config, closer, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if let Some(text) = located.distance.warning(matcher.model().calibration()) {
        warn(text);
    }
    if config.rotations.len() == 1 {
        warn_unoriented(&located.frame);
    }
    Ok(located)
}

/// Patches of an image at most, from sizes alone: to know what a report may keep.
fn patches_at_most(sar: &Image, map: &MapInfo, config: &DenseConfig) -> usize {
    let Ok(frame) = crate::scene::Frame::new(map, sar, config.pixel_m) else { return usize::MAX };
    let step = frame.scale() * f64::from(config.step.max(1));
    (f64::from(sar.raster.width()) / step + 1.0) as usize * (f64::from(sar.raster.height()) / step + 1.0) as usize
}

/// Over the whole map.
pub(super) fn whole(global: &Global, args: &Args, outputs: &[&Path], start: Instant) -> Result<()> {
    let path = dense_path(args).unwrap_or_else(|| args.index.clone());
    let database = DenseDatabase::open(&path)?;
    // Those that the database was made with, unless others are asked for.
    let stored = if database.manifest.features == "structure" { FeatureKind::Structure } else { FeatureKind::Learned };
    let model = args.dense.what.model(stored)?;
    database.check_model(model.name(), model.hash())?;
    if path != args.index
        && let Ok(index) = Database::open(&args.index)
        && index.manifest.map.sha256 != database.manifest.map.sha256
    {
        return Err(Error::invalid(format!(
            "{}: was made of another map ({}) than {} ({}); make both anew with `echogrid index`, or choose with --method index",
            path.display(),
            database.manifest.map.name,
            args.index.display(),
            index.manifest.map.name
        )));
    }
    let sar = Arc::new(args.reading.open(&args.sar)?);
    let (info, layout) = (&database.manifest.map, &database.manifest.layout);
    let map = if args.report.is_some() || args.closer.is_some() { map_of(args, info, &path)? } else { None };
    let patch = args.dense.patch.unwrap_or(largest_patch(layout));
    let mut config = config(args, patch, layout.query_side(f64::from(patch))?, false);
    config.search.tiles = args.report.is_some() && room_for_tiles(&database, patches_at_most(&sar, info, &config));
    let engine = global.engine()?;
    let lap = Instant::now();
    let matcher = Matcher::new(&engine, &database, &model, RESIDENT_BYTES)?;
    let mut seconds = BTreeMap::from([("upload".to_string(), lap.elapsed().as_secs_f64())]);
    let located = search(global, args, &matcher, &sar, map.as_ref(), &config)?;
    seconds.insert("match".into(), located.seconds);
    let run =
        Run { args, engine: &engine, database: &database, model: &model, config: &config, map: map.as_deref(), sar: &sar, index: None };
    run.finish(global, &located, outputs, seconds, start)
}

/// Around the best cells of the index.
pub(super) fn around_cells(global: &Global, args: &Args, outputs: &[&Path], start: Instant) -> Result<()> {
    let index = Database::open(&args.index)?;
    let encoder = args.dense.what.encoder(args.model.as_deref())?;
    index.check_model(&encoder.hash, &encoder.path)?;
    let sar = Arc::new(args.reading.open(&args.sar)?);
    let info = &index.manifest.map;
    let Some(map) = map_of(args, info, &index.path)? else {
        return Err(Error::invalid(format!(
            "{}: its map {} does not lie beside it, and --method both reads it; name it with --map, or use --method index",
            index.path.display(),
            info.name
        )));
    };
    let model = args.dense.what.model(FeatureKind::Learned)?;
    let grid = &index.manifest.grid;
    let patch = args.dense.patch.unwrap_or(if grid.cell > 0 { grid.cell } else { LARGEST_PATCH });
    let layout = args.dense.layout(info, &model, f64::from(patch))?;
    let side = layout.query_side(f64::from(patch))?;
    let mut config = config(args, patch, side, false);
    let engine = global.engine()?;

    let embedder = encoder.embedder(&engine, args.batch as usize)?;
    let searcher = Searcher::new(&engine, &index, RESIDENT_BYTES)?;
    let cut = LocateConfig {
        patch,
        step: config.step,
        top: args.cells as usize,
        pixel_m: args.pixel_size,
        prior_m: args.prior,
        mirrored: args.mirror.mirrored,
    };
    let bar = global.bar(0, "locating");
    let cells = locate(&embedder, &index, &searcher, &sar, &cut, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let mut seconds = BTreeMap::from([("encode".to_string(), cells.encode_s), ("search".into(), cells.search_s)]);
    let hints: Vec<([f64; 2], Vec<Hint>)> =
        cells.patches.iter().map(|p| (p.sar_px, p.hits.iter().map(|h| Hint::new(&index, h)).collect())).collect();
    let size = [info.width, info.height].map(f64::from);
    let mut boxes: Vec<[f64; 4]> = hints.iter().flat_map(|(_, h)| h.iter().map(|h| h.within)).collect();
    boxes.iter_mut().for_each(|b| (0..4).for_each(|i| b[i] = b[i].clamp(0.0, size[i % 2])));
    boxes.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    boxes.dedup();
    // The cells were found for one way the image may lie.
    if !cells.frame.oriented {
        config.mirrored = if cells.frame.flipped { Mirrored::Yes } else { Mirrored::No };
    }
    let candidates = boxes.len();
    let (layout, origins) = match args.dense.block {
        0 => layout.covering(&boxes)?,
        _ => layout.covering_with(layout.side, &boxes)?,
    };
    config.hints = Some(Hints { patches: hints, weight: args.index_credit });

    let lap = Instant::now();
    let bar = global.bar(origins.len() as u64, "transforming");
    let mut database = build_at(&engine, &model, &map, &MapInfo::of(&map)?, &layout, &origins, DenseDatabase::temporary(), |done, _| {
        bar.set_position(done as u64)
    })?;
    bar.finish_and_clear();
    database.manifest.statistics = Statistics::measure(&map, layout.step)?;
    seconds.insert("transform".into(), lap.elapsed().as_secs_f64());
    config.search.tiles = args.report.is_some() && room_for_tiles(&database, cells.patches.len());
    let matcher = Matcher::new(&engine, &database, &model, RESIDENT_BYTES)?;
    let located = search(global, args, &matcher, &sar, Some(&map), &config)?;
    seconds.insert("match".into(), located.seconds);
    let run = Run {
        args,
        engine: &engine,
        database: &database,
        model: &model,
        config: &config,
        map: Some(&map),
        sar: &sar,
        index: Some((&encoder, candidates)),
    };
    run.finish(global, &located, outputs, seconds, start)
}

/// What a search was made with.
struct Run<'a> {
    args: &'a Args,
    engine: &'a Engine,
    database: &'a DenseDatabase,
    model: &'a DenseModel,
    config: &'a DenseConfig,
    map: Option<&'a Image>,
    sar: &'a Image,
    /// The model of the index, and how many of its cells were searched.
    index: Option<(&'a LoadedModel, usize)>,
}

impl Run<'_> {
    fn threshold(&self, located: &DenseLocated) -> f64 {
        self.config.threshold.unwrap_or(self.model.calibration().at(&located.distance).threshold)
    }

    /// Rows of a page.
    fn rows(&self, located: &DenseLocated, map_name: String, off: Option<f64>) -> Vec<(String, String)> {
        let (config, frame) = (self.config, &located.frame);
        let layout = &self.database.manifest.layout;
        let mut rows = vec![
            ("Patches".into(), format!("{} of {} map pixels, every {}", located.fixes.len(), config.patch, config.step)),
            ("SAR pixel".into(), format!("{:.2} m{}", frame.pixel_m, if frame.flipped { ", mirrored" } else { "" })),
            (
                "Searched".into(),
                match self.index {
                    Some((_, cells)) => {
                        format!("{cells} cells that the index found, in {} blocks of {} feature pixels", self.database.len(), layout.side)
                    }
                    None => format!("the whole map, {} blocks of {} feature pixels", self.database.len(), layout.side),
                },
            ),
            ("Features".into(), format!("{}, {:.1} m a pixel", self.model.name(), layout.step * self.database.manifest.map.ground_m())),
            ("Threshold".into(), format!("not found below a probability of {:.2}", self.threshold(located))),
        ];
        if let Some(n) = located.agreeing {
            rows.push(("Vote".into(), format!("{n} of {} patches agree", located.fixes.len())));
        }
        let variants = config.variants().len();
        if variants > 1 {
            rows.push(("Rotation and scale".into(), format!("{variants} tried of each patch")));
        }
        if located.no_data > 0 {
            rows.push(("Left out".into(), format!("{} patches without data in half of their pixels", located.no_data)));
        }
        if let Some(m) = config.prior_m {
            rows.push(("Prior".into(), format!("within {m:.0} m of its own georeference")));
        }
        rows.push(("Pictures of".into(), map_name));
        if let Some(off) = off {
            let used = if config.prior_m.is_some() { "which limited the search" } else { "which was not used to find the place" };
            rows.push(("Compared with".into(), format!("the SAR image's own georeference, {used}: median distance {off:.0} m")));
        }
        rows
    }

    /// Writes the outputs and says what was found.
    fn finish(
        &self,
        global: &Global,
        located: &DenseLocated,
        outputs: &[&Path],
        mut seconds: BTreeMap<String, f64>,
        start: Instant,
    ) -> Result<()> {
        let (args, info) = (self.args, &self.database.manifest.map);
        let queries = queries(located);
        let mut fixes = fixes(info, &queries, located.side_px, args.top as usize)?;
        geojson::write(&args.out, &fixes)?;
        if let Some(path) = &args.csv {
            csv::write_fixes(path, &fixes)?;
        }
        let off = median(fixes.iter().filter_map(Fix::error_m).collect());
        if let Some(path) = &args.report {
            add_pictures(global, &mut fixes, &queries, self.database, located.side_px, self.sar, self.map)?;
            let name = match self.map {
                Some(m) => name_of(m.raster.path()),
                None => format!("SAR patches only: the map {} was not found beside the database; name it with --map", info.name),
            };
            let features = features_name(self.model);
            let model = match self.index {
                Some((m, _)) => format!("{features}; cells by {}", model_name(m)),
                None => features,
            };
            let (sar, adapter) = (name_of(&args.sar), self.engine.adapter().to_string());
            let meta = meta(&format!("Where {sar} was taken"), &info.name, &sar, model, &adapter, self.rows(located, name, off));
            let overview = self.map.map(|m| overview(global, m)).transpose()?;
            Page { overview: overview.as_ref(), ..Page::new(&meta, &fixes) }.write(path)?;
        }
        let all = start.elapsed().as_secs_f64();
        seconds.insert("all".into(), all);
        let found = fixes.iter().filter(|f| f.claimed()).count();
        let within = fixes.iter().filter(|f| f.right() == Some(true)).count();
        let method = if self.index.is_some() { Method::Both } else { Method::Dense };
        if args.json {
            return print_json(&serde_json::json!({
                "method": method.name(), "out": args.out, "patches": fixes.len(), "fixes": found, "not_found": fixes.len() - found,
                "agreeing": located.agreeing, "threshold": self.threshold(located), "no_data": located.no_data, "pixel_m": located.frame.pixel_m, "mirrored": located.frame.flipped,
                "patch": self.config.patch, "step": self.config.step, "variants": self.config.variants().len(),
                "features": self.model.name(), "blocks": self.database.len(), "side": self.database.manifest.layout.side,
                "cells": self.index.map(|i| i.1), "median_ellipse_m": median(fixes.iter().filter(|f| f.claimed()).filter_map(|f| f.ellipse_m).map(|e| e.major_m).collect()),
                "own_georeference": off.map(|m| serde_json::json!({ "median_distance_m": m, "within_100_m": within, "used": self.config.prior_m.is_some() })),
                "seconds": seconds, "model": self.model.hash(), "precision": self.model.precision(), "adapter": self.engine.adapter().to_string(), "command": command_line(),
            }));
        }
        out_raw!("{found} of {} patches located, {} not found", fixes.len(), fixes.len() - found);
        if let Some(n) = located.agreeing {
            out_raw!("; {n} agree in the vote");
        }
        if located.no_data > 0 {
            out_raw!("; {} without enough data left out", located.no_data);
        }
        let parts: Vec<String> = seconds.iter().filter(|(name, _)| *name != "all").map(|(name, s)| format!("{name} {s:.2} s")).collect();
        out!("; {all:.1} s ({})", parts.join(", "));
        if let Some(off) = off {
            let used = if self.config.prior_m.is_some() { "which limited the search" } else { "not used to find the place" };
            out!("by its own georeference ({used}): {within} of {found} within 100 m, median distance {off:.0} m");
        }
        outputs.iter().for_each(|p| out!("wrote {}", p.display()));
        Ok(())
    }
}
