//! What lies beside an image: world files, `.prj` files, and GDAL's `.aux.xml`.

use std::path::{Path, PathBuf};

use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::GeoTransform;
use super::metadata::GdalMetadata;
use super::nodata;
use super::source::{Claim, Header};
use super::ties::Tie;

/// Largest side-car that is read, bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The file of one of these extensions in place of the image's own, whatever the case of its letters.
fn beside(image: &Path, extensions: &[&str]) -> Option<PathBuf> {
    let spelt = extensions.iter().flat_map(|e| {
        let mut capital = e.to_string();
        capital[..1].make_ascii_uppercase();
        [e.to_string(), e.to_ascii_uppercase(), capital]
    });
    spelt.map(|e| image.with_extension(e)).find(|p| p.is_file())
}

/// The file with this behind the image's whole name.
pub(super) fn behind(image: &Path, suffix: &str) -> Option<PathBuf> {
    [suffix.to_string(), suffix.to_ascii_uppercase()]
        .iter()
        .map(|s| {
            let mut name = image.as_os_str().to_owned();
            name.push(s);
            PathBuf::from(name)
        })
        .find(|p| p.is_file())
}

/// A side-car's text, without a byte order mark.
fn text_of(path: &Path) -> Result<String> {
    let length = std::fs::metadata(path).map_err(|e| Error::read(path, e))?.len();
    if length > MAX_BYTES {
        return Err(Error::Sidecar { path: path.into(), detail: format!("{length} bytes are too many for a file of its kind") });
    }
    let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
    Ok(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_string())
}

/// Adds to a header what lies beside the image: what GDAL's `.aux.xml` says wins over the file, world and `.prj` files fill gaps.
///
/// # Errors
/// [`Error::Sidecar`] for one that does not read.
pub(super) fn apply(image: &Path, header: &mut Header) -> Result<()> {
    if let Some(path) = behind(image, ".aux.xml") {
        pam(&path, header)?;
    }
    let claim = &mut header.claim;
    // Of a PNG the world file wins over `.aux.xml`, as in GDAL.
    let png = image.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    if claim.affine.is_none() && claim.ties.is_empty() || png {
        let own = world_file(image)?;
        if let (Some(a), Some(b)) = (&own, &claim.affine)
            && (0..6).any(|i| (a.coefficients()[i] - b.coefficients()[i]).abs() > 1e-6 * b.pixel_size().0)
        {
            header.warnings.push(format!(
                "{}: its world file gives another place than its .aux.xml, and wins, as in GDAL; remove the wrong one",
                image.display()
            ));
        }
        claim.affine = own.or(claim.affine);
    }
    if claim.crs.is_none() {
        claim.crs = prj_file(image)?;
    }
    if behind(image, "_RPC.TXT").is_some()
        || beside_stem(image, "_RPC.TXT")
        || beside_stem(image, "_rpc.txt")
        || beside(image, &["rpb"]).is_some()
    {
        claim.rpc = true;
    }
    Ok(())
}

/// Whether a file lies there with this behind the image's name less its extension.
fn beside_stem(image: &Path, suffix: &str) -> bool {
    let mut name = image.file_stem().unwrap_or_default().to_owned();
    name.push(suffix);
    image.with_file_name(name).is_file()
}

