//! `echogrid register`.

use super::common::{Global, MapArgs, MirrorArgs, SarArgs, check_file, check_output, check_regular, command_line, name_of, print_json};
use super::dense_args::FeatureArgs;
use super::present::{Averaged, NO_DATA, averaged, features_name, meta, overview};
use crate::dense::DenseModel;
use crate::dense::FeatureKind;
use crate::register::{DenseFinder, Extent, ModelKind, RegisterConfig, Registration, Round, extent_px, register, write_on_map};
use crate::report::registration::RegistrationPage;
use crate::report::{Thumb, Tie, csv, figures, geojson, write_atomically};
use crate::scene::{Image, MapInfo, Radiometry, inverse};
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Kind of transform.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModelArg {
    /// Similarity or affine: whichever predicts better where there are no fixes
    Auto,
    /// Shift, rotation and one scale
    Similarity,
    /// Shift, rotation, scales and shear
    Affine,
    /// Degree 2: follows a bend
    Polynomial2,
    /// Degree 3
    Polynomial3,
}

impl ModelArg {
    fn kind(self) -> Option<ModelKind> {
        match self {
            Self::Auto => None,
            Self::Similarity => Some(ModelKind::Similarity),
            Self::Affine => Some(ModelKind::Affine),
            Self::Polynomial2 => Some(ModelKind::Polynomial2),
            Self::Polynomial3 => Some(ModelKind::Polynomial3),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExtentArg {
    /// All of the map
    Map,
    /// As much of it as the image covers
    Sar,
}

/// Register a SAR image to a map: bring it onto the map's pixels
///
/// Some large patches of the image are sought over the whole map; where enough of them agree, many smaller ones are sought near by, and
/// a transform is fitted through all that agree. The image is written resampled onto the map's grid. Its own georeference is not used to
/// find the place: only the size of its pixels and the direction of north are taken from it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    map: MapArgs,
    /// SAR image
    #[arg(long, value_name = "SAR")]
    sar: PathBuf,
    /// Registered image to write, GeoTIFF on the map's grid
    #[arg(long, value_name = "SAR_ON_MAP.tif")]
    out: PathBuf,
    /// Transform to fit
    #[arg(long, value_enum, default_value_t = ModelArg::Auto)]
    model: ModelArg,
    #[command(flatten)]
    what: FeatureArgs,
    /// Side of the patches sought over the whole map, pixels of the map
    #[arg(long, value_name = "PX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=4096))]
    coarse_patch: u32,
    /// How many of them at most
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    coarse_fixes: u32,
    /// Side of the patches sought near by, pixels of the map
    #[arg(long, value_name = "PX", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
    patch: u32,
    /// How many of them at most
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(6..=100_000))]
    fixes: u32,
    /// How near: the distance from where the large patches put them
    #[arg(long, value_name = "METRES", default_value_t = 400.0)]
    reach: f64,
    /// Rotations to try where the image is not found as its georeference turns it
    #[arg(long, value_name = "DEGREES", value_delimiter = ',', allow_negative_numbers = true, default_value = "-3,0,3")]
    rotations: Vec<f64>,
    /// Factors of the image's scale to try with them
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', default_value = "1")]
    scales: Vec<f64>,
    /// Size of a SAR pixel on the ground [default: from the image's georeference; needed where it has none]
    #[arg(long, value_name = "METRES")]
    pixel_size: Option<f64>,
    #[command(flatten)]
    reading: SarArgs,
    #[command(flatten)]
    mirror: MirrorArgs,
    /// Part of the map's grid to write
    #[arg(long, value_enum, default_value_t = ExtentArg::Map)]
    extent: ExtentArg,
    /// Patches correlated at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    at_once: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A page with the fit, its residuals, and map and image in alternating squares
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// The tie points as a table, or as GeoJSON where the name ends in .geojson or .json
    #[arg(long, value_name = "FILE.csv")]
    points: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Longest side of the picture of the whole, pixels.
const WHOLE: u32 = 1600;
/// Squares along its longest side.
const WHOLE_SQUARES: u32 = 14;
/// Side of the pictures of parts, map pixels.
const PART: u32 = 400;
/// Squares along it.
const PART_SQUARES: u32 = 5;

/// The tie points with their places.
fn ties(map: &MapInfo, found: &Registration) -> Result<Vec<Tie>> {
    let (geo, crs) = map.georeference()?;
    let fit = &found.fit;
    let digits = found.points.len().to_string().len().max(3);
    let mut out = Vec::with_capacity(found.points.len());
    for (i, p) in found.points.iter().enumerate() {
        let center_map: [f64; 2] = geo.pixel_to_map(p.map_px[0], p.map_px[1]).into();
        let residual_px = fit.residual_px[i];
        out.push(Tie {
            id: format!("t{:0digits$}", i + 1),
            sar_px: p.sar_px,
            map_px: p.map_px,
            center_map,
            lonlat: crs.to_lonlat(center_map[0], center_map[1])?.into(),
            residual_px,
            residual_m: residual_px[0].hypot(residual_px[1]) * found.map_pixel_m,
            held_out_m: fit.held_out_px[i] * found.map_pixel_m,
            weight: p.weight,
            used: fit.inlier[i],
        });
    }
    Ok(out)
}

/// Where the image lies, in a sentence.
fn words(found: &Registration) -> String {
    let pose = &found.pose;
    let side = |v: f64, [more, less]: [&str; 2]| format!("{:.0} m {}", v.abs(), if v < 0.0 { less } else { more });
    let lies = match pose.shift_m {
        Some([east, north]) => {
            format!("lies {} and {} of where its georeference puts it, ", side(east, ["east", "west"]), side(north, ["north", "south"]))
        }
        None => "is ".into(),
    };
    let [large, small] = pose.scale;
    let scale = if large - small < 5e-5 { format!("{:.4}", large) } else { format!("{small:.4} to {large:.4}") };
    let turn = if pose.rotation_deg < 0.0 { "anticlockwise" } else { "clockwise" };
    format!("The image {lies}turned {:.2}° {turn} and scaled by {scale}", pose.rotation_deg.abs())
}

/// Rows of the page's table.
fn rows(found: &Registration) -> Vec<[String; 3]> {
    let fit = &found.fit;
    let m = found.map_pixel_m;
    let length = |px: f64| format!("{px:.2} px, {:.1} m", px * m);
    let row = |a: &str, b: String, c: String| [a.to_string(), b, c];
    let mut rows = vec![
        row("Transform", fit.model.kind.name().into(), format!("{} numbers, from map to SAR pixels", fit.model.kind.numbers())),
        row(
            "Tie points",
            format!("{} of {}", fit.inliers(), found.sought),
            format!("agree; by chance 1 in 10^{:.0} such transforms would have as many", -fit.chance_log10),
        ),
        row("Residual, median", length(fit.median_px()), "of the points it rests on".into()),
        row("Residual, root mean square", length(fit.rms_px()), String::new()),
        row(
            "Left out, median",
            length(fit.held_out_median_px()),
            "of fits that each leave a point out: much above the residual, the transform has too many numbers".into(),
        ),
        row("Left out, root mean square", length(fit.held_out_rms_px()), String::new()),
    ];
    let pose = &found.pose;
    if let Some([east, north]) = pose.shift_m {
        rows.push(row("Shift", format!("{east:.1} m, {north:.1} m"), "east and north of where its georeference puts its middle".into()));
    }
    let than = if found.frame.own.is_some() { "its georeference says" } else { "the map lies" };
    rows.push(row("Rotation", format!("{:.3}°", pose.rotation_deg), format!("clockwise, against what {than}")));
    rows.push(row(
        "Scale",
        format!("{:.5}, {:.5}", pose.scale[0], pose.scale[1]),
        format!("largest and smallest factor against its pixels of {:.2} m", found.frame.pixel_m),
    ));
    rows.push(row(
        "First patches",
        format!("{} of {}", found.coarse.agreeing, found.coarse.patches),
        format!("agree over the whole map; {} ways to turn and scale them were tried", found.coarse.variants),
    ));
    let middle = fit.model.centre;
    let names = ["1", "u", "v", "u²", "uv", "v²", "u³", "u²v", "uv²", "v³"];
    for (axis, coefficients) in ["SAR x", "SAR y"].iter().zip(&fit.model.coefficients) {
        let terms: Vec<String> =
            coefficients.iter().zip(names).map(|(c, n)| if n == "1" { format!("{c:.4}") } else { format!("{c:+.5} {n}") }).collect();
        rows.push(row(axis, terms.join(" "), String::new()));
    }
    rows.push(row(
        "u, v",
        format!("(x - {:.2}) / {s:.3}, (y - {:.2}) / {s:.3}", middle[0], middle[1], s = fit.model.scale),
        "of map pixels x, y".into(),
    ));
    rows
}

/// Map and image in alternating squares; where the image has no data, the map.
fn checkerboard(map: &Averaged, sar: &Averaged, squares: u32) -> Result<Thumb> {
    let (w, h) = (map.width, map.height);
    let side = (w.max(h) as u32).div_ceil(squares).max(1) as usize;
    let mut rgb = Vec::with_capacity(3 * w * h);
    for i in 0..w * h {
        let (x, y) = (i % w, i / w);
        let (a, b) = (map.pixels[i], sar.pixels.get(i).copied().unwrap_or_default());
        let first = if (x / side + y / side) % 2 == 1 { b } else { a };
        let shown = [first, a, b].into_iter().find(|p| p[3] > 0.0);
        rgb.extend([0, 1, 2].map(|d| shown.map_or(NO_DATA, |p| (255.0 * p[d]).round() as u8)));
    }
    Ok(Thumb::new(w as u32, h as u32, rgb)?)
}

/// What a page shows.
struct Shown<'a> {
    global: &'a Global,
    args: &'a Args,
    map: &'a Image,
    info: &'a MapInfo,
    sar: &'a Image,
    model: &'a DenseModel,
    found: &'a Registration,
    ties: &'a [Tie],
    /// What was written of the map's grid: left, top, width, height.
    written: [u32; 4],
}

