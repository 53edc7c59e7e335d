//! Where pixels lie: the affine transform, GeoTIFF keys, world files and `.prj` files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// Affine map from pixels to map coordinates.
///
/// Pixel coordinates run from (0, 0) at the **upper left corner of the upper left pixel**, x to
/// the right and y down; the centre of that pixel is (0.5, 0.5). Map coordinates are in the units
/// of the raster's [`Crs`](super::Crs) (metres, or degrees as longitude then latitude).
///
/// `x = c[0] + c[1] px + c[2] py`, `y = c[3] + c[4] px + c[5] py` (GDAL's order).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 6]", into = "[f64; 6]")]
pub struct GeoTransform {
    c: [f64; 6],
}

impl GeoTransform {
    /// From the six coefficients in GDAL's order; `None` when one is not finite or the map has no inverse.
    pub fn new(coefficients: [f64; 6]) -> Option<Self> {
        let c = coefficients;
        let det = c[1] * c[5] - c[2] * c[4];
        (c.iter().all(|v| v.is_finite()) && det.is_normal()).then_some(Self { c })
    }

    /// North-up raster: map coordinates of the upper left corner and the pixel's size in map units
    /// (both positive); `None` where the size is not.
    pub fn north_up(left: f64, top: f64, pixel_width: f64, pixel_height: f64) -> Option<Self> {
        if pixel_width > 0.0 && pixel_height > 0.0 { Self::new([left, pixel_width, 0.0, top, 0.0, -pixel_height]) } else { None }
    }

    /// The six coefficients in GDAL's order.
    pub fn coefficients(&self) -> [f64; 6] {
        self.c
    }

    /// Map coordinates of a point in pixels; the centre of pixel (i, j) is (i + 0.5, j + 0.5).
    pub fn pixel_to_map(&self, px: f64, py: f64) -> (f64, f64) {
        let c = &self.c;
        (c[0] + c[1] * px + c[2] * py, c[3] + c[4] * px + c[5] * py)
    }

    /// Point in pixels of map coordinates: the inverse of [`pixel_to_map`](Self::pixel_to_map).
    pub fn map_to_pixel(&self, x: f64, y: f64) -> (f64, f64) {
        let c = &self.c;
        let (dx, dy) = (x - c[0], y - c[3]);
        let det = c[1] * c[5] - c[2] * c[4];
        ((c[5] * dx - c[2] * dy) / det, (c[1] * dy - c[4] * dx) / det)
    }

    /// Length of a pixel's edges along its row and its column, map units.
    pub fn pixel_size(&self) -> (f64, f64) {
        (self.c[1].hypot(self.c[4]), self.c[2].hypot(self.c[5]))
    }

    /// Whether rows run exactly west to east and columns north to south.
    pub fn is_north_up(&self) -> bool {
        self.c[2] == 0.0 && self.c[4] == 0.0 && self.c[1] > 0.0 && self.c[5] < 0.0
    }

    /// The transform of the sub-image whose upper left pixel is (`x0`, `y0`).
    pub fn offset(&self, x0: f64, y0: f64) -> Self {
        let (x, y) = self.pixel_to_map(x0, y0);
        let mut c = self.c;
        (c[0], c[3]) = (x, y);
        Self { c }
    }
}

impl TryFrom<[f64; 6]> for GeoTransform {
    type Error = String;

    fn try_from(c: [f64; 6]) -> Result<Self, String> {
        Self::new(c).ok_or_else(|| format!("the geotransform {c:?} has no inverse"))
    }
}

impl From<GeoTransform> for [f64; 6] {
    fn from(g: GeoTransform) -> Self {
        g.c
    }
}

/// What the GeoKey directory says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct GeoKeys {
    pub(super) epsg: Option<u32>,
    pub(super) pixel_is_point: bool,
}