/// Reads the world file beside an image, if there is one.
///
/// Its six lines give pixel size and rotation and the **centre** of the upper left pixel.
fn world_file(image: &Path) -> Result<Option<GeoTransform>> {
    let own = image.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    let extensions: &[&str] = match own.as_str() {
        "png" => &["pgw", "pngw", "wld"],
        "jpg" | "jpeg" => &["jgw", "jpgw", "jpegw", "wld"],
        "tif" | "tiff" => &["tfw", "tifw", "tiffw", "wld"],
        _ => &["pgw", "jgw", "tfw", "wld"],
    };
    let Some(path) = beside(image, extensions) else {
        return Ok(None);
    };
    let bad = |detail: &str| Error::Sidecar { path: path.clone(), detail: detail.into() };
    let lines: Vec<f64> = text_of(&path)?
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

/// Reads the coordinate system of the `.prj` file beside an image: WKT of any kind, a PROJ string, or the text `EPSG:nnnn`.
fn prj_file(image: &Path) -> Result<Option<std::result::Result<Crs, String>>> {
    let Some(path) = beside(image, &["prj"]) else {
        return Ok(None);
    };
    let text = text_of(&path)?;
    Ok(Some(Crs::from_text(&text).map_err(|e| format!("{}: {e}", path.display()))))
}

/// Reads GDAL's persistent auxiliary metadata: system, transform or control points, no-data value, band names. Also what ArcGIS writes there.
fn pam(path: &Path, header: &mut Header) -> Result<()> {
    let text = text_of(path)?;
    let bad = |detail: String| Error::Sidecar { path: path.into(), detail };
    let document = roxmltree::Document::parse(&text).map_err(|e| bad(format!("is no XML that can be read ({e})")))?;
    let root = document.root_element();
    let child = |name: &str| root.children().find(|n| n.has_tag_name(name));
    let text_in = |node: roxmltree::Node<'_, '_>| node.text().unwrap_or_default().trim().to_string();
    let number = |s: &str| s.trim().parse::<f64>().map_err(|_| bad(format!("`{s}` in it is no number")));
    let system = |text: String| Crs::from_text(&text).map_err(|e| format!("{}: {e}", path.display()));
    let mut claim = Claim::default();
    if let Some(node) = child("GeoTransform") {
        let all = text_in(node).split(',').map(number).collect::<Result<Vec<f64>>>()?;
        let six: [f64; 6] = all.try_into().map_err(|_| bad("its GeoTransform does not hold six numbers".into()))?;
        claim.affine = Some(GeoTransform::new(six).ok_or_else(|| bad("its GeoTransform has no inverse".into()))?);
    }
    let arcgis = child("GeodataXform").and_then(|x| x.descendants().find(|n| n.has_tag_name("WKT")));
    if let Some(node) = child("SRS").or(arcgis) {
        let text = text_in(node);
        // Latitude may be the first coordinate, where the file says so and the system has it first.
        let first = |word: &str| {
            text.to_ascii_uppercase().find(&format!("AXIS[\"{word}")).or_else(|| text.to_ascii_uppercase().find(&format!("({word}")))
        };
        let north_first = matches!((first("LAT"), first("LON")), (Some(a), Some(b)) if a < b);
        let as_stated = node.attribute("dataAxisToSRSAxisMapping").is_some_and(|m| m.trim() == "1,2");
        claim.crs = Some(system(text.clone())).filter(|_| !text.is_empty());
        if let (true, true, Some(g)) = (north_first, as_stated, &claim.affine) {
            let c = g.coefficients();
            claim.affine = GeoTransform::new([c[3], c[4], c[5], c[0], c[1], c[2]]);
        }
    }
    if let Some(list) = child("GCPList").filter(|_| claim.affine.is_none()) {
        for gcp in list.children().filter(|n| n.has_tag_name("GCP")) {
            let value = |name: &str| number(gcp.attribute(name).unwrap_or_default());
            claim.ties.push(Tie { px: [value("Pixel")?, value("Line")?], map: [value("X")?, value("Y")?] });
        }
        if let Some(projection) = list.attribute("Projection").filter(|p| !p.trim().is_empty()) {
            claim.crs = Some(system(projection.to_string()));
        }
    }
    if child("Metadata").is_some_and(|_| root.children().any(|n| n.has_tag_name("Metadata") && n.attribute("domain") == Some("RPC"))) {
        claim.rpc = true;
    }
    let own = std::mem::take(&mut header.claim);
    if let (Some(Ok(_)), Some(Err(e))) = (&own.crs, &claim.crs) {
        header.warnings.push(format!("{e}; the image's own system is used"));
    }
    let (claim, differs) = own.overruled_by(claim);
    header.claim = claim;
    if differs {
        header
            .warnings
            .push(format!("{}: gives another place than the image itself, and wins, as in GDAL; remove it if it is old", path.display()));
    }
    let mut metadata = GdalMetadata::default();
    for band in root.children().filter(|n| n.has_tag_name("PAMRasterBand")) {
        let Some(sample) = band.attribute("band").and_then(|b| b.parse::<u32>().ok()).and_then(|b| b.checked_sub(1)) else { continue };
        let field = |name: &str| band.children().find(|n| n.has_tag_name(name)).map(text_in).filter(|t| !t.is_empty());
        if let Some(name) = field("Description") {
            metadata.names.push((sample, name));
        }
        if let Some(colour) = field("ColorInterp") {
            metadata.colour(sample, &colour);
        }
        if let Some(text) = field("NoDataValue") {
            let (own, value) = (header.nodata, nodata::parse(&text));
            let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
            match (own, value) {
                (_, None) => header.warnings.push(format!("{}: its NoDataValue `{text}` is no number, and not used", path.display())),
                (Some(a), Some(b)) if !same(a, b) => {
                    header.warnings.push(format!(
                        "{}: its no-data value {b} wins over the image's own {a}, as in GDAL; remove it if it is old",
                        path.display()
                    ));
                }
                _ => {}
            }
            if let Some(to) = header.nodata_of.get_mut(sample as usize) {
                *to = value;
            }
        }
    }
    metadata.apply(header);
    Ok(())
}