/// Pictures of the whole and of some parts.
fn checkerboards(shown: &Shown<'_>) -> Result<Vec<(String, Thumb)>> {
    let Shown { global, args, map, info, sar, found, written, .. } = *shown;
    let unit = match sar.standardisation.radiometry {
        Radiometry::Sar { unit, .. } => Some(unit),
        Radiometry::Optical => None,
    };
    let registered = Image::sar(&args.out, unit)?;
    let size = [sar.raster.width(), sar.raster.height()];
    let area = extent_px(Extent::Sar, info, size, &found.fit.model)?;
    let both = |[left, top, w, h]: [u32; 4], longest: u32, squares: u32| -> Result<Thumb> {
        let shift = [i64::from(left) - i64::from(written[0]), i64::from(top) - i64::from(written[1])];
        let a = averaged(global, map, [i64::from(left), i64::from(top)], [w, h], longest)?;
        let b = averaged(global, &registered, shift, [w, h], longest)?;
        checkerboard(&a, &b, squares)
    };
    let mut out = vec![("The whole image on the map".to_string(), both(area, WHOLE, WHOLE_SQUARES)?)];
    // About points that agree, spread over the image.
    let side = PART.min(area[2]).min(area[3]);
    let mut placed: Vec<[f64; 2]> = Vec::new();
    for (fx, fy) in [(0.3, 0.3), (0.7, 0.35), (0.5, 0.7)] {
        let aim = [f64::from(area[0]) + fx * f64::from(area[2]), f64::from(area[1]) + fy * f64::from(area[3])];
        let far = |p: &[f64; 2]| placed.iter().all(|q| (p[0] - q[0]).abs().max((p[1] - q[1]).abs()) > f64::from(side));
        let points = found.points.iter().zip(&found.fit.inlier).filter(|(_, i)| **i).map(|(p, _)| p.map_px).filter(far);
        let off = |p: &[f64; 2]| (p[0] - aim[0]).hypot(p[1] - aim[1]);
        let Some(p) = points.min_by(|a, b| off(a).total_cmp(&off(b))) else { continue };
        placed.push(p);
        let corner = |d: usize| {
            let (from, room) = (f64::from(area[d]), f64::from(area[d + 2] - side));
            (p[d] - f64::from(side) / 2.0 - from).clamp(0.0, room) as u32 + area[d]
        };
        let caption = format!("{side} x {side} map pixels about {:.0}, {:.0}", p[0], p[1]);
        out.push((caption, both([corner(0), corner(1), side, side], PART, PART_SQUARES)?));
    }
    Ok(out)
}