impl GeoKeys {
    /// From the values of tag 34735 (OGC 19-008r4, section 7.1): a header of four, then four a key.
    pub(super) fn parse(values: &[u64]) -> Self {
        const RASTER_TYPE: u64 = 1025;
        const GEOGRAPHIC: u64 = 2048;
        const PROJECTED: u64 = 3072;
        const USER_DEFINED: u64 = 32767;
        let short = |id| {
            let keys = values.get(4..).unwrap_or(&[]);
            keys.as_chunks::<4>().0.iter().find(|k| k[0] == id && k[1] == 0).map(|k| k[3])
        };
        let code = |id| short(id).filter(|&c| c != 0 && c != USER_DEFINED).map(|c| c as u32);
        // A projected system wins; its base is often named beside it. A projected system that is
        // user-defined has no code, and that of its base would be wrong.
        let epsg = if short(PROJECTED).is_some() { code(PROJECTED) } else { code(GEOGRAPHIC) };
        Self { epsg, pixel_is_point: short(RASTER_TYPE) == Some(2) }
    }
}

/// From ModelPixelScale and ModelTiepoint, or ModelTransformation, where they make sense.
pub(super) fn from_tags(scale: &[f64], tie: &[f64], matrix: &[f64], pixel_is_point: bool) -> Option<GeoTransform> {
    let area = if let ([sx, sy, ..], [i, j, _, x, y, ..]) = (scale, tie) {
        GeoTransform::new([x - i * sx, *sx, 0.0, y + j * sy, 0.0, -sy])
    } else if matrix.len() >= 16 {
        GeoTransform::new([matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5]])
    } else {
        None
    };
    // PixelIsPoint: the tags speak of pixel centres.
    if pixel_is_point { area.map(|g| g.offset(-0.5, -0.5)) } else { area }
}

/// Reads the world file beside an image, if there is one.
///
/// Its six lines give pixel size and rotation and the **centre** of the upper left pixel.
pub(super) fn world_file(image: &Path) -> Result<Option<GeoTransform>> {
    let Some(path) = world_file_path(image) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?;
    let bad = |detail: &str| Error::Sidecar { path: path.clone(), detail: detail.into() };
    let lines: Vec<f64> = text
        .split_whitespace()
        .map(|word| word.replace(',', ".").parse())
        .collect::<Result<_, _>>()
        .map_err(|_| bad("a world file holds six numbers, one a line; this one holds something else"))?;
    let &[a, d, b, e, c, f] = lines.as_slice() else {
        return Err(bad(&format!("a world file holds six numbers, this one {}", lines.len())));
    };
    GeoTransform::new([c, a, b, f, d, e])
        .map(|g| Some(g.offset(-0.5, -0.5)))
        .ok_or_else(|| bad("the transform of this world file has no inverse"))
}

fn world_file_path(image: &Path) -> Option<PathBuf> {
    let own = image.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    let candidates: &[&str] = match own.as_str() {
        "png" => &["pgw", "pngw"],
        "jpg" | "jpeg" => &["jgw", "jpgw", "jpegw"],
        "tif" | "tiff" => &["tfw", "tifw", "tiffw"],
        _ => &["pgw", "jgw", "tfw"],
    };
    candidates.iter().chain(&["wld"]).map(|e| image.with_extension(e)).find(|p| p.is_file())
}

/// Reads the EPSG code of the `.prj` file beside an image: the text `EPSG:nnnn`, or a WKT whose
/// last `AUTHORITY["EPSG","nnnn"]` or `ID["EPSG",nnnn]` names it.
pub(super) fn prj_file(image: &Path) -> Result<Option<u32>> {
    let path = image.with_extension("prj");
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?;
    let code = text.to_ascii_uppercase().rfind("EPSG").and_then(|at| {
        let rest = text[at + 4..].trim_start_matches([':', '"', ',', ' ']);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().ok()
    });
    code.map(Some).ok_or_else(|| Error::Sidecar {
        path,
        detail: "names no EPSG code; write the text EPSG:nnnn into it (for example EPSG:32611)".into(),
    })
}
