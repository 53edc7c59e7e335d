//! The scene that something is judged on: a map and a SAR image, or pairs.

use super::global::name_of;
use super::pairs::{APART, PairArgs, SizedPairs};
use super::reading::{MapNoData, SarArgs, open_map};
use crate::pairs::{PairScene, PairSet};
use crate::scene::ScenePair;
use crate::train::{check_fits, suitable_patch};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// A map and a SAR image of one area, or pairs, which are laid side by side.
#[derive(Debug, Clone, Args)]
pub struct JudgedArgs {
    /// Optical map: GeoTIFF, or PNG or JPEG with a world file; several files, a folder of them, or a list (.txt, a path a line) count as one map
    #[arg(
        long,
        value_name = "MAP",
        num_args = 1..,
        required_unless_present_any = ["pairs", "pairs_list"],
        conflicts_with_all = ["pairs", "pairs_list"]
    )]
    map: Vec<PathBuf>,
    #[command(flatten)]
    no_data: MapNoData,
    /// SAR image of the same area
    #[arg(
        long,
        value_name = "SAR",
        required_unless_present_any = ["pairs", "pairs_list"],
        conflicts_with_all = ["pairs", "pairs_list"]
    )]
    sar: Option<PathBuf>,
    #[command(flatten)]
    pairs: PairArgs,
}

/// What is judged on, before it is opened.
#[derive(Debug)]
pub(in crate::cli) enum Ground {
    /// A map and a SAR image.
    Scene,
    /// All pairs as one set.
    Pairs(SizedPairs),
}

impl JudgedArgs {
    /// What is read.
    pub(in crate::cli) fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.map.iter().chain(&self.sar).chain(self.pairs.inputs())
    }

    /// Pairs of another area in two folders, which must hold patches of `side` px, called `what`.
    pub(in crate::cli) fn others(&self, folders: &[PathBuf; 2], what: &str, side: u32) -> Result<SizedPairs> {
        let others = self.pairs.sized(PairSet::folders(&folders[0], &folders[1])?, 0)?;
        check_fits(what, side, others.set.shortest_side())?;
        Ok(others)
    }

    /// Opens pairs as what is judged on is read.
    pub(in crate::cli) fn open_pairs(&self, pairs: &SizedPairs, reading: &SarArgs, lattice: u32) -> Result<ScenePair> {
        pairs.scene(reading, self.no_data, lattice)
    }

    /// What is judged on: of pairs, whose headers are read, those of all sets together.
    pub(in crate::cli) fn ground(&self) -> Result<Ground> {
        let all = SizedPairs::join(self.pairs.sets()?)?.map(SizedPairs::judged).transpose()?;
        Ok(all.map_or(Ground::Scene, Ground::Pairs))
    }

    /// Opens pairs whose size on the ground does not matter, with the place of each.
    pub(in crate::cli) fn open_with_places(&self, reading: &SarArgs) -> Result<PairScene> {
        let all = SizedPairs::join(self.pairs.of_any_scale().sets()?)?;
        let all =
            all.ok_or_else(|| Error::invalid("pairs are missing: name them with --pairs SAR OPT, or in a table with --pairs-list"))?;
        all.judged()?.pair_scene(reading, self.no_data, APART)
    }

    /// Opens it, and says what is doubtful about it. Pairs begin at multiples of `lattice` px.
    pub(in crate::cli) fn open(&self, ground: &Ground, reading: &SarArgs, lattice: u32) -> Result<ScenePair> {
        match (ground, &self.sar) {
            (Ground::Pairs(pairs), _) => self.open_pairs(pairs, reading, lattice),
            (Ground::Scene, Some(sar)) => Ok(ScenePair::of(open_map(&self.map, self.no_data)?, reading.open(sar)?)?),
            (Ground::Scene, None) => Err(Error::invalid("--map and --sar, or --pairs, are missing")),
        }
    }

    /// Name of the map, for people; of pairs those of their sources.
    pub(in crate::cli) fn map_name(&self) -> String {
        self.name(self.map.first(), 1)
    }

    /// The same of the SAR image.
    pub(in crate::cli) fn sar_name(&self) -> String {
        self.name(self.sar.as_ref(), 0)
    }

    fn name(&self, file: Option<&PathBuf>, of_pair: usize) -> String {
        let folders = self.pairs.pairs.chunks(2).map(|f| &f[of_pair]);
        let all: Vec<String> = file.into_iter().chain(folders).chain(&self.pairs.pairs_list).map(|p| name_of(p)).collect();
        all.join(", ")
    }
}

impl Ground {
    /// Refuses patches that no pair holds; `what` names them and their option.
    pub(in crate::cli) fn check_holds(&self, what: &str, side: u32) -> Result<()> {
        match self {
            Self::Scene => Ok(()),
            Self::Pairs(pairs) => check_fits(what, side, pairs.set.shortest_side()),
        }
    }

    /// A default side of patches, or what suits the pairs where they are too small for it.
    pub(in crate::cli) fn suiting(&self, side: u32) -> u32 {
        match self {
            Self::Scene => side,
            Self::Pairs(pairs) => side.min(suitable_patch(pairs.set.shortest_side())),
        }
    }
}
