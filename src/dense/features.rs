//! What is correlated: feature maps of both modalities, from patches as the sampler cuts them.

use super::fix::Calibration;
use crate::container;
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Precision, Tensor};
use crate::kernels::edges::EMPTY;
use crate::kernels::row_list::{self, RowList};
use crate::kernels::{center, gaussian, l2norm, sampler, structure};
use crate::nn::{DenseFile, Modality, Weights};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What plain structure is worth: what `echogrid calibrate` wrote.
const STRUCTURE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/structure.json"));
/// The shipped features.
const SHIPPED: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/dense.safetensors"));

/// Least share of valid source pixels of a feature pixel.
const MIN_VALIDITY: f32 = 0.5;

/// Features without learning: oriented absolute gradients, the structure that optics and radar share.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Structure {
    /// Ground metres a feature pixel.
    pub metres: f64,
    /// Orientations: 4, 8 or 16.
    pub orientations: usize,
    /// Blur of the map's grey image before the gradient, feature pixels.
    pub map_sigma: f32,
    /// Blur of the SAR image before the gradient: more, against speckle.
    pub sar_sigma: f32,
    /// Blur of the gradients' magnitudes.
    pub pool_sigma: f32,
    /// Power of the magnitudes.
    pub power: f32,
}

impl Default for Structure {
    fn default() -> Self {
        Self { metres: 16.8, orientations: 8, map_sigma: 0.7, sar_sigma: 0.7, pool_sigma: 1.5, power: 1.0 }
    }
}

/// What is correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum FeatureKind {
    /// Oriented gradients: no weights, any sensor
    Structure,
    /// A network trained for it
    Learned,
}

/// Which features.
#[derive(Debug, Clone)]
pub enum Features {
    /// [`Structure`].
    Structure(Structure),
    /// A network trained for it, and where it came from.
    Learned(Arc<DenseFile>, PathBuf),
}

/// Features of both modalities, and what their correlation is worth.
#[derive(Debug, Clone)]
pub struct DenseModel {
    features: Features,
    calibration: Calibration,
    hash: String,
    precision: Precision,
}

impl DenseModel {
    /// Plain structure.
    pub fn structure(structure: Structure) -> Self {
        let text = serde_json::to_string(&structure).expect("plain numbers");
        let calibration = serde_json::from_str(STRUCTURE).expect("a file of this build's own");
        Self { features: Features::Structure(structure), calibration, hash: container::sha256(&text), precision: Precision::Full }
    }

    /// Learned features from a file, or the shipped ones where no path is given.
    ///
    /// # Errors
    /// A file that cannot be read or holds no features for dense correlation.
    pub fn learned(path: Option<&Path>) -> Result<Self> {
        let (file, path) = Self::file_of(path)?;
        let calibration = match &file.manifest.calibration {
            Some(c) => serde_json::from_value(c.clone())
                .map_err(|e| Error::file(&path, format!("its calibration cannot be read ({e}); fit it anew")))?,
            // As wide as plain structure's: what was never calibrated must not look sure.
            None => serde_json::from_str(STRUCTURE).expect("a file of this build's own"),
        };
        Ok(Self { calibration, hash: file.hash(), features: Features::Learned(Arc::new(file), path), precision: Precision::Full })
    }

    /// Features of a kind, learned ones from a file or the shipped ones, made under `precision`.
    ///
    /// # Errors
    /// As [`learned`](Self::learned).
    pub fn of(kind: FeatureKind, path: Option<&Path>, precision: Precision) -> Result<Self> {
        match kind {
            FeatureKind::Structure => Ok(Self::structure(Structure::default())),
            FeatureKind::Learned => Ok(Self::learned(path)?.with_precision(precision)),
        }
    }

    /// The same features, learned ones made under `precision`. Those of either precision may be matched with those of the other.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// How learned features are made.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The file of learned features, or the shipped one where no path is given; and where it came from.
    pub(crate) fn file_of(path: Option<&Path>) -> Result<(DenseFile, PathBuf)> {
        match path {
            Some(path) => Ok((DenseFile::load(path)?, path.to_path_buf())),
            None if SHIPPED.is_empty() => Err(Error::invalid(
                "this build carries no learned features; give some with --dense-model, train some (`echogrid train --dense`), or use --features structure",
            )),
            None => Ok((DenseFile::parse(Path::new("(shipped)"), SHIPPED)?, PathBuf::from("(shipped)"))),
        }
    }