fn write_page(shown: &Shown<'_>, path: &Path, adapter: &str) -> Result<()> {
    let Shown { global, args, map, model, found, ties, written, .. } = *shown;
    let fit = &found.fit;
    let used = |values: Vec<f64>| -> Vec<f64> { values.into_iter().zip(&fit.inlier).filter(|(_, i)| **i).map(|(v, _)| v).collect() };
    let residuals = used(fit.residual_px.iter().map(|r| r[0].hypot(r[1])).collect());
    let histogram = figures::residual_histogram(&residuals, &used(fit.held_out_px.clone()))?;
    let figures = [("Residuals of the points the fit rests on; the line: of fits that each leave the point out".to_string(), histogram)];
    let checkerboards = checkerboards(shown)?;
    let overview = overview(global, map)?;
    let (map_name, sar_name) = (args.map.name(), name_of(&args.sar));
    let [left, top, w, h] = written;
    let about = vec![("Written".into(), format!("{}: {w}x{h} px of the map's grid from {left}, {top}", name_of(&args.out)))];
    let meta = meta(&format!("{sar_name} registered to {map_name}"), &map_name, &sar_name, features_name(model), adapter, about);
    let lead = format!("{}; {} of {} fixes agree.", words(found), fit.inliers(), found.sought);
    let page = RegistrationPage {
        meta: &meta,
        lead: &lead,
        table: &rows(found),
        overview: &overview,
        ties,
        figures: &figures,
        checkerboards: &checkerboards,
    };
    Ok(page.write(path)?)
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let start = Instant::now();
    let outputs: Vec<&Path> =
        [Some(&args.out), args.report.as_ref(), args.points.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    if outputs.iter().enumerate().any(|(i, p)| outputs[..i].contains(p)) {
        return Err(Error::invalid("two outputs have the same name; give each its own"));
    }
    if args.map.map.iter().chain([&args.sar]).any(|input| outputs.contains(&input.as_path())) {
        return Err(Error::invalid("an output has the name of an input; give it its own"));
    }
    // The report reads the image again.
    if args.report.is_some() {
        check_regular(&args.out)?
    } else {
        check_file(&args.out)?
    }
    outputs[1..].iter().try_for_each(|p| check_output(p))?;
    let map = Arc::new(args.map.open()?);
    let sar = Arc::new(args.reading.open(&args.sar)?);
    let model = args.what.model(FeatureKind::Structure)?;
    let config = RegisterConfig {
        kind: args.model.kind(),
        coarse_patch: args.coarse_patch,
        coarse_fixes: args.coarse_fixes as usize,
        patch: args.patch,
        fixes: args.fixes as usize,
        reach_m: args.reach,
        rotations: args.rotations.clone(),
        scales: args.scales.clone(),
        pixel_m: args.pixel_size,
        mirrored: args.mirror.mirrored,
        seed: args.seed,
    };
    let engine = global.engine()?;
    let mut finder = DenseFinder::new(&engine, &model, map.clone(), sar.clone(), args.at_once)?;
    let info = finder.info().clone();
    let transform = Instant::now();
    let bar = global.bar(0, "map");
    finder.transform_map(args.coarse_patch, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let transform_s = transform.elapsed().as_secs_f64();
    let bars = [global.bar(0, "placing"), global.bar(0, "fixes")];
    let found = register(&info, &sar, &mut finder, &config, |round, done, total| {
        let bar = &bars[usize::from(round == Round::Fine)];
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bars.iter().for_each(super::common::Progress::finish_and_clear);
    let extent = match args.extent {
        ExtentArg::Map => Extent::Map,
        ExtentArg::Sar => Extent::Sar,
    };
    let written = extent_px(extent, &info, [sar.raster.width(), sar.raster.height()], &found.fit.model)?;
    let warp = Instant::now();
    let bar = global.bar(u64::from(written[3]), "writing");
    write_on_map(&info, &sar, &found.fit.model, written, &args.out, |rows, _| bar.set_position(u64::from(rows)))?;
    bar.finish_and_clear();
    let warp_s = warp.elapsed().as_secs_f64();
    let ties = ties(&info, &found)?;
    if let Some(path) = &args.points {
        match path.extension().and_then(|e| e.to_str()) {
            Some("geojson" | "json") => geojson::write_ties(path, &ties)?,
            _ => write_atomically(path, csv::ties(&ties)?.as_bytes())?,
        }
    }
    if let Some(path) = &args.report {
        let shown = Shown { global, args, map: &map, info: &info, sar: &sar, model: &model, found: &found, ties: &ties, written };
        write_page(&shown, path, &engine.adapter().to_string())?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (fit, m) = (&found.fit, found.map_pixel_m);
    if args.json {
        let lengths = |scale: f64| {
            serde_json::json!({
                "median": fit.median_px() * scale, "rms": fit.rms_px() * scale,
                "held_out_median": fit.held_out_median_px() * scale, "held_out_rms": fit.held_out_rms_px() * scale,
            })
        };
        let affine = (fit.model.kind.degree() == 1).then(|| {
            let at = |matrix: [[f64; 2]; 2], from: [f64; 2], to: [f64; 2]| {
                [0, 1].map(|d| [matrix[d][0], matrix[d][1], to[d] - matrix[d][0] * from[0] - matrix[d][1] * from[1]])
            };
            let (centre, matrix) = (fit.model.centre, fit.model.derivative(fit.model.centre));
            let place = fit.model.to_sar(centre);
            serde_json::json!({ "map_to_sar": at(matrix, centre, place), "sar_to_map": at(inverse(&matrix), place, centre) })
        });
        return print_json(&serde_json::json!({
            "out": args.out, "written_px": written, "model": fit.model, "affine": affine,
            "fixes": { "sought": found.sought, "found": found.points.len(), "used": fit.inliers(), "chance_log10": fit.chance_log10 },
            "first": { "patches": found.coarse.patches, "agreeing": found.coarse.agreeing, "chance_log10": found.coarse.chance_log10,
                "variants": found.coarse.variants },
            "residual_px": lengths(1.0), "residual_m": lengths(m), "map_pixel_m": m, "mirrored": found.frame.flipped,
            "against_own_georeference": found.pose,
            "features": model.name(), "precision": model.precision(), "adapter": engine.adapter().to_string(), "command": command_line(),
            "seconds": { "map": transform_s, "first": found.seconds[0], "fixes": found.seconds[1], "write": warp_s, "all": seconds },
        }));
    }
    out!("{} of {} fixes agree ({} transform); {seconds:.1} s", fit.inliers(), found.sought, fit.model.kind.name());
    out!("{}", words(&found));
    out!(
        "residual: median {:.2} px ({:.1} m), root mean square {:.2} px; left out: {:.2} px and {:.2} px",
        fit.median_px(),
        fit.median_px() * m,
        fit.rms_px(),
        fit.held_out_median_px(),
        fit.held_out_rms_px()
    );
    outputs.iter().for_each(|p| out!("wrote {}", p.display()));
    Ok(())
}
