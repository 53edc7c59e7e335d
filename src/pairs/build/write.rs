//! Crops as files.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ExtendedColorType, ImageEncoder as _, codecs::png::PngEncoder};
use serde::{Deserialize, Serialize};

use super::{BuildConfig, Manifest, Sources};
use crate::atomic::AtomicFile;
use crate::scene::write::{GeoTiff, write_geotiff_rows};
use crate::scene::{Image, Raster, SampleType, Window};
use crate::{Error, Result};

/// Files of crops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// PNG: samples of 8 or 16 bits, in one band or three
    #[default]
    Png,
    /// GeoTIFF: any samples, and where the crop lies, if the grid says so
    Geotiff,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Geotiff => "tif",
        }
    }
}

/// The folders of both images.
const FOLDERS: [&str; 2] = ["sar", "opt"];

/// Writes the files of a set.
pub(super) struct Writer<'a> {
    images: [&'a Image; 2],
    grid: &'a Raster,
    format: Format,
    size: u32,
    out: PathBuf,
}

impl<'a> Writer<'a> {
    /// Refuses images that the format does not hold, and a folder that holds something: pairs of another run among these could not be told apart.
    pub(super) fn check(images: [&Image; 2], format: Format, out: &Path) -> Result<()> {
        if format == Format::Png {
            images.iter().try_for_each(|i| png_holds(&i.raster))?;
        }
        match std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
            true => Err(Error::file(out, "is not empty: name a new folder, or empty it")),
            false => Ok(()),
        }
    }

    /// Makes the folders.
    pub(super) fn new(sources: &Sources<'a>, config: &BuildConfig, grid: &'a Raster, out: &Path) -> Result<Self> {
        let images = [sources.sar, sources.optical];
        let io = |e: std::io::Error| Error::io(out, format!("cannot be made ({e}); name another folder with --out"), e);
        std::fs::create_dir_all(out).map_err(io)?;
        FOLDERS.iter().try_for_each(|f| std::fs::create_dir(out.join(f))).map_err(io)?;
        Ok(Self { images, grid, format: config.format, size: config.size, out: out.into() })
    }

    /// Writes a pair; gives the names of its files.
    pub(super) fn write(&self, number: usize, at: [u32; 2], windows: &[Window; 2]) -> Result<[String; 2]> {
        let names = FOLDERS.map(|folder| format!("{folder}/{number}.{}", self.format.extension()));
        for ((name, image), window) in names.iter().zip(self.images).zip(windows) {
            let path = self.out.join(name);
            match self.format {
                Format::Png => put(&path, &png(&path, image.raster.sample_type(), window)?)?,
                Format::Geotiff => self.geotiff(&path, &image.raster, at, window)?,
            }
        }
        Ok(names)
    }

    fn geotiff(&self, path: &Path, raster: &Raster, at: [u32; 2], window: &Window) -> Result<()> {
        let geo = self.grid.geo().map(|g| g.offset(f64::from(at[0]), f64::from(at[1])));
        let kind = raster.sample_type();
        let nodata = window.valid.contains(&0).then(|| if kind.is_float() { f64::NAN } else { 0.0 });
        let names: Vec<Option<&str>> = raster.band_names().into_iter().map(|(_, name)| name).collect();
        let (width, height, bands) = (self.size, self.size, window.bands);
        let crs = self.grid.crs().filter(|_| geo.is_some());
        let header = GeoTiff { width, height, bands, geo: geo.as_ref(), crs, nodata, names: &names, ..GeoTiff::default() };
        Ok(write_geotiff_rows(path, &header, kind, &mut |y0, rows, out: &mut Vec<f32>| {
            let row = width as usize;
            let pixels = y0 as usize * row..(y0 + rows) as usize * row;
            let b = bands as usize;
            let empty = nodata.unwrap_or_default() as f32;
            for (pixel, valid) in window.data[pixels.start * b..pixels.end * b].chunks_exact(b).zip(&window.valid[pixels]) {
                let start = out.len();
                out.extend(pixel.iter().map(|v| match (*valid != 0, kind.is_float()) {
                    (false, _) => empty,
                    (true, true) => *v,
                    (true, false) => v.round(),
                }));
                // Data must not read as none.
                if *valid != 0 && nodata.is_some() && out[start..].iter().all(|v| *v == empty) {
                    out[start] = 1.0;
                }
            }
            Ok(())
        })?)
    }

    /// Writes the manifest: the set is whole.
    pub(super) fn finish(&self, manifest: &Manifest) -> Result<()> {
        let text = serde_json::to_string_pretty(manifest).map_err(|e| Error::invalid(format!("cannot be written as JSON: {e}")))? + "\n";
        put(&self.out.join("manifest.json"), text.as_bytes())
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    AtomicFile::write(path, bytes).map_err(|e| Error::io(path, format!("cannot be written ({e})"), e))
}

/// Refuses an image whose samples no PNG holds as they are.
fn png_holds(raster: &Raster) -> Result<()> {
    let (kind, bands) = (raster.sample_type(), raster.bands());
    match matches!(kind, SampleType::U8 | SampleType::U16) && matches!(bands, 1 | 3) {
        true => Ok(()),
        false => Err(Error::file(
            raster.path(),
            format!("has {bands} bands of {}, and PNG holds one or three of u8 or u16: take --format geotiff", kind.name()),
        )),
    }
}

/// A window as PNG; what is not valid is 0.
fn png(path: &Path, kind: SampleType, window: &Window) -> Result<Vec<u8>> {
    let wide = kind == SampleType::U16;
    let color = match (window.bands, wide) {
        (1, false) => ExtendedColorType::L8,
        (1, true) => ExtendedColorType::L16,
        (_, false) => ExtendedColorType::Rgb8,
        (_, true) => ExtendedColorType::Rgb16,
    };
    // The encoder takes wide samples in the machine's own order.
    let bytes: Vec<u8> = match wide {
        false => window.data.iter().map(|v| v.round() as u8).collect(),
        true => window.data.iter().flat_map(|v| (v.round() as u16).to_ne_bytes()).collect(),
    };
    let mut out = Cursor::new(Vec::new());
    PngEncoder::new(&mut out)
        .write_image(&bytes, window.width, window.height, color)
        .map_err(|e| Error::file(path, format!("cannot be encoded ({e})")))?;
    Ok(out.into_inner())
}
