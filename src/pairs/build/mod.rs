//! Pairs out of two large images of the same ground: one is brought onto the other's grid, both are cut into crops that overlap, and what is not worth
//! learning from is left out by measures in place of the look that the makers of QXS-SAROPT took at each (Huang et al., arXiv 2103.08259, section 2).

mod manifest;
mod measure;
#[cfg(test)]
mod tests;
mod write;

pub use manifest::{Manifest, Source};
pub use measure::{Limits, Measures, Misfit, Reason};
pub use write::Format;

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::scene::warp::resample_window;
use crate::scene::{Image, Raster, Window};
use crate::{Error, Result};
use manifest::{Dropped, Kept};
use write::Writer;

/// Which image's grid both are cut on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Onto {
    /// The SAR image's: its speckle stays as it is
    #[default]
    Sar,
    /// The optical image's
    Optical,
}

/// How pairs are cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BuildConfig {
    /// Side of a crop, px of the grid.
    pub size: u32,
    /// From one crop to the next, px of the grid.
    pub stride: u32,
    /// Which grid.
    pub onto: Onto,
    /// What a crop must fulfil.
    pub limits: Limits,
    /// Files of the crops.
    pub format: Format,
}

impl Default for BuildConfig {
    /// 256 px every 205: a fifth of a crop is its neighbour's too.
    fn default() -> Self {
        Self { size: 256, stride: 205, onto: Onto::Sar, limits: Limits::default(), format: Format::Png }
    }
}

impl BuildConfig {
    fn check(&self) -> Result<()> {
        if self.size < 8 || self.stride == 0 {
            return Err(Error::invalid(format!(
                "crops of {} px every {} px make no sense: 8 px and 1 px are the least",
                self.size, self.stride
            )));
        }
        self.limits.check()
    }
}

/// Both images, and how they lie on each other.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The SAR image.
    pub sar: &'a Image,
    /// The optical image.
    pub optical: &'a Image,
    /// From a position on the grid to one in the image that is brought onto it, pixels; not finite where there is none.
    pub place: &'a (dyn Fn([f64; 2]) -> [f64; 2] + Sync),
}

impl Sources<'_> {
    fn grid(&self, onto: Onto) -> &Raster {
        match onto {
            Onto::Sar => &self.sar.raster,
            Onto::Optical => &self.optical.raster,
        }
    }

    /// A crop of the SAR image and of the optical one.
    fn cut(&self, config: &BuildConfig, at: [u32; 2]) -> Result<[Window; 2]> {
        let size = [config.size; 2];
        let own = |raster: &Raster| raster.read_window(i64::from(at[0]), i64::from(at[1]), size[0], size[1]);
        let (sar, optical) = (&self.sar.raster, &self.optical.raster);
        Ok(match config.onto {
            Onto::Sar => [own(sar)?, resample_window(optical, self.place, at, size)?],
            Onto::Optical => [resample_window(sar, self.place, at, size)?, own(optical)?],
        })
    }
}

/// A crop and what was measured on it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Crop {
    /// Upper left corner, px of the grid.
    pub at: [u32; 2],
    /// What was measured.
    pub measures: Measures,
}

/// How far the building has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Crops are measured.
    Measuring,
    /// Crops are written.
    Writing,
}

/// What a caller does at each crop.
pub trait Watch {
    /// How far the transform is off at crops, by correlation of what both images show there; none leaves that measure out.
    ///
    /// # Errors
    /// The caller's.
    fn misfits(&mut self, crops: &[Crop]) -> Result<Option<Vec<Misfit>>>;

    /// A crop that was left out, with both windows, SAR first.
    ///
    /// # Errors
    /// The caller's.
    fn dropped(&mut self, crop: &Crop, why: &[Reason], windows: &[Window; 2]) -> Result<()>;

    /// How many crops of how many are done.
    fn progress(&mut self, _round: Round, _done: usize, _total: usize) {}
}

