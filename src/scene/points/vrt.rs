//! GDAL's virtual raster: the image by reference, and its control points.

use std::fmt::Write as _;
use std::path::Path;

use super::{ControlPoints, shown};
use crate::atomic::folder_of;
use crate::scene::cog::escaped;
use crate::scene::error::Result;
use crate::scene::raster::{Raster, SampleType};

/// GDAL's name of a type of samples.
fn gdal_name(kind: SampleType) -> &'static str {
    match kind {
        SampleType::U8 => "Byte",
        SampleType::I8 => "Int8",
        SampleType::U16 => "UInt16",
        SampleType::I16 => "Int16",
        SampleType::U32 => "UInt32",
        SampleType::I32 => "Int32",
        SampleType::F16 | SampleType::F32 => "Float32",
        SampleType::F64 => "Float64",
    }
}

pub(super) fn text(path: &Path, points: &ControlPoints, image: &Raster) -> Result<String> {
    let crs = points.named_crs(path)?;
    let folders = [path, image.path()].map(|p| std::fs::canonicalize(folder_of(p)));
    let beside = matches!(&folders, [Ok(a), Ok(b)] if a == b);
    let file = match (beside, image.path().file_name()) {
        (true, Some(name)) => Path::new(name).to_path_buf(),
        _ => std::fs::canonicalize(image.path()).unwrap_or_else(|_| image.path().into()),
    };
    let source = |band: &str| {
        let file = escaped(&file.to_string_lossy());
        format!(
            "<SimpleSource><SourceFilename relativeToVRT=\"{}\">{file}</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource>",
            u8::from(beside)
        )
    };
    let mut out = format!("<VRTDataset rasterXSize=\"{}\" rasterYSize=\"{}\">\n", image.width(), image.height());
    let _ = writeln!(out, "  <GCPList Projection=\"{}\">", escaped(crs.wkt().unwrap_or(crs.definition())));
    for (i, p) in points.enabled().enumerate() {
        let [column, row, x, y] = [p.sar_px[0], p.sar_px[1], p.map_xy[0], p.map_xy[1]].map(shown);
        let _ = writeln!(out, "    <GCP Id=\"{}\" Pixel=\"{column}\" Line=\"{row}\" X=\"{x}\" Y=\"{y}\" Z=\"0\"/>", i + 1);
    }
    out.push_str("  </GCPList>\n");
    for sample in 0..image.samples() {
        let _ = write!(out, "  <VRTRasterBand dataType=\"{}\" band=\"{}\">", gdal_name(image.sample_type()), sample + 1);
        if let Some(name) = image.names().get(sample as usize).and_then(Option::as_deref) {
            let _ = write!(out, "<Description>{}</Description>", escaped(name));
        }
        if let Some(nodata) = image.nodata() {
            let _ = write!(out, "<NoDataValue>{}</NoDataValue>", if nodata.is_nan() { "nan".into() } else { nodata.to_string() });
        }
        let _ = writeln!(out, "{}</VRTRasterBand>", source(&(sample + 1).to_string()));
    }
    if image.validity() == Some("mask") {
        let _ = writeln!(out, "  <MaskBand><VRTRasterBand dataType=\"Byte\">{}</VRTRasterBand></MaskBand>", source("mask,1"));
    }
    out.push_str("</VRTDataset>\n");
    Ok(out)
}
