//! Sets of pairs, and how they are split.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::fault::{Fault, Faults};
use super::{find, list};
use crate::scene::{ImageHeader, OpenOptions};
use crate::{Error, Result};

/// A pair before its files are looked at.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) sar: PathBuf,
    pub(super) optical: PathBuf,
    pub(super) split: Option<String>,
}

/// A SAR image and an optical image of the same ground, pixel on pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What both are called, or the table calls them.
    pub name: String,
    /// The SAR image.
    pub sar: PathBuf,
    /// The optical image.
    pub optical: PathBuf,
    /// Width and height of both, px.
    pub size: [u32; 2],
    /// The part of the set that a table puts it in.
    pub split: Option<String>,
}

/// Pairs in the order of their numbers. Only the headers of their files have been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairSet {
    pairs: Vec<Pair>,
}

impl PairSet {
    /// The pairs of two folders of equal-named images (`sar/7.png`, `opt/7.jpg`; QXS-SAROPT's `sar_256_oc_0.2` and `opt_256_oc_0.2`), in natural
    /// order of the names; or of one folder named twice, of images `N_sar` and `N_opt`.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no pair; images without a partner, of unlike sizes or types, or that cannot be read: the first ten are named.
    pub fn folders(sar: &Path, optical: &Path) -> Result<Self> {
        Self::sound(sar, Self::examine_folders(sar, optical)?)
    }

    /// The pairs that a table names (CSV): columns `sar` and `optical`, relative to its own folder, and, where they are there, `name` and `split`; in
    /// its order.
    ///
    /// # Errors
    /// A table that cannot be read, lacks a column or a file's name (with the line); else as [`folders`](Self::folders).
    pub fn list(csv: &Path) -> Result<Self> {
        Self::sound(csv, Self::examine_list(csv)?)
    }

    /// As [`folders`](Self::folders), but the pairs that are sound, and what is wrong with the others.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no pair.
    pub fn examine_folders(sar: &Path, optical: &Path) -> Result<(Self, Faults)> {
        let (named, faults) = find::folders(sar, optical)?;
        Ok(examine(named, faults))
    }

    /// As [`list`](Self::list), but the pairs that are sound, and what is wrong with the others.
    ///
    /// # Errors
    /// A table that cannot be read, lacks a column or a file's name.
    pub fn examine_list(csv: &Path) -> Result<(Self, Faults)> {
        Ok(examine(list::list(csv)?, Vec::new()))
    }

    fn sound(at: &Path, (set, faults): (Self, Faults)) -> Result<Self> {
        match faults.0.len() {
            0 => Ok(set),
            _ => Err(Error::file(at, format!("{faults}. `echogrid pairs check` lists all of them"))),
        }
    }

    /// The pairs.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// These pairs and those of another set behind them.
    ///
    /// # Errors
    /// Images of other bands or another type than this set's.
    pub fn and(mut self, other: Self) -> Result<Self> {
        let named = |p: &Pair| Named { name: p.name.clone(), sar: p.sar.clone(), optical: p.optical.clone(), split: p.split.clone() };
        if let (Some(own), Some(others)) = (self.pairs.first(), other.pairs.first()) {
            let (_, faults) = examine(vec![named(own), named(others)], Vec::new());
            if let Some(fault) = faults.0.first() {
                return Err(Error::invalid(format!("these pairs do not go together: {fault}")));
            }
        }
        self.pairs.extend(other.pairs);
        Ok(self)
    }

    /// Whether a table says of some which part they are of.
    pub fn is_divided(&self) -> bool {
        self.pairs.iter().any(|p| p.split.is_some())
    }

    /// Those that a table does not put into one of `parts`.
    pub fn without(&self, parts: &[&str]) -> Self {
        let is_in = |p: &&Pair| p.split.as_deref().is_some_and(|s| parts.iter().any(|part| s.eq_ignore_ascii_case(part)));
        Self { pairs: self.pairs.iter().filter(|p| !is_in(p)).cloned().collect() }
    }

