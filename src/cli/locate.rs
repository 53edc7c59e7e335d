//! `echogrid locate`.

use super::common::{Global, MapNoData, MirrorArgs, SarArgs, check_output, command_line, name_of, open_map, print_json, warn};
use super::dense_args::{DenseArgs, MatchArgs, Method};
use super::present::{Found, add_pictures, check_map, fixes, meta, model_name, overview};
use super::refine_args::{Prepared, RefineArgs};
use crate::gpu::Engine;
use crate::index::{Database, LocateConfig, Located, Patch, RESIDENT_BYTES, Searcher, locate};
use crate::refine::{self, Strip};
use crate::report::{Fix, csv, geojson, html::Page};
use crate::scene::{Frame, Image, MapInfo, inverse};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Find where on an indexed map a SAR image was taken
///
/// The image is cut into patches at the map's scale, and each is looked up in the database. Its own georeference is not used
/// to find the place (unless --prior says so): only the size of its pixels and the direction of north are taken from it.
///
/// Methods: `dense` correlates each patch with the whole map, to the metre; `both` does so around the best cells of the retrieval index
/// only, for which the map itself is read; `index` gives the best cells. With dense and both each fix carries an error ellipse
/// and a probability, and a patch whose probability is below the threshold is "not found".
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Database that `echogrid index` wrote: a retrieval or a dense one
    #[arg(long, value_name = "DB")]
    pub(super) index: PathBuf,
    /// SAR image
    #[arg(long, value_name = "SAR")]
    pub(super) sar: PathBuf,
    /// How to look [default: dense if DB is a dense database or DB.dense lies beside it; else both if the map can be read (--map,
    /// or beside DB); else index]
    #[arg(long, value_enum)]
    pub(super) method: Option<Method>,
    /// Model the retrieval database was made with [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<PathBuf>,
    #[command(flatten)]
    pub(super) dense: DenseArgs,
    /// Distance between patches, pixels of the map [default: the patch]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) step: Option<u32>,
    #[command(flatten)]
    refinement: RefineArgs,
    /// Patches of a row of the image that are refined together: how they lie to each other is known [default: 5; only with --refine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Refinement")]
    strip: Option<u32>,
    /// Candidates kept for each patch
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) top: u32,
    /// Size of a SAR pixel on the ground [default: from the image's georeference; needed where it has none]
    #[arg(long, value_name = "METRES")]
    pub(super) pixel_size: Option<f64>,
    /// Search only within this distance of where the image's own, rough georeference puts each patch
    #[arg(long, value_name = "METRES")]
    pub(super) prior: Option<f64>,
    #[command(flatten)]
    pub(super) reading: SarArgs,
    #[command(flatten)]
    pub(super) mirror: MirrorArgs,
    /// Patches encoded at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) batch: u32,
    #[command(flatten)]
    pub(super) matching: MatchArgs,
    /// Search the best places of each patch again at this many ground metres a feature pixel, finer than the database's; reads the map
    #[arg(long, value_name = "METRES", help_heading = "Dense matching")]
    pub(super) closer: Option<f64>,
    /// The image may be turned by up to so much either way: tried in steps that move a patch's corner by at most 1.5 feature pixels from
    /// the nearest [default: 0]
    #[arg(long, value_name = "DEGREES", default_value_t = 0.0, hide_default_value = true, value_parser = range_of::<180>, help_heading = "Dense matching")]
    pub(super) rotation_range: f64,
    /// The image's scale may be off by up to this share either way: 0.02 for 2 %; steps as with rotation [default: 0]
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, hide_default_value = true, value_parser = scale_range, help_heading = "Dense matching")]
    pub(super) scale_range: f64,
    /// Judge each patch by itself, not by what the image's patches agree on
    #[arg(long, help_heading = "Dense matching")]
    pub(super) no_vote: bool,
    /// Cells of the index around which each patch is correlated (method both)
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Dense matching")]
    pub(super) cells: u32,
    /// What a cell's cosine of 1 adds to a peak in it, standard deviations (method both)
    #[arg(long, value_name = "F", default_value_t = INDEX_CREDIT, hide = true)]
    pub(super) index_credit: f64,
    /// The map, for the method `both` and the report's pictures [default: the file of the map's name beside DB, if it is there]
    #[arg(long, value_name = "MAP", num_args = 1..)]
    pub(super) map: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) map_no_data: MapNoData,
    /// Fixes to write, GeoJSON: footprint, longitude and latitude, score, candidates; by dense matching probability and ellipse too
    #[arg(long, value_name = "FIXES.geojson")]
    pub(super) out: PathBuf,
    /// The same as a table
    #[arg(long, value_name = "FILE.csv")]
    pub(super) csv: Option<PathBuf>,
    /// A page with pictures to look at
    #[arg(long, value_name = "FILE.html")]
    pub(super) report: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// Standard deviations that a cosine of 1 adds to a peak.
