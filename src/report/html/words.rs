//! Words and names of classes that parts of a page share.

use crate::locate::Fix;

/// What a fix is drawn as.
pub(super) fn class(fix: &Fix) -> &'static str {
    if fix.found() { truth(fix.right()) } else { "lost" }
}

/// Right, wrong or unknown.
pub(super) fn truth(right: Option<bool>) -> &'static str {
    match right {
        Some(true) => "right",
        Some(false) => "wrong",
        None => "unknown",
    }
}

/// The same without colour.
pub(super) fn mark(right: Option<bool>) -> &'static str {
    match right {
        Some(true) => "✓ ",
        Some(false) => "✕ ",
        None => "",
    }
}

/// A probability for people: `97.3 %`; never a round 0 or 100.
pub(super) fn probability(p: f64) -> String {
    match 100.0 * p {
        p if p < 0.1 => "< 0.1 %".into(),
        p if p > 99.9 => "> 99.9 %".into(),
        p => format!("{p:.1} %"),
    }
}

/// A longitude and latitude for people.
pub(super) fn place([lon, lat]: [f64; 2]) -> String {
    let (east, north) = (if lon < 0.0 { 'W' } else { 'E' }, if lat < 0.0 { 'S' } else { 'N' });
    format!("{:.5}° {north}, {:.5}° {east}", lat.abs(), lon.abs())
}

/// A number with its word.
pub(super) fn plural(n: usize, one: &str, many: &str) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or_default()).collect();
    format!("{} {}", groups.join(","), if n == 1 { one } else { many })
}
