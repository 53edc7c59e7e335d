//! What a run is trained and validated on: scenes, or pairs laid side by side.

use crate::cli::common::{APART, Global, HELD_OUT, MapArgs, MapNoData, PairArgs, SarArgs, SizedPairs, TRAINING, warn};
use crate::pairs::{PairScene, PairSet};
use crate::scene::ScenePair;
use crate::{Error, Result};
use std::path::PathBuf;

/// What is trained and validated on.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct GroundArgs {
    /// A map and a SAR image of one area, both georeferenced; may be given several times
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required_unless_present_any = ["print_config", "pairs", "pairs_list"], action = clap::ArgAction::Append)]
    scene: Vec<PathBuf>,
    /// A map and a SAR image to validate on; never trained on
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required_unless_present_any = ["print_config", "pairs", "pairs_list", "val_pairs"])]
    val: Vec<PathBuf>,
    #[command(flatten)]
    pairs: PairArgs,
    /// Pairs to validate on; never trained on. Without these and --val, a table's column `split` says which; else of the first --pairs the end of each block of consecutive numbers is held out, and a pair beside it is left out
    #[arg(long, num_args = 2, value_names = ["SAR", "OPT"], conflicts_with = "val", help_heading = "Pairs")]
    val_pairs: Vec<PathBuf>,
    /// Share of the pairs that is held out to validate on
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share, help_heading = "Pairs")]
    val_share: f64,
    /// Blocks of consecutive pairs of which the end is held out: few, where pairs were cut from the same scenes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..), help_heading = "Pairs")]
    val_blocks: usize,
    #[command(flatten)]
    reading: SarArgs,
    #[command(flatten)]
    no_data: MapNoData,
}

/// A share between none and all.
fn share(text: &str) -> std::result::Result<f64, String> {
    text.parse::<f64>().ok().filter(|v| *v > 0.0 && *v < 1.0).ok_or_else(|| "a share between 0 and 1 is needed".into())
}

/// Pairs to train on, and to validate on; their headers have been read.
#[derive(Debug, Default)]
pub(super) struct Sets {
    training: Vec<SizedPairs>,
    val: Option<SizedPairs>,
}

impl Sets {
    fn all(&self) -> impl Iterator<Item = &SizedPairs> {
        self.training.iter().chain(&self.val)
    }

    /// The shorter side of the smallest pair, px; none without pairs.
    pub(super) fn least(&self) -> Option<u32> {
        self.all().map(|s| s.set.shortest_side()).min()
    }

    /// The shorter side of the smallest pair of each set, px, and the ground size of its pixels.
    pub(super) fn scales(&self) -> Vec<(u32, f64)> {
        self.all().map(|s| (s.set.shortest_side(), s.pixel_m)).collect()
    }

    /// Takes the held-out pairs that tables name, all of them together; else, where `split` says how, the end of each block of the first set.
    fn hold_out(&mut self, split: Option<(f64, usize)>) -> Result<()> {
        let mut held = Vec::new();
        for SizedPairs { set, pixel_m } in self.training.iter_mut().filter(|s| s.set.is_divided()) {
            let (all, val) = (set.len(), set.part(&HELD_OUT));
            *set = set.part(&TRAINING);
            let none = all - set.len() - val.len();
            if none > 0 {
                warn(format_args!(
                    "{none} of {all} rows of a table are of no split that is trained or validated on (train, val): they are left out"
                ));
            }
            held.push(SizedPairs { set: val, pixel_m: *pixel_m });
        }
        let Some((share, blocks)) = split else { return Ok(()) };
        self.val = SizedPairs::join(held.into_iter().filter(|s| !s.set.is_empty()))?;
        if let (None, Some(SizedPairs { set, pixel_m })) = (&self.val, self.training.first_mut()) {
            if set.is_divided() {
                return Err(Error::invalid("the tables put no pair into a split `val`: name others with --val-pairs SAR OPT"));
            }
            let (training, held) = set.split(share, blocks);
            if held.is_empty() {
                return Err(Error::invalid(format!(
                    "{} pairs leave {} to train on and none to validate on: take more, or name others with --val-pairs SAR OPT",
                    set.len(),
                    training.len(),
                )));
            }
            *set = training;
            self.val = Some(SizedPairs { set: held, pixel_m: *pixel_m });
        }
        Ok(())
    }
}

