//! What a run of the benchmarks measured, kept as JSON, and held against an earlier run.

use super::roofline::Roofline;
use crate::report::{self, figures};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// One benchmark.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub name: String,
    pub runs: usize,
    pub median_s: f64,
    /// A quarter of the runs took less than the first, a quarter more than the second.
    pub quartiles_s: [f64; 2],
    /// The same work by the device's own stamps, a dispatch in a pass of its own, where it has stamps that can be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_s: Option<f64>,
    /// By the kernels' own counts of operations and bytes.
    pub gflops: f64,
    pub gbytes: f64,
    /// Of the roofline: above 1 where the bytes come from a cache.
    pub share: f64,
    /// Of a whole job: how many a second of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<(f64, String)>,
}

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    pub adapter: String,
    pub version: String,
    /// Of echogrid, when it is run in a checkout; with `+` where files were changed since.
    pub commit: Option<String>,
    /// Load of the machine over the last minute when the run began, where it says so.
    pub load: Option<f64>,
    pub roofline: Roofline,
    pub cases: Vec<Case>,
}

/// How a case compares with the same one in an earlier run.
#[derive(Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub name: String,
    /// Its time over that of then.
    pub ratio: f64,
    /// -1 where it is faster beyond the noise, 1 where slower.
    pub verdict: i8,
}

impl Case {
    /// Of the sorted seconds of its runs.
    pub fn of(name: &str, seconds: &[f64]) -> Self {
        let at = |quarter: usize| seconds[(seconds.len() - 1) * quarter / 4];
        let median_s = seconds[seconds.len() / 2];
        Self { name: name.into(), runs: seconds.len(), median_s, quartiles_s: [at(1), at(3)], ..Self::default() }
    }

    /// With the rate at which its items are done.
    pub fn rated(self, items: usize, item: &str) -> Self {
        Self { rate: Some((items as f64 / self.median_s, format!("{item} a second"))), ..self }
    }
}

impl Record {
    pub fn begin(adapter: String, roofline: Roofline) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").ok().and_then(|t| t.split(' ').next()?.parse().ok());
        let version = env!("CARGO_PKG_VERSION").into();
        Self { adapter, version, commit: commit(), load, roofline, cases: Vec::new() }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("numbers and text") + "\n";
        Ok(report::write_atomically(path, text.as_bytes())?)
    }

    /// What was measured, and of what.
    pub fn title(&self) -> String {
        self.commit.as_ref().map_or_else(|| self.version.clone(), |commit| format!("{} at {commit}", self.version))
    }

    /// Draws the cases under the roofline.
    ///
    /// # Errors
    /// None of them counts operations and bytes; the file cannot be written.
    pub fn draw(&self, path: &Path) -> Result<()> {
        // What moves bytes and hardly computes has no place on such axes.
        let points =
            self.cases.iter().filter(|c| c.gbytes > 0.0).map(|c| [c.gflops / c.gbytes, c.gflops]).filter(|[per_byte, _]| *per_byte > 0.01);
        let points: Vec<[f64; 2]> = points.collect();
        let line = format!("{}, {}", self.adapter, self.title());
        let svg = figures::roofline("Kernels under the roofline", &line, &points, self.roofline.gflops, self.roofline.gbytes)?;
        Ok(figures::write(path, &svg)?)
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, format!("cannot be read ({e})"), e))?;
        serde_json::from_str(&text).map_err(|e| Error::file(path, format_args!("is no record of `echogrid bench --out` ({e})")))
    }

    /// How each case that both runs have compares: beyond the noise where the middle halves of the two runs' times lie apart, and the medians by
    /// more than a tenth.
    ///
    /// # Errors
    /// The baseline is of another adapter.
    pub fn compare(&self, baseline: &Self) -> Result<Vec<Comparison>> {
        if self.adapter != baseline.adapter {
            return Err(Error::invalid(format!("the baseline ran on another adapter: {}, here {}", baseline.adapter, self.adapter)));
        }
        let pairs = self.cases.iter().filter_map(|case| Some((case, baseline.cases.iter().find(|c| c.name == case.name)?)));
        let compared = pairs.map(|(case, old)| {
            let ratio = case.median_s / old.median_s;
            let slower = case.quartiles_s[0] > old.quartiles_s[1] && ratio > 1.1;
            let faster = case.quartiles_s[1] < old.quartiles_s[0] && ratio < 1.0 / 1.1;
            Comparison { name: case.name.clone(), ratio, verdict: i8::from(slower) - i8::from(faster) }
        });
        Ok(compared.collect())
    }

    /// The device's stamps over the wall clock, the median of the cases of a millisecond and more, and how many of how many such cases lie
    /// outside 0.8 to 1.05: below, time passes around the dispatches; above, the stamps cannot be right.
    pub fn stamps(&self) -> Option<(f64, [usize; 2])> {
        let long = self.cases.iter().filter(|c| c.median_s >= 1e-3);
        let mut ratios: Vec<f64> = long.filter_map(|c| Some(c.device_s? / c.median_s)).collect();
        ratios.sort_by(f64::total_cmp);
        let apart = ratios.iter().filter(|r| !(0.8..=1.05).contains(*r)).count();
        Some((*ratios.get(ratios.len() / 2)?, [apart, ratios.len()]))
    }
}

/// The commit of the checkout that this was built in, with a + where files differ from it, if it is still there.
fn commit() -> Option<String> {
    let args = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--exclude=*", "--dirty=+"];
    let out = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seconds: &[(&str, f64, Option<f64>)]) -> Record {
        let roofline = Roofline { gflops: 1.0, matrix_gflops: None, gbytes: 1.0 };
        let cases = seconds.iter().map(|(name, s, device_s)| Case { device_s: *device_s, ..Case::of(name, &[0.99 * s, *s, 1.01 * s]) });
        Record { cases: cases.collect(), ..Record::begin("a".into(), roofline) }
    }

    #[test]
    fn slower_beyond_the_noise_is_told_from_noise() {
        let old = record(&[("same", 1.0, None), ("slower", 1.0, None), ("faster", 1.0, None), ("gone", 1.0, None)]);
        let new = record(&[("same", 1.05, None), ("slower", 1.2, None), ("faster", 0.8, None), ("new", 1.0, None)]);
        let verdicts: Vec<_> = new.compare(&old).unwrap().into_iter().map(|c| (c.name, c.verdict)).collect();
        assert_eq!(verdicts, [("same".into(), 0), ("slower".into(), 1), ("faster".into(), -1)]);
        let noisy = Record { cases: vec![Case::of("slower", &[0.9, 1.2, 1.5])], ..record(&[]) };
        let wide = Record { cases: vec![Case::of("slower", &[0.8, 1.0, 1.3])], ..record(&[]) };
        assert_eq!(noisy.compare(&wide).unwrap()[0].verdict, 0);
        assert!(Record { adapter: "b".into(), ..record(&[]) }.compare(&old).is_err());
    }

    #[test]
    fn stamps_are_held_against_the_clock() {
        assert_eq!(record(&[("none", 1.0, None)]).stamps(), None);
        let r = record(&[("short", 1e-5, Some(9.0)), ("good", 1.0, Some(0.95)), ("low", 1.0, Some(0.5)), ("impossible", 1.0, Some(1.2))]);
        assert_eq!(r.stamps(), Some((0.95, [2, 3])));
    }
}
