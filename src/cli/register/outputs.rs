//! The files of `echogrid register`.

use super::args::Args;
use crate::cli::common::{Global, check_apart, check_file, check_output, check_regular, name_of, warn, warn_of};
use crate::register::{Registration, Relief, best_affine, heights, relief as follow, write_on_map};
use crate::report::{Tie, csv, geojson, registered, stac, write_atomically};
use crate::scene::points::{self as control, PointsFormat, PointsOf};
use crate::scene::{MapInfo, OpenOptions, Raster};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What is written.
pub(super) struct Outputs {
    /// Further images to bring onto the map, and the files for them.
    pub(super) apply: Vec<(Raster, PathBuf)>,
    pub(super) stac: Option<PathBuf>,
}

/// Whether a name ends as a TIFF's does.
fn is_tif(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tif") || e.eq_ignore_ascii_case("tiff"))
}

impl Outputs {
    /// Checks names and folders, and that further images have the size of the first, before long work starts.
    pub(super) fn new(args: &Args) -> Result<Self> {
        args.points.iter().try_for_each(|p| PointsFormat::of(p).map(drop))?;
        if !PointsFormat::of(&args.out).is_ok_and(|f| f == PointsFormat::Tiff) {
            return Err(Error::invalid(format!(
                "{}: what is written on the map's grid is a GeoTIFF, whose name ends in .tif or .tiff; control points, and the untouched image with them (.vrt, .tif), go to --points",
                args.out.display()
            )));
        }
        let folder = args.apply_to.as_deref().or(args.out.parent()).unwrap_or(Path::new(""));
        if let Some(folder) = &args.apply_to {
            std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, format!("this folder cannot be made ({e}); name another")))?;
        }
        let options = OpenOptions { no_data: args.reading.no_data, ..OpenOptions::default() };
        let size = |r: &Raster| [r.width(), r.height()];
        let mut apply = Vec::new();
        if !args.apply.is_empty() {
            let first = size(&options.open(&args.sar)?);
            for path in &args.apply {
                let raster = options.open(path)?;
                warn_of(&raster);
                if size(&raster) != first {
                    let ([w, h], [w1, h1]) = (size(&raster), first);
                    return Err(Error::file(
                        path,
                        format!(
                            "has {w}x{h} px, and the image that is registered {w1}x{h1}: --apply takes images of the same geometry, pixel for pixel"
                        ),
                    ));
                }
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                apply.push((raster, folder.join(format!("{stem}_on_map.tif"))));
            }
        }
        let out = Self { apply, stac: args.stac.then(|| args.out.with_extension("json")) };
        let mut all: Vec<PathBuf> = out.all(args).map(Path::to_path_buf).collect();
        // A world file has its system beside it.
        all.extend(
            args.points.iter().filter(|p| PointsFormat::of(p).is_ok_and(|f| f == PointsFormat::World)).map(|p| p.with_extension("prj")),
        );
        let named: Vec<&Path> = all.iter().map(PathBuf::as_path).collect();
        check_apart(&named, args.map.map.iter().chain([&args.sar]).chain(&args.apply).chain(&args.dem).map(PathBuf::as_path))?;
        // GDAL takes a world file for the place of what lies beside it, whatever tie points that holds.
        let stem = |p: &PathBuf| p.with_extension("");
        let world = args.points.iter().find(|p| PointsFormat::of(p).is_ok_and(|f| f == PointsFormat::World));
        if let Some((w, tif)) = world.and_then(|w| Some((w, args.points.iter().find(|p| *p != w && is_tif(p) && stem(p) == stem(w))?))) {
            let (w, tif) = (w.display(), tif.display());
            return Err(Error::invalid(format!(
                "{w} would be taken for the place of {tif}, which holds tie points: give them other names"
            )));
        }
        if let Some(dem) = &args.dem {
            Raster::open(dem)?;
        }
        // The report reads the image again.
        let image = if args.report.is_some() { check_regular } else { check_file };
        let is_image = |p: &Path| p == args.out || is_tif(p);
        all.iter().try_for_each(|p| if is_image(p) { image(p) } else { check_output(p) })?;
        Ok(out)
    }

    /// All of them.
    pub(super) fn all<'a>(&'a self, args: &'a Args) -> impl Iterator<Item = &'a Path> {
        let applied = self.apply.iter().map(|(_, p)| p);
        [&args.out].into_iter().chain(applied).chain(&args.report).chain(&args.points).chain(&self.stac).map(PathBuf::as_path)
    }
}

