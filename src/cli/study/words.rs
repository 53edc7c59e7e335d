//! What reports of studies have in common.

use crate::Result;
use crate::eval::metrics::Estimate;
use crate::report::write_atomically;
use std::path::Path;

/// The command that is running, as a report shows it.
pub(super) fn command() -> String {
    std::env::args().skip(1).map(|a| shown(&a)).collect::<Vec<_>>().join(" ")
}

/// An argument as it is shown in a report: of a path only the last two parts, so that no machine's folders are in it.
fn shown(argument: &str) -> String {
    match Path::new(argument).components().count() {
        0..=2 => argument.into(),
        _ => {
            let parts: Vec<_> =
                Path::new(argument).components().rev().take(2).map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
            parts.into_iter().rev().collect::<Vec<_>>().join("/")
        }
    }
}

/// Writes a file of a study.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    Ok(write_atomically(path, text.as_bytes())?)
}

/// A share in per cent.
pub(super) fn percent(v: f64) -> String {
    format!("{:.1}", 100.0 * v)
}

/// Shares in per cent, one after the other.
pub(super) fn percents(all: &[f64]) -> String {
    all.iter().map(|v| percent(*v)).collect::<Vec<_>>().join(" ")
}

/// Seeds, one after the other.
pub(super) fn seeds(all: &[u64]) -> String {
    all.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// A difference in points, with its interval.
pub(super) fn interval(e: &Estimate) -> String {
    format!("{:+.1} [{:+.1}, {:+.1}]", 100.0 * e.value, 100.0 * e.ci95[0], 100.0 * e.ci95[1])
}
