//! What a run of the benchmarks measured, kept as JSON, and held against an earlier run.

use crate::roofline::Roofline;
use echogrid::report::figures;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One benchmark.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub name: String,
    pub runs: usize,
    pub median_s: f64,
    /// A quarter of the runs took less than the first, a quarter more than the second.
    pub quartiles_s: [f64; 2],
    /// By the kernels' own counts of operations and bytes.
    pub gflops: f64,
    pub gbytes: f64,
    /// Of the roofline: above 1 where the bytes come from a cache.
    #[serde(default)]
    pub share: f64,
    /// Of a whole job: how many a second of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<(f64, String)>,
}

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    pub adapter: String,
    /// Of echogrid; with `+` where files were changed since.
    pub commit: String,
    /// Load of the machine over the last minute when the run began, where it says so.
    pub load: Option<f64>,
    #[serde(default)]
    pub roofline: Option<Roofline>,
    pub cases: Vec<Case>,
}

impl Case {
    /// Of the sorted seconds of its runs.
    pub fn of(name: &str, seconds: &[f64]) -> Self {
        let at = |quarter: usize| seconds[(seconds.len() - 1) * quarter / 4];
        let median_s = seconds[seconds.len() / 2];
        Self { name: name.into(), runs: seconds.len(), median_s, quartiles_s: [at(1), at(3)], ..Self::default() }
    }
}

static CASES: Mutex<Vec<Case>> = Mutex::new(Vec::new());

static ROOFLINE: OnceLock<Roofline> = OnceLock::new();

/// The device's limits, once they are measured.
pub fn roofline() -> Option<Roofline> {
    ROOFLINE.get().copied()
}

/// Keeps a result.
pub fn add(case: Case) {
    CASES.lock().expect("no benchmark panics while it holds this").push(case);
}

/// All results so far, and takes them.
pub fn take() -> Vec<Case> {
    std::mem::take(&mut CASES.lock().expect("as above"))
}

impl Record {
    pub fn begin(adapter: String, roofline: Roofline) -> Self {
        let roofline = *ROOFLINE.get_or_init(|| roofline);
        let git = |args: &[&str]| {
            let out = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
            Some(String::from_utf8_lossy(&out.stdout).trim().to_string())
        };
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
        let commit = git(&["rev-parse", "--short", "HEAD"]).map_or("unknown".into(), |c| c + if changed { "+" } else { "" });
        let load = std::fs::read_to_string("/proc/loadavg").ok().and_then(|t| t.split(' ').next()?.parse().ok());
        Self { adapter, commit, load, roofline: Some(roofline), cases: Vec::new() }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .map_err(|e| format!("{}: cannot be written ({e})", path.display()))?;
        Ok(())
    }

    /// Draws the cases under the roofline.
    pub fn draw(&self, path: &Path) -> Result<()> {
        let Some(roof) = self.roofline else { return Ok(()) };
        let points: Vec<[f64; 2]> = self.cases.iter().filter(|c| c.gbytes > 0.0).map(|c| [c.gflops / c.gbytes, c.gflops]).collect();
        let line = format!("{}, {}", self.adapter, self.commit);
        let svg = figures::roofline("Kernels under the roofline", &line, &points, roof.gflops, roof.gbytes)?;
        Ok(figures::write(path, &svg)?)
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: cannot be read ({e})", path.display()))?;
        Ok(serde_json::from_str(&text).map_err(|e| format!("{}: is no record of the benchmarks ({e})", path.display()))?)
    }

    /// Prints how each benchmark that both have compares, and returns the names of those that got slower beyond the noise: the middle halves
    /// of the two runs' times lie apart, and the medians by more than a tenth.
    pub fn regressions(&self, baseline: &Self) -> Result<Vec<String>> {
        if self.adapter != baseline.adapter {
            return Err(format!("the baseline ran on another adapter: {}, here {}", baseline.adapter, self.adapter).into());
        }
        println!("\ntimes over those of {} (1 min load {:?} then, {:?} now):", baseline.commit, baseline.load, self.load);
        let mut slower = Vec::new();
        for case in &self.cases {
            let Some(old) = baseline.cases.iter().find(|c| c.name == case.name) else { continue };
            let ratio = case.median_s / old.median_s;
            let verdict = match () {
                () if case.quartiles_s[0] > old.quartiles_s[1] && ratio > 1.1 => "slower",
                () if case.quartiles_s[1] < old.quartiles_s[0] && ratio < 1.0 / 1.1 => "faster",
                () => "",
            };
            println!("{:<64} {ratio:>6.2}  {verdict}", case.name);
            if verdict == "slower" {
                slower.push(case.name.clone());
            }
        }
        Ok(slower)
    }
}