    /// Name of the features: `structure` or `learned`.
    pub fn name(&self) -> &'static str {
        match self.features {
            Features::Structure(_) => "structure",
            Features::Learned(..) => "learned",
        }
    }

    /// What databases are tied to.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The file of learned features.
    pub fn file(&self) -> Option<&DenseFile> {
        match &self.features {
            Features::Structure(_) => None,
            Features::Learned(file, _) => Some(file),
        }
    }

    /// Channels of the features.
    pub fn channels(&self) -> usize {
        match &self.features {
            Features::Structure(s) => s.orientations,
            Features::Learned(file, _) => file.manifest.encoder.channels,
        }
    }

    /// Ground metres a feature pixel.
    pub fn metres(&self) -> f64 {
        match &self.features {
            Features::Structure(s) => s.metres,
            Features::Learned(file, _) => file.manifest.pixel_m.unwrap_or(file.manifest.patch_m),
        }
    }

    /// Whether a window's energy counts about each channel's mean in it. Plain structure has strong means, which differ from place to
    /// place; learned features are trained without.
    pub(super) fn centres_windows(&self) -> bool {
        matches!(self.features, Features::Structure(_))
    }

    /// What a correlation of these features is worth.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// With another calibration.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> Self {
        self.calibration = calibration;
        self
    }

    /// Pixels around a map block that its features look at.
    fn halo(&self) -> usize {
        match &self.features {
            Features::Structure(s) => ((3.0 * (s.map_sigma + s.pool_sigma)).ceil() as usize + 2).next_multiple_of(2),
            Features::Learned(file, _) => file.manifest.encoder.reach().next_multiple_of(file.manifest.encoder.multiple()),
        }
    }

    /// What makes the features of `batch` images of `side` feature pixels. A map's block is seen with its surroundings; a
    /// SAR patch by itself, each channel's mean over its valid pixels removed, the whole of unit length.
    ///
    /// # Errors
    /// An odd side; the device.
    pub fn extractor(&self, engine: &Engine, modality: Modality, batch: usize, side: usize) -> Result<Extractor> {
        if side == 0 || !side.is_multiple_of(2) {
            return Err(Error::invalid(format!("features of {side} pixels a side; an even number is needed")));
        }
        let channels = self.channels();
        let input = match modality {
            Modality::Map => side + 2 * self.halo(),
            Modality::Sar => side,
        };
        let records = sampler::records(engine, batch)?;
        let mut patches = engine.tensor("patches", &[batch, input, input, 4], DType::F32)?;
        let features = engine.tensor("features", &[batch, side, side, channels], DType::F32)?;
        let planes = engine.tensor("energy and validity", &[batch, side, side, 2], DType::F32)?;
        let mut plan = Plan::default();
        let shown;
        let whole = match &self.features {
            Features::Structure(s) => {
                let mut builder = PlanBuilder::new(engine);
                let out = s.append(&mut builder, modality, &patches)?;
                plan.extend(builder.finish());
                shown = patches.clone();
                out
            }
            Features::Learned(file, path) => {
                // A side that the network's levels do not halve evenly gets pixels without data around it.
                let wide = input.next_multiple_of(file.manifest.encoder.multiple());
                let (mut graph, out) = file.manifest.encoder.tower_graph(modality, batch, wide)?;
                graph.set_precision(self.precision);
                let weights = Weights::from_file(engine, &graph, file, path)?;
                let inference = graph.inference(engine, &weights, &[out])?;
                let seen = inference.inputs[0].clone();
                match wide == input {
                    true => patches = seen.clone(),
                    false => plan.extend(widen(engine, &patches, &seen)?),
                }
                plan.extend(inference.plan);
                shown = seen;
                inference.outputs[0].clone()
            }
        };
        let mut builder = PlanBuilder::new(engine);
        match modality {
            Modality::Map => {
                structure::finish(&mut builder, &whole, &shown, MIN_VALIDITY, &features, &planes)?;
            }
            Modality::Sar => {
                let valid = engine.tensor("valid features", features.shape(), DType::F32)?;
                structure::finish(&mut builder, &whole, &shown, MIN_VALIDITY, &valid, &planes)?;
                let centred = engine.tensor("centred features", features.shape(), DType::F32)?;
                center::masked(&mut builder, &valid, &planes, &centred)?;
                let rows = [batch, side * side * channels];
                let norm = engine.tensor("length", &[batch], DType::F32)?;
                l2norm::forward(&mut builder, 1e-6, &centred.reshape(&rows)?, &features.reshape(&rows)?, &norm)?;
            }
        }
        plan.extend(builder.finish());
        Ok(Extractor { input, records, patches, plan, features, planes })
    }
}

