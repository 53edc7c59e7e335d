//! Image files compared by a matching model.

use super::model::MatchModel;
use super::spots::MIN_VALID;
use crate::index::Embedder;
use crate::kernels::sampler::{PatchRecord, taps_for};
use crate::nn::Modality;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Bands, Image, ImageHeader, OpenOptions, PageCache, Radiometry, Raster, SarUnit, Standardisation, ValidityMask};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An optical image held against a SAR image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileMatch {
    /// The SAR image.
    pub sar: PathBuf,
    /// The optical image: that it was compared with, or the nearest of several.
    pub optical: PathBuf,
    /// Their distance.
    pub distance: f64,
    /// Whether they match: the distance lies below the model's threshold.
    pub matches: bool,
    /// Whether one of the two is of another kind than the model's images, and so was standardised by its own statistics: the threshold was not made for that.
    pub unlike: bool,
    /// Distance of the second nearest optical image, where there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<f64>,
    /// What is doubtful about how the two images are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// How image files are read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// SAR images.
    pub sar: OpenOptions,
    /// Optical images.
    pub optical: OpenOptions,
    /// What SAR values measure; where it is not said, what the model's measured, or what the values look like.
    pub unit: Option<SarUnit>,
}

impl Default for Reading {
    fn default() -> Self {
        let bands = |bands| OpenOptions { bands, ..OpenOptions::default() };
        Self { sar: bands(Bands::Polarisation), optical: bands(Bands::Colours), unit: None }
    }
}

/// Images that are open at once.
const OPEN: usize = 64;

/// Compares each SAR image with the optical image beside it: pairs of files of the same ground, pixel on pixel, of which the middle is taken where
/// they are larger than the model's patches, and the whole where they are smaller. `done` hears how many images were seen.
///
/// # Errors
/// Reading; two images of a pair that differ in size; the device.
pub fn match_each(
    embedder: &Embedder<'_>,
    model: &MatchModel,
    pairs: &[(PathBuf, PathBuf)],
    reading: &Reading,
    mut done: impl FnMut(usize),
) -> Result<Vec<FileMatch>> {
    pairs.par_iter().try_for_each(|(sar, optical)| -> Result<()> {
        let [s, o] = [ImageHeader::of(sar)?, ImageHeader::of(optical)?].map(|h| h.size);
        if s == o {
            return Ok(());
        }
        let words = format!("{}x{} px, {} {}x{}", s[0], s[1], optical.display(), o[0], o[1]);
        Err(Error::file(sar, format!("is {words}: the images of a pair must show the same ground pixel on pixel")))
    })?;
    let (sars, opticals): (Vec<PathBuf>, Vec<PathBuf>) = pairs.iter().cloned().unzip();
    let sar = vectors(embedder, model, Modality::Sar, &sars, reading, &mut done)?;
    let optical = vectors(embedder, model, Modality::Map, &opticals, reading, &mut |n| done(sars.len() + n))?;
    let line = model.line();
    let one = |(i, (sar_path, optical_path)): (usize, &(PathBuf, PathBuf))| {
        let distance = model.network().distance(sar.row(i), optical.row(i));
        let unlike = sar.unlike[i] || optical.unlike[i];
        let doubts = [&sar.doubts[i][..], &optical.doubts[i]].concat();
        FileMatch { sar: sar_path.clone(), optical: optical_path.clone(), distance, matches: distance < line, unlike, next: None, doubts }
    };
    Ok(pairs.iter().enumerate().map(one).collect())
}

/// Finds the optical image nearest to each SAR image, the first of equals.
///
/// # Errors
/// No optical image; reading; the device.
pub fn match_files(
    embedder: &Embedder<'_>,
    model: &MatchModel,
    sars: &[PathBuf],
    opticals: &[PathBuf],
    reading: &Reading,
    mut done: impl FnMut(usize),
) -> Result<Vec<FileMatch>> {
    if opticals.is_empty() {
        return Err(Error::invalid("there is no optical image to look among"));
    }
    let sar = vectors(embedder, model, Modality::Sar, sars, reading, &mut done)?;
    let optical = vectors(embedder, model, Modality::Map, opticals, reading, &mut |n| done(sars.len() + n))?;
    let line = model.line();
    let nearest = |i: usize| {
        let mut best = (f64::INFINITY, 0);
        let mut next = f64::INFINITY;
        for j in 0..opticals.len() {
            let d = model.network().distance(sar.row(i), optical.row(j));
            if d < best.0 {
                (next, best) = (best.0, (d, j));
            } else if d < next {
                next = d;
            }
        }
        FileMatch {
            sar: sars[i].clone(),
            optical: opticals[best.1].clone(),
            distance: best.0,
            matches: best.0 < line,
            unlike: sar.unlike[i] || optical.unlike[best.1],
            next: next.is_finite().then_some(next),
            doubts: [&sar.doubts[i][..], &optical.doubts[best.1]].concat(),
        }
    };
    Ok((0..sars.len()).into_par_iter().map(nearest).collect())
}

