//! What was measured on a device: of each family of kernels, which is fastest at which sizes.

use super::Precision;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

/// A family's name under a precision.
pub fn family_for(precision: Precision, family: &str) -> Cow<'_, str> {
    match precision {
        Precision::Full => family.into(),
        Precision::Mixed => format!("{family}, mixed").into(),
    }
}

/// Kernels of one family, timed on one problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The family.
    pub family: String,
    /// The problem's sizes, in the order the family names them in.
    pub sizes: Vec<usize>,
    /// Seconds of each kernel that was right.
    pub seconds: BTreeMap<String, f64>,
}

impl Measured {
    /// Its kernels, the fastest first.
    pub fn ranking(&self) -> Vec<(&str, f64)> {
        let mut all: Vec<(&str, f64)> = self.seconds.iter().map(|(k, s)| (k.as_str(), *s)).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(b.0)));
        all
    }

    /// How far its problem is from one of these sizes: the sum of the squared logarithms of the ratios.
    fn distance(&self, sizes: &[usize]) -> f64 {
        self.sizes.iter().zip(sizes).map(|(a, b)| ((*a).max(1) as f64 / (*b).max(1) as f64).ln().powi(2)).sum()
    }
}

/// The measurements of a device, from which kernels are chosen. None at all is allowed: kernels then go by the kind of device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// A line a problem.
    pub measured: Vec<Measured>,
}

/// The measurements of an adapter, as they lie in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningFile {
    /// Its name.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// The version of echogrid that measured.
    pub version: String,
    /// Width of its subgroups, where they all have one.
    pub lanes: Option<usize>,
    /// The measurements.
    #[serde(flatten)]
    pub tuning: Tuning,
}

/// Seconds that a dispatch must save for a longer program to be worth compiling.
const WORTH: f64 = 2e-3;

impl Tuning {
    /// The table that is shipped for adapters of this name (up to a bracket: software adapters give their compiler's version there) with
    /// subgroups of this width, if any.
    pub fn shipped(adapter: &str, lanes: Option<usize>) -> Option<Self> {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/tuning.json"));
        let all: Vec<TuningFile> = serde_json::from_str(text).expect("a test reads it");
        let like = |f: &TuningFile| f.lanes == lanes && f.adapter.split(" (").next() == adapter.split(" (").next();
        all.into_iter().find(like).map(|f| f.tuning)
    }

    /// [`Tuning::choose`] for a precision: by what was measured in it, else by what was measured in full, where rounding costs little.
    pub fn choose_for<K: FromStr + Ord>(
        &self,
        precision: Precision,
        family: &str,
        sizes: &[usize],
        usable: impl Fn(&K) -> bool,
    ) -> Option<K> {
        self.choose(&family_for(precision, family), sizes, &usable).or_else(|| self.choose(family, sizes, usable))
    }

    /// The fastest kernel that is `usable`, of those timed on the nearest problem of the family. Of kernels that take at most a twentieth longer, or a fifth
    /// where that is below two milliseconds, the least counts, which has the shortest program: times differ by as much between runs, and a long program
    /// takes longer to compile at its first use.
    pub fn choose<K: FromStr + Ord>(&self, family: &str, sizes: &[usize], usable: impl Fn(&K) -> bool) -> Option<K> {
        let mut near: Vec<&Measured> = self.measured.iter().filter(|m| m.family == family && m.sizes.len() == sizes.len()).collect();
        near.sort_by(|a, b| a.distance(sizes).total_cmp(&b.distance(sizes)));
        near.iter().find_map(|m| {
            let timed = m.ranking().into_iter().filter_map(|(name, s)| Some((K::from_str(name).ok().filter(&usable)?, s)));
            let timed: Vec<(K, f64)> = timed.collect();
            let fastest = timed.first()?.1;
            let most = (1.05 * fastest).max((1.2 * fastest).min(fastest + WORTH));
            timed.into_iter().take_while(|(_, s)| *s <= most).map(|(k, _)| k).min()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Tuning {
        let line = |sizes: [usize; 2], seconds: [(&str, f64); 2]| Measured {
            family: "f".into(),
            sizes: sizes.to_vec(),
            seconds: seconds.map(|(k, s)| (k.to_string(), s)).into(),
        };
        Tuning { measured: vec![line([64, 64], [("1", 2.0), ("2", 1.0)]), line([1024, 64], [("1", 1.0), ("3", 2.0)])] }
    }

    #[test]
    fn the_fastest_usable_kernel_of_the_nearest_problem_is_chosen() {
        let t = table();
        assert_eq!(t.choose("f", &[60, 70], |_: &u32| true), Some(2));
        assert_eq!(t.choose("f", &[2000, 70], |_: &u32| true), Some(1));
        assert_eq!(t.choose("f", &[60, 70], |k: &u32| *k != 2), Some(1));
        // Nearly as fast, and less.
        let chosen = |seconds: [f64; 3]| {
            let seconds = ["0", "1", "2"].map(String::from).into_iter().zip(seconds).collect();
            let alike = Measured { family: "h".into(), sizes: vec![8], seconds };
            Tuning { measured: vec![alike] }.choose("h", &[8], |_: &u32| true)
        };
        assert_eq!(chosen([1.06, 1.04, 1.0]), Some(1));
        assert_eq!(chosen([1.21e-3, 1.19e-3, 1e-3]), Some(1));
        assert_eq!(chosen([0.023, 0.0219, 0.02]), Some(1));
        // None of the nearest: the next problem's.
        assert_eq!(t.choose("f", &[60, 70], |k: &u32| *k == 3), Some(3));
        assert_eq!(t.choose("f", &[60, 70], |k: &u32| *k == 4), None);
        assert_eq!(t.choose("g", &[60, 70], |_: &u32| true), None);
        assert_eq!(t.choose("f", &[60], |_: &u32| true), None);
    }

    #[test]
    fn shipped_tables_are_found_by_the_adapters_name() {
        assert!(Tuning::shipped("llvmpipe (LLVM 19.1.0, 256 bits)", Some(8)).is_some_and(|t| !t.measured.is_empty()));
        assert_eq!(Tuning::shipped("llvmpipe (LLVM 19.1.0, 128 bits)", Some(4)), None);
        assert_eq!(Tuning::shipped("Another", Some(8)), None);
    }
}