/// What puts images \[N, s, s, C\] into the middle of larger ones \[N, S, S, C\], zeros around them.
fn widen(engine: &Engine, images: &Tensor, into: &Tensor) -> Result<Plan> {
    let ([n, small, _, c], [_, large, ..]) = (extents(images), extents(into));
    let margin = (large - small) / 2;
    let at = |v: usize| v.checked_sub(margin).filter(|v| *v < small);
    let row = |i: usize| match (at(i / large % large), at(i % large)) {
        (Some(y), Some(x)) => ((i / (large * large) * small + y) * small + x) as u32,
        _ => EMPTY,
    };
    let list = RowList::new(engine, n * small * small, n * large * large)?;
    list.write(engine, &(0..n * large * large).map(row).collect::<Vec<_>>())?;
    let mut builder = PlanBuilder::new(engine);
    row_list::gather(&mut builder, &list, &images.reshape(&[n * small * small, c])?, &into.reshape(&[n * large * large, c])?)?;
    Ok(builder.finish())
}

/// Of a tensor of images.
fn extents(t: &Tensor) -> [usize; 4] {
    [0, 1, 2, 3].map(|i| t.shape()[i])
}

impl Structure {
    /// Appends the features \[N, S, S, K\] of patches \[N, S, S, 4\]: unit length a pixel.
    fn append(&self, plan: &mut PlanBuilder<'_>, modality: Modality, patches: &Tensor) -> Result<Tensor> {
        let engine = plan.engine();
        let [n, h, w] = [0, 1, 2].map(|i| patches.shape()[i]);
        let plane = |name, c| engine.tensor(name, &[n, h, w, c], DType::F32);
        let (weights, sigma) = match modality {
            Modality::Map => ([1.0 / 3.0; 3], self.map_sigma),
            Modality::Sar => ([1.0, 0.0, 0.0], self.sar_sigma),
        };
        let (grey, smooth) = (plane("grey", 1)?, plane("smooth grey", 1)?);
        structure::grey(plan, patches, weights, &grey)?;
        gaussian::blur(plan, &grey, Some(patches), sigma, &smooth)?;
        let (oriented, pooled) = (plane("oriented", self.orientations)?, plane("pooled", self.orientations)?);
        structure::oriented(plan, &smooth, patches, MIN_VALIDITY, self.power, &oriented)?;
        gaussian::blur(plan, &oriented, Some(patches), self.pool_sigma, &pooled)?;
        let (unit, norm) = (plane("unit", self.orientations)?, plane("lengths", 1)?);
        let rows = [n * h * w, self.orientations];
        l2norm::forward(plan, 1e-6, &pooled.reshape(&rows)?, &unit.reshape(&rows)?, &norm.reshape(&[n * h * w])?)?;
        Ok(unit)
    }
}

/// Makes the features of a batch: write `records`, run the sampler into `patches`, then `plan`.
#[derive(Debug)]
pub struct Extractor {
    /// Side of the patches that the sampler cuts, feature pixels: with what surrounds a map's block.
    pub input: usize,
    /// Which patches.
    pub records: Tensor,
    /// \[N, input, input, 4\].
    pub patches: Tensor,
    /// From patches to features.
    pub plan: Plan,
    /// \[N, side, side, C\].
    pub features: Tensor,
    /// Energy and validity \[N, side, side, 2\].
    pub planes: Tensor,
}
