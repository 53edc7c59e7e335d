//! Pairs in place of scenes: the options, and the scene that they make.

use super::output::{warn, warn_of};
use super::reading::{MapNoData, SarArgs};
use crate::pairs::{PairScene, PairSet, SceneOptions};
use crate::scene::ScenePair;
use crate::{Error, Result};
use clap::Args;
use std::collections::HashSet;
use std::path::PathBuf;

/// Pairs of a SAR and an optical image of the same ground, pixel on pixel.
#[derive(Debug, Clone, Default, Args)]
pub struct PairArgs {
    /// Two folders of equal-named SAR and optical images of the same ground, pixel on pixel (or one folder twice, of images N_sar and N_opt); may be given several times
    #[arg(long, num_args = 2, value_names = ["SAR", "OPT"], action = clap::ArgAction::Append, help_heading = "Pairs")]
    pub pairs: Vec<PathBuf>,
    /// A table of such pairs: columns `sar` and `optical`, relative to its folder, and perhaps `name` and `split` (train, val); may be given several times
    #[arg(long, value_name = "FILE.csv", help_heading = "Pairs")]
    pub pairs_list: Vec<PathBuf>,
    /// Ground size of a pixel of pairs, whatever they say of it themselves: one for all (of --val-pairs and --absent-pairs too), or one for each --pairs and then each --pairs-list [default: what the first of a set says]
    #[arg(long, value_name = "METRES", value_delimiter = ',', value_parser = metres, help_heading = "Pairs")]
    pub pixel_size: Vec<f64>,
}

/// What pairs are laid apart by where no index's cells are to begin with them, px.
pub(in crate::cli) const APART: u32 = 8;

/// What a table calls the pairs that are trained on.
pub(in crate::cli) const TRAINING: [&str; 2] = ["train", "training"];
/// And those that are held out to validate on.
pub(in crate::cli) const HELD_OUT: [&str; 3] = ["val", "valid", "validation"];

/// Pixels of sizes that differ by less than this share are of one size: what georeferences of one sensor differ by.
const ONE_SIZE: f64 = 0.02;

/// A length above 0.
fn metres(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(v) if v > 0.0 && v.is_finite() => Ok(v),
        _ => Err("metres above 0 are needed".into()),
    }
}

/// A set of pairs with pixels of known size.
#[derive(Debug, Clone)]
pub(in crate::cli) struct SizedPairs {
    pub(in crate::cli) set: PairSet,
    /// Ground size of a pixel, metres.
    pub(in crate::cli) pixel_m: f64,
}

impl PairArgs {
    /// What is read.
    pub(in crate::cli) fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.pairs.iter().chain(&self.pairs_list)
    }

    /// The same, whose pixels may be of any size: where that does not matter, a pixel that does not say how large it is counts as a metre.
    pub(in crate::cli) fn of_any_scale(&self) -> Self {
        let pixel_size = if self.pixel_size.is_empty() { vec![1.0] } else { self.pixel_size.clone() };
        Self { pixel_size, ..self.clone() }
    }

    /// The sets, as they are given.
    pub(in crate::cli) fn sets(&self) -> Result<Vec<SizedPairs>> {
        let folders = self.pairs.chunks(2).map(|f| PairSet::folders(&f[0], &f[1]));
        let sets = folders.chain(self.pairs_list.iter().map(|f| PairSet::list(f))).collect::<Result<Vec<_>>>()?;
        if self.pixel_size.len() > 1 && self.pixel_size.len() != sets.len() {
            return Err(Error::invalid(format!(
                "--pixel-size names {} sizes for {} sets of pairs: give one for all, or one for each",
                self.pixel_size.len(),
                sets.len()
            )));
        }
        sets.into_iter().enumerate().map(|(i, set)| self.sized(set, i)).collect()
    }

    /// A set with the size of its pixels: the one that was given for the `number`-th, else its own.
    pub(in crate::cli) fn sized(&self, set: PairSet, number: usize) -> Result<SizedPairs> {
        let given = self.pixel_size.get(number).or(self.pixel_size.first()).copied();
        let pixel_m = match given {
            Some(m) => m,
            None => set.own_pixel_m()?.ok_or_else(|| {
                let name = set.pairs().first().map(|p| p.optical.display().to_string()).unwrap_or_default();
                Error::invalid(format!(
                    "{name}: says nothing of the ground size of its pixels; give it with --pixel-size METRES (10 for pairs of Sentinel-1 and -2, 1 for QXS-SAROPT)"
                ))
            })?,
        };
        Ok(SizedPairs { set, pixel_m })
    }
}

