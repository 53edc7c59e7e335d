//! World files: the affine transform of a pixel's centre, and the system in a `.prj` beside it.

use std::path::Path;

use super::{ControlPoints, PointsOf};
use crate::atomic::AtomicFile;
use crate::scene::error::{Error, Result};
use crate::scene::georef::GeoTransform;

pub(super) fn text(geo: &GeoTransform) -> String {
    // Six lines: a, d, b, e, and the place of the centre of the upper left pixel.
    let c = geo.coefficients();
    let (x, y) = geo.pixel_to_map(0.5, 0.5);
    [c[1], c[4], c[2], c[5], x, y].map(|v| format!("{v:.12}\n")).concat()
}

pub(super) fn write(path: &Path, points: &ControlPoints, of: PointsOf<'_>) -> Result<Vec<String>> {
    let name = path.display().to_string();
    let geo = of.affine.ok_or_else(|| Error::argument(&name, "a world file holds an affine transform, and there is none"))?;
    let crs = points.named_crs(path)?;
    let prj = path.with_extension("prj");
    AtomicFile::write(path, text(geo).as_bytes()).map_err(|e| Error::write(path, e))?;
    let system = crs.wkt().unwrap_or(crs.definition());
    AtomicFile::write(&prj, format!("{system}\n").as_bytes()).map_err(|e| Error::write(&prj, e))?;
    let mut said = Vec::new();
    if of.image.geo().is_some() || of.image.control_points() > 0 {
        said.push(format!(
            "{name}: {} says itself where its pixels lie, and GDAL and QGIS take that before a world file; remove it (gdal_edit.py -unsetgt -unsetgcp FILE) or use the .vrt or .tif with control points",
            of.image.path().display()
        ));
    }
    Ok(said)
}