/// Where images are written.
pub(super) struct Place<'a> {
    pub(super) global: &'a Global,
    pub(super) info: &'a MapInfo,
    pub(super) found: &'a Registration,
    /// Of the map's grid: left, top, width, height.
    pub(super) written: [u32; 4],
    pub(super) about: &'a [(String, String)],
}

impl Place<'_> {
    /// Writes an image on the map's grid.
    pub(super) fn image(&self, raster: &Raster, path: &Path) -> Result<()> {
        let bar = self.global.bar(u64::from(self.written[3]), "writing");
        write_on_map(self.info, raster, &self.found.fit.model, self.written, path, self.about, |rows, _| {
            bar.set_position(u64::from(rows))
        })?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Writes the STAC item of all that was written.
    pub(super) fn stac(&self, args: &Args, sar: &Raster, outputs: &Outputs, path: &Path) -> Result<()> {
        let (geo, crs) = self.info.georeference()?;
        let [left, top, w, h] = self.written;
        let keys: Vec<String> = (1..).map(|i| i.to_string()).take(args.points.len() + outputs.apply.len()).collect();
        let name = |i: usize, what: &str| if i == 0 { what.to_string() } else { format!("{what}_{}", keys[i]) };
        let applied: Vec<String> = (0..outputs.apply.len()).map(|i| name(i, "applied")).collect();
        let points: Vec<String> = (0..args.points.len()).map(|i| name(i, "points")).collect();
        let mut assets = vec![stac::Asset { key: "data", path: &args.out, role: "data" }];
        assets.extend(applied.iter().zip(&outputs.apply).map(|(key, (_, path))| stac::Asset { key, path, role: "data" }));
        assets.extend(points.iter().zip(&args.points).map(|(key, path)| stac::Asset { key, path, role: "metadata" }));
        assets.extend(args.report.iter().map(|path| stac::Asset { key: "report", path, role: "overview" }));
        let about = self.about.iter().filter(|(name, _)| name != "ECHOGRID_COMMAND");
        let item = stac::Item {
            id: &args.out.file_stem().unwrap_or_default().to_string_lossy(),
            title: format!("{} registered to {}", name_of(&args.sar), args.map.name()),
            source: &args.sar,
            outline: registered::outline(self.info, self.found, [sar.width(), sar.height()], self.written)?,
            epsg: crs.epsg(),
            geo: geo.offset(f64::from(left), f64::from(top)),
            size: [w, h],
            about: about.map(|(name, value)| (name.to_lowercase().replacen('_', ":", 1), value.clone().into())).collect(),
            assets,
        };
        Ok(stac::write(path, &item)?)
    }
}

/// Adds heights to the tie points, and says how residuals follow them; a warning where they say too little.
pub(super) fn relief(dem: &Path, info: &MapInfo, found: &Registration, ties: &mut [Tie]) -> Result<Option<Relief>> {
    let dem = OpenOptions::default().open(dem)?;
    warn_of(&dem);
    let all = heights(info, found, &dem)?;
    ties.iter_mut().zip(&all).for_each(|(t, h)| t.height_m = *h);
    Ok(follow(info, found, &all).map_err(|e| warn(format_args!("{}: {e}", dem.path().display()))).ok())
}

/// Writes the tie points in the formats asked for, and says what is left out.
pub(super) fn points(files: &[PathBuf], info: &MapInfo, image: &Raster, found: &Registration, ties: &[Tie]) -> Result<()> {
    for path in files {
        match PointsFormat::of(path)? {
            PointsFormat::GeoJson => geojson::write_ties(path, ties)?,
            PointsFormat::Csv => write_atomically(path, csv::ties(ties)?.as_bytes())?,
            format => {
                let world = format == PointsFormat::World;
                let affine = if world { Some(best_affine(info, &found.fit.model, [image.width(), image.height()])?) } else { None };
                if let Some((_, left_out)) = affine.filter(|_| found.fit.model.kind.degree() > 1) {
                    warn(format_args!(
                        "{}: a world file is an affine transform; it leaves out up to {:.1} m of the bend of the {}",
                        path.display(),
                        left_out * found.map_pixel_m,
                        found.fit.model.kind.name()
                    ));
                }
                let of = PointsOf { image, affine: affine.as_ref().map(|(geo, _)| geo) };
                control::write(path, &registered::control_points(info, found)?, of)?.iter().for_each(warn);
            }
        }
    }
    Ok(())
}
