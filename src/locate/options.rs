//! How images are looked for.

use crate::dense::FeatureKind;
use crate::gpu::Precision;
use crate::refine::Choice;
use crate::scene::OpenOptions;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How places are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// By retrieval: the cells that look like a patch
    Index,
    /// By correlating a patch with the whole map, to the metre
    Dense,
    /// Both
    Both,
}

impl Method {
    /// Its name, as an option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Dense => "dense",
            Self::Both => "both",
        }
    }
}

/// Standard deviations that a cosine of 1 adds to a peak, unless told otherwise.
pub const INDEX_CREDIT: f64 = 1.0;
/// Patches of a row that are refined together, unless told otherwise.
pub const STRIP: usize = 5;

/// How images are looked for. The defaults are those of `echogrid locate`.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How places are found; none takes dense matching where there is a dense database, else both where the map can be read, else the index.
    pub method: Option<Method>,
    /// Model of the retrieval database; none is the shipped one.
    pub model: Option<PathBuf>,
    /// Features to correlate; none takes those of the dense database, or learned ones.
    pub features: Option<FeatureKind>,
    /// Learned features instead of the shipped ones.
    pub dense_model: Option<PathBuf>,
    /// How networks multiply.
    pub precision: Precision,
    /// The map's files, where they are needed and do not lie beside the database.
    pub map: Vec<PathBuf>,
    /// How they are read.
    pub map_reading: OpenOptions,
    /// Side of a patch, map pixels; none takes the largest that the database is for and the image holds.
    pub patch: Option<u32>,
    /// Distance between patches, map pixels; none lays them side by side.
    pub step: Option<u32>,
    /// Candidates kept of each patch.
    pub top: usize,
    /// Patches encoded at once.
    pub batch: usize,
    /// A fix less probable than this is "not found"; none takes the features' own.
    pub threshold: Option<f64>,
    /// Whether the patches of an image vote together.
    pub vote: bool,
    /// Searches the best places of each patch again at so many ground metres a feature pixel; reads the map.
    pub closer_m: Option<f64>,
    /// Cells of the index around which each patch is correlated ([`Method::Both`]).
    pub cells: usize,
    /// What a cell's cosine of 1 adds to a peak in it, standard deviations ([`Method::Both`]).
    pub index_credit: f64,
    /// Ground metres a feature pixel ([`Method::Both`]); none takes the features' own.
    pub feature_m: Option<f64>,
    /// Side of a block, feature pixels ([`Method::Both`]); 0 chooses.
    pub block: usize,
    /// How an index's candidates are put in order.
    pub refine: Choice,
    /// Patches of a row of an image that are refined together.
    pub strip: Option<usize>,
    /// Keeps what each patch's surface says of every part of the map, for pictures.
    pub surfaces: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: None,
            model: None,
            features: None,
            dense_model: None,
            precision: Precision::Full,
            map: Vec::new(),
            map_reading: OpenOptions::default(),
            patch: None,
            step: None,
            top: 10,
            batch: 32,
            threshold: None,
            vote: true,
            closer_m: None,
            cells: 10,
            index_credit: INDEX_CREDIT,
            feature_m: None,
            block: 0,
            refine: Choice::default(),
            strip: None,
            surfaces: false,
        }
    }
}

/// Where the dense database lies that belongs to another: the name with `.dense` behind it.
pub fn dense_beside(index: &Path) -> PathBuf {
    let mut name = index.as_os_str().to_owned();
    name.push(".dense");
    name.into()
}