impl SizedPairs {
    /// All pairs as one set; none of no sets.
    pub(in crate::cli) fn join(sets: impl IntoIterator<Item = Self>) -> Result<Option<Self>> {
        let mut sets = sets.into_iter();
        let Some(mut all) = sets.next() else { return Ok(None) };
        for next in sets {
            if (next.pixel_m / all.pixel_m - 1.0).abs() > ONE_SIZE {
                return Err(Error::invalid(format!(
                    "pairs of {} m and of {} m a pixel do not make one scene: take them one after the other",
                    all.pixel_m, next.pixel_m
                )));
            }
            all.set = all.set.and(next.set)?;
        }
        Ok(Some(all))
    }

    /// What a table does not put into training: pairs to judge on. All, where none says; tells how many are left out.
    ///
    /// # Errors
    /// None is left.
    pub(in crate::cli) fn judged(self) -> Result<Self> {
        let set = self.set.without(&TRAINING);
        match self.set.len() - set.len() {
            0 => {}
            all if set.is_empty() => {
                return Err(Error::invalid(format!("the table puts all {all} pairs into training: there is none to judge on")));
            }
            left => warn(format_args!("{left} pairs that the table puts into training are left out")),
        }
        Ok(Self { set, ..self })
    }

    /// Refuses sets that share a SAR image.
    ///
    /// # Errors
    /// The first image that is in both.
    pub(in crate::cli) fn check_apart(&self, other: &Self) -> Result<()> {
        let file = |p: &std::path::Path| p.canonicalize().unwrap_or_else(|_| p.into());
        let own: HashSet<PathBuf> = self.set.pairs().iter().map(|p| file(&p.sar)).collect();
        match other.set.pairs().iter().find(|p| own.contains(&file(&p.sar))) {
            None => Ok(()),
            Some(shared) => Err(Error::file(&shared.sar, "is in both sets of pairs, which must share none: one is kept from the other")),
        }
    }

    /// The pairs side by side as one scene, each beginning at a multiple of `lattice` px; says what is doubtful.
    pub(in crate::cli) fn scene(&self, reading: &SarArgs, map: MapNoData, lattice: u32) -> Result<ScenePair> {
        Ok(self.pair_scene(reading, map, lattice)?.pair)
    }

    /// The same, with the place of each.
    pub(in crate::cli) fn pair_scene(&self, reading: &SarArgs, map: MapNoData, lattice: u32) -> Result<PairScene> {
        let plain = SceneOptions::new(self.pixel_m);
        let sar = reading.options_or(plain.sar.bands.clone());
        let optical = crate::scene::OpenOptions { bands: plain.optical.bands.clone(), ..map.options() };
        let scene = self.set.scene_with(&SceneOptions { lattice, sar, optical, unit: reading.unit(), ..plain })?;
        [&scene.pair.map, &scene.pair.sar].iter().for_each(|i| warn_of(&i.raster));
        let [sar, optical] = scene.incomplete();
        if sar + optical > 0 {
            warn(format_args!(
                "{sar} SAR and {optical} optical images of {} pairs have pixels that count as no data, by a tag, a mask, or areas of 8 x 8 px of one value (0, or one that fills much of an image's border); --no-data none (of optical images --map-no-data none) reads them as data",
                self.set.len()
            ));
        }
        Ok(scene)
    }
}
