//! Image files compared by a matching model.

use super::model::MatchModel;
use crate::index::Embedder;
use crate::kernels::sampler::{PatchRecord, taps_for};
use crate::nn::Modality;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Bands, Image, OpenOptions, PageCache, Radiometry, SarUnit, Standardisation};
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
    /// Distance of the second nearest optical image, where there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<f64>,
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
    unit: Option<SarUnit>,
    mut done: impl FnMut(usize),
) -> Result<Vec<FileMatch>> {
    let (sars, opticals): (Vec<PathBuf>, Vec<PathBuf>) = pairs.iter().cloned().unzip();
    let sar = vectors(embedder, model, Modality::Sar, &sars, unit, &mut done)?;
    let optical = vectors(embedder, model, Modality::Map, &opticals, unit, &mut |n| done(sars.len() + n))?;
    for (((sar_path, optical_path), s), o) in pairs.iter().zip(&sar.sizes).zip(&optical.sizes) {
        if s != o {
            return Err(Error::file(
                sar_path,
                format!(
                    "is {}x{} px, {} {}x{}: the images of a pair must show the same ground pixel on pixel",
                    s[0],
                    s[1],
                    optical_path.display(),
                    o[0],
                    o[1]
                ),
            ));
        }
    }
    let one = |(i, (sar_path, optical_path)): (usize, &(PathBuf, PathBuf))| {
        let distance = model.network().distance(sar.row(i), optical.row(i));
        FileMatch { sar: sar_path.clone(), optical: optical_path.clone(), distance, matches: distance < model.line(), next: None }
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
    unit: Option<SarUnit>,
    mut done: impl FnMut(usize),
) -> Result<Vec<FileMatch>> {
    if opticals.is_empty() {
        return Err(Error::invalid("there is no optical image to look among"));
    }
    let sar = vectors(embedder, model, Modality::Sar, sars, unit, &mut done)?;
    let optical = vectors(embedder, model, Modality::Map, opticals, unit, &mut |n| done(sars.len() + n))?;
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
            matches: best.0 < model.line(),
            next: next.is_finite().then_some(next),
        }
    };
    Ok((0..sars.len()).into_par_iter().map(nearest).collect())
}

/// The vectors of some files, and how large their images are.
struct Vectors {
    rows: Vec<f32>,
    dim: usize,
    sizes: Vec<[u32; 2]>,
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
    unit: Option<SarUnit>,
    done: &mut dyn FnMut(usize),
) -> Result<Vectors> {
    let trained = &model.standardisation()?[modality as usize];
    let mut all = Vectors { rows: Vec::with_capacity(paths.len() * embedder.dim()), dim: embedder.dim(), sizes: Vec::new() };
    for (chunk, some) in paths.chunks(OPEN).enumerate() {
        let images: Vec<Arc<Image>> = some.par_iter().map(|p| open(p, modality, trained, unit).map(Arc::new)).collect::<Result<_>>()?;
        let mut records = Vec::with_capacity(some.len());
        let mut coarsest = 1.0f64;
        for (i, image) in (0u32..).zip(&images) {
            let size = [image.raster.width(), image.raster.height()];
            let side = size[0].min(size[1]).min(model.network().patch);
            let scale = f64::from(side) / embedder.input() as f64;
            coarsest = coarsest.max(scale);
            records.push(PatchRecord::new(i, size.map(|s| f64::from(s) / 2.0), scale, 0.0, false, embedder.input())?);
            all.sizes.push(size);
        }
        let mut cache = PageCache::new(embedder.engine(), images, DEFAULT_PAGES)?;
        all.rows.extend(embedder.embed_all(modality, &mut cache, &records, taps_for(coarsest))?);
        done(chunk * OPEN + some.len());
    }
    Ok(all)
}

/// An image, standardised as those that the model was trained on where it is of their kind: the statistics of one patch say more of what it shows than
/// of its sensor. An image of another kind goes by its own.
fn open(path: &Path, modality: Modality, trained: &Standardisation, unit: Option<SarUnit>) -> Result<Image> {
    let bands = if modality == Modality::Sar { Bands::Polarisation } else { Bands::Colours };
    let raster = OpenOptions { bands, ..OpenOptions::default() }.open(path)?;
    let radiometry = match modality {
        Modality::Sar => Radiometry::sar(&raster, unit)?,
        Modality::Map => Radiometry::Optical,
    };
    if radiometry == trained.radiometry && raster.bands() as usize == trained.median.len() {
        return Ok(Image { raster, standardisation: trained.clone() });
    }
    let standardisation = Standardisation::measure(&raster, radiometry)?;
    Ok(Image { raster, standardisation })
}