    /// Those that the table puts into one of `parts` (its column `split`).
    pub fn part(&self, parts: &[&str]) -> Self {
        let is_in = |p: &&Pair| p.split.as_deref().is_some_and(|s| parts.iter().any(|part| s.eq_ignore_ascii_case(part)));
        Self { pairs: self.pairs.iter().filter(is_in).cloned().collect() }
    }

    /// Splits into pairs to train on and pairs to judge by: of each of `blocks` runs of consecutive pairs the last `share` is held out. Pairs are
    /// never drawn at random, because crops of one scene overlap by about a fifth: so the neighbour on either side of what is held out belongs to neither. Crops that
    /// lie above each other in a scene are a row's length apart in its numbers: few long blocks share less ground than many short ones.
    ///
    /// Both parts are in order; either may be empty, of a set that is too small.
    pub fn split(&self, share: f64, blocks: usize) -> (Self, Self) {
        let (n, blocks) = (self.len(), blocks.clamp(1, self.len().max(1)));
        let mut held = vec![false; n];
        for b in 0..blocks {
            let (from, to) = (b * n / blocks, (b + 1) * n / blocks);
            let count = ((share.clamp(0.0, 1.0) * (to - from) as f64).round() as usize).min(to - from);
            held[to - count..to].fill(true);
        }
        let beside = |i: usize| i.checked_sub(1).is_some_and(|j| held[j]) || held.get(i + 1).is_some_and(|h| *h);
        let of = |keep: &dyn Fn(usize) -> bool| Self { pairs: (0..n).filter(|i| keep(*i)).map(|i| self.pairs[i].clone()).collect() };
        (of(&|i| !held[i] && !beside(i)), of(&|i| held[i]))
    }

    /// The shorter side of the pair whose shorter side is the least, px: what every pair can hold.
    pub fn shortest_side(&self) -> u32 {
        self.pairs.iter().map(|p| p.size[0].min(p.size[1])).min().unwrap_or(0)
    }

    /// Ground size of a pixel as the first pair's optical image says, metres; none where it says no place.
    ///
    /// # Errors
    /// Reading its header.
    pub fn own_pixel_m(&self) -> Result<Option<f64>> {
        let Some(first) = self.pairs.first() else { return Ok(None) };
        let raster = OpenOptions::default().open(&first.optical)?;
        Ok(raster.ground_pixel_size().ok().map(|(x, y)| (x * y).sqrt()))
    }
}

/// The pairs whose files are sound, and what is wrong with the others besides `faults`.
fn examine(named: Vec<Named>, mut faults: Vec<Fault>) -> (PairSet, Faults) {
    let outlines: Vec<_> = named.par_iter().map(|n| (ImageHeader::of(&n.sar), ImageHeader::of(&n.optical))).collect();
    let mut first: Option<[(PathBuf, ImageHeader); 2]> = None;
    let mut pairs = Vec::with_capacity(named.len());
    for (Named { name, sar, optical, split }, outlines) in named.into_iter().zip(outlines) {
        let (of_sar, of_optical) = match outlines {
            (Ok(a), Ok(b)) => (a, b),
            (a, b) => {
                faults.extend([a.err(), b.err()].into_iter().flatten().map(|e| Fault::Unreadable(e.to_string())));
                continue;
            }
        };
        let [first_sar, first_optical] = first.get_or_insert_with(|| [(sar.clone(), of_sar), (optical.clone(), of_optical)]);
        let mut own: Vec<Fault> =
            [Fault::of_type(&sar, of_sar, first_sar), Fault::of_type(&optical, of_optical, first_optical)].into_iter().flatten().collect();
        let (sar_size, optical_size) = (of_sar.size, of_optical.size);
        if sar_size != optical_size {
            own.push(Fault::Sizes { sar: sar.clone(), sar_size, optical: optical.clone(), optical_size });
        }
        if own.is_empty() {
            pairs.push(Pair { name, sar, optical, size: sar_size, split });
        }
        faults.extend(own);
    }
    (PairSet { pairs }, Faults(faults))
}

#[cfg(test)]
mod tests;