const INDEX_CREDIT: f64 = 1.0;

/// A number from 0 to `MOST`.
fn range_of<const MOST: u32>(text: &str) -> std::result::Result<f64, String> {
    let value: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if (0.0..=f64::from(MOST)).contains(&value) { Ok(value) } else { Err(format!("a number from 0 to {MOST} is needed")) }
}

/// A share of the scale: at most half.
fn scale_range(text: &str) -> std::result::Result<f64, String> {
    range_of::<1>(text).and_then(|v| if v <= 0.5 { Ok(v) } else { Err("0.5 is the most".into()) })
}

/// The located patches as a report's queries. Without `georeferenced` there is no truth to compare with.
pub(super) fn found(located: &Located) -> Vec<Found<'_>> {
    let one = |p| -> Found<'_> {
        let p: &crate::index::Patch = p;
        Found { sar_px: p.sar_px, matrix: located.frame.matrix_at(p.sar_px), truth_px: p.own_px, hits: &p.hits }
    };
    located.patches.iter().map(one).collect()
}

/// A database's map: the one given, which must fit, or one of the right name beside the database, if it fits.
pub(super) fn map_of(args: &Args, info: &MapInfo, database: &Path) -> Result<Option<Arc<Image>>> {
    if !args.map.is_empty() {
        let map = open_map(&args.map, args.map_no_data)?;
        check_map(info, database, &map)?;
        return Ok(Some(Arc::new(map)));
    }
    let names = if info.files.is_empty() { std::slice::from_ref(&info.name) } else { &info.files[..] };
    let beside: Vec<PathBuf> = names.iter().map(|n| args.index.with_file_name(n)).collect();
    let map = if beside.iter().all(|p| p.is_file()) { Image::open_map(&beside, args.map_no_data.options()).ok() } else { None };
    Ok(map.filter(|m| check_map(info, database, m).is_ok()).map(Arc::new))
}

/// Says what is not known of an image that does not say how it lies.
pub(super) fn warn_unoriented(frame: &Frame) {
    if !frame.oriented {
        warn(
            "the image does not say how it lies: it is taken to lie as the map does, and what is turned by some degrees may be found beside its place; try --rotation-range DEGREES (dense matching), or give it a georeference",
        );
    }
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| if n % 2 == 1 { values[n / 2] } else { f64::midpoint(values[n / 2 - 1], values[n / 2]) })
}