/// Cuts pairs into `out`: `sar/N.png` and `opt/N.png` (or `.tif`), numbered from 1 by rows from the upper left corner, and `manifest.json`, which is written
/// last. `transform` says, for the manifest, where `place` came from.
///
/// # Errors
/// Sizes and limits that make no sense; images smaller than a crop, or of a type that the format does not hold; a folder that is not empty; no crop that fulfils the limits; reading, writing.
pub fn build(
    sources: &Sources<'_>,
    config: &BuildConfig,
    transform: serde_json::Value,
    out: &Path,
    watch: &mut dyn Watch,
) -> Result<Manifest> {
    check(sources.sar, sources.optical, config, out)?;
    let grid = sources.grid(config.onto);
    let places = places([grid.width(), grid.height()], config)?;
    let writer = Writer::new(sources, config, grid, out)?;
    let (mut crops, total) = (Vec::new(), places.len());
    // A few at a time: what both windows hold stays small.
    for (i, group) in places.chunks(2 * rayon::current_num_threads()).enumerate() {
        let measured = group.par_iter().map(|at| {
            let [sar, optical] = sources.cut(config, *at)?;
            Ok(Crop { at: *at, measures: Measures::of(sources, &sar, &optical) })
        });
        crops.extend(measured.collect::<Result<Vec<_>>>()?);
        watch.progress(Round::Measuring, (i * 2 * rayon::current_num_threads() + group.len()).min(total), total);
    }
    // Between the tiles of a mosaic there is nothing to tell of.
    crops.retain(|c| c.measures.missing < 1.0);
    let empty = total - crops.len();
    let mut sound: Vec<&mut Crop> = crops.iter_mut().filter(|c| config.limits.failed(&c.measures).is_empty()).collect();
    let asked: Vec<Crop> = sound.iter().map(|c| **c).collect();
    if let Some(misfits) = watch.misfits(&asked)? {
        sound.iter_mut().zip(misfits).for_each(|(crop, misfit)| crop.measures.misfit = Some(misfit));
    }
    let mut manifest = Manifest::new(sources, config, transform, empty);
    let total = crops.len();
    for group in crops.chunks(2 * rayon::current_num_threads()) {
        let windows = group.par_iter().map(|crop| sources.cut(config, crop.at)).collect::<Result<Vec<_>>>()?;
        for (crop, windows) in group.iter().zip(windows) {
            let (crop, why) = (*crop, config.limits.failed(&crop.measures));
            if why.is_empty() {
                let number = manifest.pairs.len() + 1;
                let [sar, optical] = writer.write(number, crop.at, &windows)?;
                manifest.pairs.push(Kept { number, sar, optical, crop });
            } else {
                watch.dropped(&crop, &why, &windows)?;
                manifest.dropped.push(Dropped { why, crop });
            }
        }
        watch.progress(Round::Writing, manifest.pairs.len() + manifest.dropped.len(), total);
    }
    if manifest.pairs.is_empty() {
        return Err(Error::invalid(format!(
            "of {} crops with data none fulfils the limits ({}): loosen them and empty the folder, or look at the transform",
            manifest.dropped.len(),
            manifest.tally()
        )));
    }
    writer.finish(&manifest)?;
    Ok(manifest)
}

/// Refuses what [`build`] would refuse whatever the transform: before a caller looks for one.
///
/// # Errors
/// As [`build`], but of reading and writing.
pub fn check(sar: &Image, optical: &Image, config: &BuildConfig, out: &Path) -> Result<()> {
    config.check()?;
    Writer::check([sar, optical], config.format, out)?;
    let grid = if config.onto == Onto::Sar { sar } else { optical };
    places([grid.raster.width(), grid.raster.height()], config).map(drop)
}

/// Upper left corners of the crops of a grid, by rows.
fn places(grid: [u32; 2], config: &BuildConfig) -> Result<Vec<[u32; 2]>> {
    let BuildConfig { size, stride, .. } = *config;
    if grid[0] < size || grid[1] < size {
        return Err(Error::invalid(format!(
            "the grid has {}x{} px, less than one crop of {size}x{size}: take a smaller --size",
            grid[0], grid[1]
        )));
    }
    let axis = |d: usize| (0..=grid[d] - size).step_by(stride as usize);
    Ok(axis(1).flat_map(|y| axis(0).map(move |x| [x, y])).collect())
}