/// The vectors of some files.
struct Vectors {
    rows: Vec<f32>,
    dim: usize,
    /// Which were standardised by their own statistics.
    unlike: Vec<bool>,
    /// What is doubtful about each.
    doubts: Vec<Vec<String>>,
}

impl Vectors {
    fn row(&self, i: usize) -> &[f32] {
        &self.rows[i * self.dim..][..self.dim]
    }
}

fn vectors(
    embedder: &Embedder<'_>,
    model: &MatchModel,
    modality: Modality,
    paths: &[PathBuf],
    reading: &Reading,
    done: &mut dyn FnMut(usize),
) -> Result<Vectors> {
    let trained = &model.standardisation()?[modality as usize];
    let input = embedder.input();
    let mut all =
        Vectors { rows: Vec::with_capacity(paths.len() * embedder.dim()), dim: embedder.dim(), unlike: Vec::new(), doubts: Vec::new() };
    for (chunk, some) in paths.chunks(OPEN).enumerate() {
        let images: Vec<Arc<Image>> = some.par_iter().map(|p| open(p, modality, trained, reading).map(Arc::new)).collect::<Result<_>>()?;
        all.unlike.extend(images.iter().map(|i| i.standardisation != *trained));
        all.doubts.extend(images.iter().map(|i| i.raster.warnings().to_vec()));
        let mut records = Vec::with_capacity(some.len());
        for (i, image) in (0u32..).zip(&images) {
            let size = [image.raster.width(), image.raster.height()].map(f64::from);
            let side = size[0].min(size[1]).min(f64::from(model.network().patch));
            let share = ValidityMask::new(&image.raster)?.share((size[0] - side) / 2.0, (size[1] - side) / 2.0, side, side);
            if share < MIN_VALID {
                return Err(Error::file(
                    &some[i as usize],
                    format!(
                        "has data in {:.0} % of what is compared of it, of {:.0} % that are needed; leave it out, or say what marks no data (--no-data, --map-no-data)",
                        100.0 * share,
                        100.0 * MIN_VALID
                    ),
                ));
            }
            records.push(PatchRecord::new(i, size.map(|s| s / 2.0), side / input as f64, 0.0, false, input)?);
        }
        let mut cache = PageCache::new(embedder.engine(), images, DEFAULT_PAGES)?;
        // By runs of one number of taps: an image's vector must not hang on those beside it.
        for run in records.chunk_by(|a, b| taps_for(a.scale()) == taps_for(b.scale())) {
            all.rows.extend(embedder.embed_all(modality, &mut cache, run, taps_for(run[0].scale()))?);
        }
        done(chunk * OPEN + some.len());
    }
    Ok(all)
}

/// An image, standardised as those that the model was trained on where it is of their kind: the statistics of one patch say more of what it shows than
/// of its sensor. An image of another kind goes by its own.
fn open(path: &Path, modality: Modality, trained: &Standardisation, reading: &Reading) -> Result<Image> {
    if modality == Modality::Map {
        let raster = reading.optical.open(path)?;
        return standardised(raster, Radiometry::Optical, trained);
    }
    let raster = reading.sar.open(path)?;
    let unit = match (reading.unit, trained.radiometry) {
        (Some(unit), _) => unit,
        // The median of a bright or dark patch does not tell amplitude from intensity; that it is no decibels, its signs do.
        (None, Radiometry::Sar { unit, .. }) if unit != SarUnit::Decibel && SarUnit::guess(&raster)? != SarUnit::Decibel => unit,
        (None, _) => SarUnit::guess(&raster)?,
    };
    let radiometry = Radiometry::sar(&raster, Some(unit))?;
    standardised(raster, radiometry, trained)
}

fn standardised(raster: Raster, radiometry: Radiometry, trained: &Standardisation) -> Result<Image> {
    let standardisation = match trained.is_for(&raster, radiometry) {
        true => trained.clone(),
        false => Standardisation::measure(&raster, radiometry)?,
    };
    Ok(Image { raster, standardisation })
}