/// Rows of a page about how the image was cut and what it is compared with.
pub(super) fn rows(located: &Located, config: &LocateConfig, map_name: &str) -> Vec<(String, String)> {
    let frame = &located.frame;
    let mut rows = vec![
        ("Patches".into(), format!("{} of {} map pixels, every {}", located.patches.len(), config.patch, config.step)),
        (
            "SAR pixel".into(),
            format!(
                "{:.2} m, {}",
                frame.pixel_m,
                match (config.pixel_m, frame.oriented) {
                    (Some(_), true) => "given; north from its georeference",
                    (Some(_), false) if frame.flipped => "given; taken to lie as the map does, mirrored",
                    (Some(_), false) => "given; taken to lie as the map does",
                    _ => "scale and north from its georeference",
                }
            ),
        ),
    ];
    if located.no_data > 0 {
        rows.push(("Left out".into(), format!("{} patches without data in half of their pixels", located.no_data)));
    }
    if let Some(m) = config.prior_m {
        rows.push(("Prior".into(), format!("cells within {m:.0} m of its own georeference; {} patches had none", located.outside)));
    }
    rows.push(("Pictures of".into(), map_name.into()));
    rows
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let start = Instant::now();
    let outputs: Vec<&Path> =
        [Some(&args.out), args.csv.as_ref(), args.report.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    if outputs.iter().enumerate().any(|(i, p)| outputs[..i].contains(p)) {
        return Err(Error::invalid("two outputs have the same name; give each its own"));
    }
    outputs.iter().try_for_each(|p| check_output(p))?;
    args.refinement.check()?;
    let refined = args.refinement.refine != refine::Method::None || args.refinement.slide.is_some();
    if args.strip.is_some() && !refined {
        return Err(Error::invalid("--strip says which patches --refine takes together: name a method with --refine"));
    }
    match super::locate_dense::choose(args)? {
        Method::Dense | Method::Both if refined => Err(Error::invalid(
            "--refine is about cells, and dense matching finds places without them: take --method index, or leave it out",
        )),
        Method::Index => retrieval(global, args, &outputs, start),
        Method::Dense => super::locate_dense::whole(global, args, &outputs, start),
        Method::Both => super::locate_dense::around_cells(global, args, &outputs, start),
    }
}

/// Patches of a row that are refined together.
const STRIP: u32 = 5;

/// Refines the candidates of all patches, in strips along the image's rows.
fn refined(
    engine: &Engine,
    searcher: &Searcher<'_>,
    database: &Database,
    prepared: &Prepared,
    located: &mut Located,
    step: u32,
    most: usize,
) -> Result<()> {
    if prepared.is_none() {
        return Ok(());
    }
    let Prepared { method, top, slider, refiner } = prepared;
    let to_map = inverse(&located.frame.matrix);
    let strips = strips(
        &located.patches,
        step,
        most,
        |d| {
            let [x, y] = to_map.map(|row| row[0] * d[0] + row[1] * d[1]);
            database.metres([x, y])
        },
        located.frame.scale(),
    );
    let hits: Vec<_> = located.patches.iter().map(|p| p.hits.clone()).collect();
    let request = refine::Request {
        searcher,
        database,
        queries: &located.vectors,
        hits: &hits,
        strips: &strips,
        top: *top,
        slider: slider.as_ref(),
        refiner: refiner.as_ref(),
    };
    let all = refine::refine(engine, *method, &request)?;
    located.patches.iter_mut().zip(all).for_each(|(p, h)| p.hits = h);
    Ok(())
}

/// Runs of up to `most` neighbours along the image's rows, `step` map pixels apart; `metres` is what an offset in SAR pixels is on the map,
/// `scale` SAR pixels a map pixel.
fn strips(patches: &[Patch], step: u32, most: usize, metres: impl Fn([f64; 2]) -> [f64; 2], scale: f64) -> Vec<Strip> {
    let apart = 1.5 * f64::from(step) * scale;
    let mut out: Vec<Strip> = Vec::new();
    for (i, p) in patches.iter().enumerate() {
        if let Some(last) = out.last_mut().filter(|s| s.queries.len() < most) {
            let (first, before) = (patches[last.queries.start].sar_px, patches[i - 1].sar_px);
            if before[1] == p.sar_px[1] && (p.sar_px[0] - before[0]).abs() <= apart {
                last.queries.end = i + 1;
                last.offsets_m.push(metres([p.sar_px[0] - first[0], p.sar_px[1] - first[1]]));
                continue;
            }
        }
        out.push(Strip { queries: i..i + 1, offsets_m: vec![[0.0; 2]] });
    }
    out
}

/// By the index alone.
fn retrieval(global: &Global, args: &Args, outputs: &[&Path], start: Instant) -> Result<()> {
    let database = Database::open(&args.index)?;
    let model = args.dense.what.encoder(args.model.as_deref())?;
    database.check_model(&model.hash, &model.path)?;
    let sar = Arc::new(args.reading.open(&args.sar)?);
    let map = if args.report.is_some() { map_of(args, &database.manifest.map, &database.path)? } else { None };
    let cell = database.manifest.grid.cell;
    let patch = args.dense.patch.unwrap_or(cell);
    let (shown, step) = (args.top as usize, args.step.unwrap_or(patch));
    let mut config =
        LocateConfig { patch, step, top: shown, pixel_m: args.pixel_size, prior_m: args.prior, mirrored: args.mirror.mirrored };
    if patch != cell {
        warn(format_args!("patches of {patch} map pixels are looked up among cells of {cell}; --patch {cell} finds more"));
    }
    let engine = global.engine()?;
    // The pipelines of both are made side by side.
    let (embedder, prepared) = rayon::join(|| model.embedder(&engine, args.batch as usize), || args.refinement.prepare(&engine, &model));
    let (embedder, prepared) = (embedder?, prepared?);
    let searcher = Searcher::new(&engine, &database, RESIDENT_BYTES)?;
    config.top = shown.max(prepared.depth());
    let bar = global.bar(0, "locating");
    let mut located = locate(&embedder, &database, &searcher, &sar, &config, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    warn_unoriented(&located.frame);
    let begun = Instant::now();
    refined(&engine, &searcher, &database, &prepared, &mut located, config.step, args.strip.unwrap_or(STRIP) as usize)?;
    let refine_s = begun.elapsed().as_secs_f64();
    let found = found(&located);
    let side = f64::from(patch);
    let mut fixes = fixes(&database, &found, side, shown)?;
    geojson::write(&args.out, &fixes)?;
    if let Some(path) = &args.csv {
        csv::write_fixes(path, &fixes)?;
    }
    let off = median(fixes.iter().filter_map(Fix::error_m).collect());
    if let Some(path) = &args.report {
        add_pictures(global, &mut fixes, &found, side, &sar, map.as_deref())?;
        let name = match &map {
            Some(m) => name_of(m.raster.path()),
            None => format!("SAR patches only: the map {} was not found beside the index; name it with --map", database.manifest.map.name),
        };
        let mut rows = rows(&located, &config, &name);
        if let Some(off) = off {
            rows.push((
                "Compared with".into(),
                format!("the SAR image's own georeference, which was not used to find the place: median distance {off:.0} m"),
            ));
            if config.prior_m.is_some() {
                rows.last_mut().expect("pushed").1 =
                    format!("the SAR image's own georeference, which limited the search: median distance {off:.0} m");
            }
        }
        let meta = meta(
            &format!("Where {} was taken", name_of(&args.sar)),
            &database.manifest.map.name,
            &name_of(&args.sar),
            model_name(&model),
            &engine.adapter().to_string(),
            rows,
        );
        let overview = map.as_ref().map(|m| overview(global, m)).transpose()?;
        Page { overview: overview.as_ref(), ..Page::new(&meta, &fixes) }.write(path)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let right = fixes.iter().filter(|f| f.right() == Some(true)).count();
    if args.json {
        return print_json(&serde_json::json!({
            "method": "index", "out": args.out, "fixes": fixes.len(), "no_data": located.no_data, "outside_prior": located.outside,
            "pixel_m": located.frame.pixel_m, "mirrored": located.frame.flipped, "patch": config.patch, "step": config.step,
            "own_georeference": off.map(|m| serde_json::json!({ "median_distance_m": m, "within_half_a_cell": right, "used": config.prior_m.is_some() })),
            "refine": prepared.method, "seconds": { "encode": located.encode_s, "search": located.search_s, "refine": refine_s, "all": seconds },
            "model": model.hash, "precision": model.precision(), "adapter": engine.adapter().to_string(), "command": command_line(),
        }));
    }
    out_raw!("{} patches located", fixes.len());
    for (count, why) in [(located.no_data, "without enough data"), (located.outside, "without a cell within the prior")] {
        if count > 0 {
            out_raw!(", {count} {why} left out");
        }
    }
    out!(
        "; {seconds:.1} s (encoding {:.1} s: {:.0} patches/s, search {:.2} s)",
        located.encode_s,
        located.patches.len() as f64 / located.encode_s.max(1e-9),
        located.search_s
    );
    if let Some(off) = off {
        let used = if config.prior_m.is_some() { "which limited the search" } else { "not used to find the place" };
        out!("by its own georeference ({used}): {right} of {} in the right cell, median distance {off:.0} m", fixes.len());
    }
    outputs.iter().for_each(|p| out!("wrote {}", p.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::sampler::PatchRecord;

    #[test]
    fn strips_end_at_rows_gaps_and_their_length() {
        let at = |x: f64, y: f64| Patch { sar_px: [x, y], record: PatchRecord::empty(), own_px: None, hits: Vec::new() };
        // Patches every 200 map pixels are 400 SAR pixels apart.
        let patches: Vec<Patch> = [0.0, 400.0, 800.0, 1200.0, 2000.0].map(|x| at(x, 0.0)).into_iter().chain([at(2400.0, 400.0)]).collect();
        let all = strips(&patches, 200, 3, |d| d.map(|v| v / 2.0), 2.0);
        let ranges: Vec<_> = all.iter().map(|s| s.queries.clone()).collect();
        assert_eq!(ranges, [0..3, 3..4, 4..5, 5..6]);
        assert_eq!(all[0].offsets_m, [[0.0, 0.0], [200.0, 0.0], [400.0, 0.0]]);
    }
}
