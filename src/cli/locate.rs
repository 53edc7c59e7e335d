//! `echogrid locate`.

use super::common::{Global, Unit, check_output, command_line, name_of, print_json};
use super::present::{Found, add_pictures, check_map, fixes, meta, overview};
use crate::index::{Database, LoadedModel, LocateConfig, Located, RESIDENT_BYTES, Searcher, locate};
use crate::report::{Fix, csv, geojson, html::Page};
use crate::scene::Image;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Find where on an indexed map a SAR image was taken
///
/// The image is cut into patches at the map's scale, and each is looked up in the database. Its own georeference is not used
/// to find the place (unless --prior says so): only the size of its pixels and the direction of north are taken from it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Database that `echogrid index` wrote
    #[arg(long, value_name = "DB")]
    index: PathBuf,
    /// SAR image
    #[arg(long, value_name = "SAR")]
    sar: PathBuf,
    /// Model the database was made with [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Side of a patch, pixels of the map [default: the index's cell]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    patch: Option<u32>,
    /// Distance between patches, pixels of the map [default: the patch]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
    /// Candidates kept for each patch
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Size of a SAR pixel on the ground [default: from the image's georeference; needed where it has none]
    #[arg(long, value_name = "METRES")]
    pixel_size: Option<f64>,
    /// Search only cells within this distance of where the image's own, rough georeference puts each patch
    #[arg(long, value_name = "METRES")]
    prior: Option<f64>,
    /// What the SAR values measure [default: guessed]
    #[arg(long, value_enum)]
    sar_unit: Option<Unit>,
    /// Patches encoded at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// The map, for the report's pictures [default: the file of the map's name beside DB, if it is there]
    #[arg(long, value_name = "MAP")]
    map: Option<PathBuf>,
    /// Fixes to write, GeoJSON: footprint, longitude and latitude, score, candidates
    #[arg(long, value_name = "FIXES.geojson")]
    out: PathBuf,
    /// The same as a table
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// A page with pictures to look at
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// The located patches as a report's queries. Without `georeferenced` there is no truth to compare with.
pub(super) fn found(located: &Located) -> Vec<Found<'_>> {
    let one = |p| -> Found<'_> {
        let p: &crate::index::Patch = p;
        Found { sar_px: p.sar_px, matrix: located.frame.matrix, truth_px: p.own_px, hits: &p.hits }
    };
    located.patches.iter().map(one).collect()
}

/// The map to cut pictures from: the one given, which must fit, or one of the right name beside the database, if it fits.
fn picture_map(args: &Args, database: &Database) -> Result<Option<Image>> {
    if let Some(path) = &args.map {
        let map = Image::map(path)?;
        check_map(&database.manifest.map, &database.path, &map)?;
        return Ok(Some(map));
    }
    let beside = args.index.with_file_name(&database.manifest.map.name);
    let map = if beside.is_file() { Image::map(&beside).ok() } else { None };
    Ok(map.filter(|m| check_map(&database.manifest.map, &database.path, m).is_ok()))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
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
    let database = Database::open(&args.index)?;
    let model = LoadedModel::load(args.model.as_deref())?;
    database.check_model(&model.hash, &model.path)?;
    let sar = Arc::new(Image::sar(&args.sar, args.sar_unit.map(Into::into))?);
    let map = if args.report.is_some() { picture_map(args, &database)? } else { None };
    let cell = database.manifest.grid.cell;
    let patch = args.patch.unwrap_or(cell);
    let config =
        LocateConfig { patch, step: args.step.unwrap_or(patch), top: args.top as usize, pixel_m: args.pixel_size, prior_m: args.prior };
    if patch != cell {
        eprintln!("warning: patches of {patch} map pixels are looked up among cells of {cell}; --patch {cell} finds more");
    }
    let engine = global.engine()?;
    let embedder = model.embedder(&engine, args.batch as usize)?;
    let searcher = Searcher::new(&engine, &database, RESIDENT_BYTES)?;
    let bar = global.bar(0, "locating");
    let located = locate(&embedder, &database, &searcher, &sar, &config, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let found = found(&located);
    let side = f64::from(patch);
    let mut fixes = fixes(&database, &found, side, config.top)?;
    geojson::write(&args.out, &fixes)?;
    if let Some(path) = &args.csv {
        csv::write_fixes(path, &fixes)?;
    }
    let off = median(fixes.iter().filter_map(Fix::error_m).collect());
    if let Some(path) = &args.report {
        add_pictures(global, &mut fixes, &found, side, &sar, map.as_ref())?;
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
            &model,
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
            "out": args.out, "fixes": fixes.len(), "no_data": located.no_data, "outside_prior": located.outside,
            "pixel_m": located.frame.pixel_m, "patch": config.patch, "step": config.step,
            "own_georeference": off.map(|m| serde_json::json!({ "median_distance_m": m, "within_half_a_cell": right, "used": config.prior_m.is_some() })),
            "seconds": { "encode": located.encode_s, "search": located.search_s, "all": seconds },
            "model": model.hash, "adapter": engine.adapter().to_string(), "command": command_line(),
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