impl GroundArgs {
    /// What is read.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.scene.iter().chain(&self.val).chain(self.pairs.inputs()).chain(&self.val_pairs)
    }

    /// The same, whose pairs may have pixels of any size.
    pub(super) fn of_any_scale(&self) -> Self {
        Self { pairs: self.pairs.of_any_scale(), ..self.clone() }
    }

    /// Whether scenes are trained on.
    pub(super) fn has_scenes(&self) -> bool {
        !self.scene.is_empty()
    }

    /// The pairs, where there are any.
    pub(super) fn sets(&self) -> Result<Sets> {
        let mut sets = Sets { training: self.pairs.sets()?, val: None };
        if sets.training.is_empty() && self.val_pairs.is_empty() {
            return Ok(sets);
        }
        if let [sar, optical] = &self.val_pairs[..] {
            sets.val = Some(self.pairs.sized(PairSet::folders(sar, optical)?, 0)?);
        }
        let validated = sets.val.is_some() || !self.val.is_empty();
        sets.hold_out((!validated).then_some((self.val_share, self.val_blocks)))?;
        if sets.training.iter().any(|s| s.set.is_empty()) {
            return Err(Error::invalid(
                "a set of pairs leaves none to train on: take more, or name others to validate on with --val-pairs SAR OPT",
            ));
        }
        if let Some(val) = &sets.val {
            sets.training.iter().try_for_each(|t| t.check_apart(val))?;
        }
        Ok(sets)
    }

    /// Opens what is trained on, whose pairs begin at multiples of `lattice[0]` px, and what is validated on, of `lattice[1]`.
    pub(super) fn open(&self, global: &Global, sets: &Sets, lattice: [Option<u32>; 2]) -> Result<(Vec<ScenePair>, ScenePair)> {
        let [training, judging] = lattice.map(|l| l.unwrap_or(APART));
        if let Some(val) = &sets.val {
            let count: usize = sets.training.iter().map(|s| s.set.len()).sum();
            global.say(format_args!("{count} pairs to train on, {} to validate on", val.set.len()));
        }
        let scene = |files: &[PathBuf]| self.reading.pair(&MapArgs { map: vec![files[0].clone()], no_data: self.no_data }, &files[1]);
        let scenes = self.scene.chunks(2).map(scene);
        let pairs = sets.training.iter().map(|s| s.scene(&self.reading, self.no_data, training));
        let scenes = scenes.chain(pairs).collect::<Result<Vec<_>>>()?;
        let val = match &sets.val {
            Some(val) => val.scene(&self.reading, self.no_data, judging)?,
            None => scene(&self.val)?,
        };
        Ok((scenes, val))
    }

    /// Opens pairs alone, those that are trained on and those that are validated on, with the place of each.
    pub(super) fn open_pairs(&self, global: &Global, sets: &Sets) -> Result<[PairScene; 2]> {
        let missing = |what: &str| Error::invalid(format!("there are no pairs to {what}"));
        let training = SizedPairs::join(sets.training.iter().cloned())?.ok_or_else(|| missing("train on"))?;
        let val = sets.val.as_ref().ok_or_else(|| missing("validate on"))?;
        global.say(format_args!("{} pairs to train on, {} to validate on", training.set.len(), val.set.len()));
        let open = |sized: &SizedPairs| sized.pair_scene(&self.reading, self.no_data, APART);
        Ok([open(&training)?, open(val)?])
    }
}
