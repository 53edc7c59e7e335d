//! Fixes and images on the map.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::super::{Error, MapOverview, Outcome, distance_text};
use super::map::{Layer, Stage};
use super::parts::{Part, displaced, name};
use super::words::{class, probability};
use crate::locate::{Fix, Located, Verdict};

/// Fixes drawn on the map; of more, an even choice is drawn.
const MAP_FIXES: usize = 2500;

/// What is drawn of fixes and images.
#[derive(Default)]
struct Drawn {
    marks: String,
    lines: String,
    ellipses: String,
    /// Outlines of patches by class.
    outlines: std::collections::BTreeMap<&'static str, String>,
    prints: String,
    claims: String,
}

fn ring(stage: &Stage<'_>, corners: &[[f64; 2]]) -> Option<String> {
    let points: Vec<String> = corners.iter().map(|c| stage.spot(*c).map(|[x, y]| format!("{x:.1} {y:.1}"))).collect::<Option<_>>()?;
    Some(format!("M{}z", points.join("L")))
}

/// Corners of a patch as it lies, map pixels.
fn corners([x, y]: [f64; 2], side: f64) -> [[f64; 2]; 4] {
    let h = side / 2.0;
    [[-h, -h], [h, -h], [h, h], [-h, h]].map(|[u, v]| [x + u, y + v])
}

/// What a fix is on the map: beside right and wrong, one that the image's other patches do not agree with.
fn state(fix: &Fix) -> &'static str {
    match class(fix) {
        "unknown" if fix.agrees == Some(false) => "apart",
        other => other,
    }
}

/// An image: its outline, and a thin line from where it claims to lie.
fn image(out: &mut Drawn, stage: &Stage<'_>, number: usize, several: bool, l: &Located, r: f64) {
    let title = html! {
        (name(&l.file)) ": " (l.verdict.words())
        @if let Some(p) = l.probability { ", probability " (probability(p)) }
        @if let Some(d) = displaced(l) { ", " (d) }
    }
    .0;
    if let Some(corners) = l.corners_px()
        && let Some(path) = ring(stage, &corners)
    {
        let class = if l.verdict == Verdict::Here { "here" } else { "check" };
        let _ = write!(out.prints, r##"<a class="{class}" href="#i{number}"><title>{title}</title><path d="{path}"/>"##);
        if several && let Some([x, y]) = corners.iter().min_by(|a, b| a[1].total_cmp(&b[1])).and_then(|c| stage.spot(*c)) {
            let _ = write!(out.prints, r#"<text x="{x:.1}" y="{y:.1}">{}</text>"#, number + 1);
        }
        out.prints += "</a>";
    }
    let claimed = l.claimed.and_then(|p| stage.spot(p.map_px));
    if let (Some([x, y]), Some([u, v])) = (claimed, l.place.and_then(|p| stage.spot(p.map_px))) {
        let _ = write!(
            out.claims,
            r#"<g><title>{title}</title><path d="M{x:.1} {y:.1}L{u:.1} {v:.1}"/><circle cx="{x:.1}" cy="{y:.1}" r="{:.1}"/></g>"#,
            r * 0.8
        );
    }
}

/// The map with the fixes and the images they belong to, in about so many bytes of pictures.
pub(super) fn map(overview: &MapOverview, fixes: &[Fix], images: &[Outcome<'_>], parts: &[Part], bytes: usize) -> Result<Markup, Error> {
    let stage = Stage::new(overview, bytes)?;
    let [width, height] = stage.size;
    let stride = fixes.len().div_ceil(MAP_FIXES).max(1);
    // One that was not found is drawn where it truly lies, if that is known.
    let place = |f: &Fix| f.place.or(f.truth).and_then(|p| stage.spot(p.map_px));
    let drawn: Vec<(usize, &Fix, [f64; 2])> =
        fixes.iter().enumerate().step_by(stride).filter_map(|(i, f)| Some((i, f, place(f)?))).collect();
    // Marks keep their size on the page whatever the size of the picture.
    let mut r = f64::from(width.max(height)) / if drawn.len() > 300 { 220.0 } else { 130.0 };
    let mut axes: Vec<f64> = drawn.iter().filter_map(|(_, f, _)| stage.units(f.place?.ellipse?.major_m)).collect();
    axes.sort_by(f64::total_cmp);
    let axis = axes.get(axes.len() / 2).copied();
    // Of ellipses that would hide below their marks all are enlarged alike.
    let mut enlarged = 1.0;
    if let Some(axis) = axis {
        r *= 0.55;
        let factors = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
        enlarged = factors.into_iter().find(|f| f * axis >= 1.6 * r).unwrap_or(100.0);
    }
    let mut out = Drawn::default();
    let several = images.len() > 1;
    for (i, fix, at) in &drawn {
        let owner = parts.iter().find(|p| p.range.contains(i)).and_then(|p| images.get(p.image?)?.as_ref().ok());
        mark(&mut out, &stage, *i, fix, *at, r, enlarged, owner.copied(), several);
    }
    for (i, l) in images.iter().enumerate().filter_map(|(i, l)| Some((i, l.as_ref().ok()?))) {
        image(&mut out, &stage, i, several, l, r);
    }
    let has = |name: &str| drawn.iter().any(|(_, f, _)| state(f) == name);
    let unplaced = fixes.iter().step_by(stride).filter(|f| !f.found() && place(f).is_none()).count();
    let mut layers: Vec<Layer> = Vec::new();
    let mut layer = |any: bool, name, text, on| any.then(|| layers.push((name, text, on)));
    let known = has("right") || has("wrong");
    layer(!out.prints.is_empty(), "prints", "Outline", true);
    layer(!images.is_empty() && !drawn.is_empty(), "marks", "Patches", !several || known);
    layer(!out.outlines.is_empty(), "outlines", "Patch outlines", false);
    layer(!out.ellipses.is_empty(), "ellipses", "Ellipses", images.is_empty());
    // Where the truth is known, it is what the georeference says.
    layer(!out.claims.is_empty() && !known, "claims", "Claimed place", true);
    let svg = html! {
        g.outlines { @for (class, path) in &out.outlines { path.(class) d=(path) {} } }
        g.prints { (PreEscaped(&out.prints)) }
        @if !known { g.claims { (PreEscaped(&out.claims)) } }
        g.marks { (PreEscaped(&out.marks)) }
        g.lines { g.ellipses { (PreEscaped(&out.ellipses)) } g.off { (PreEscaped(&out.lines)) } }
    };
    let caption = html! {
        @if !out.prints.is_empty() { span.key.print { "where the image lies" @if images.iter().flatten().any(|l| l.verdict == Verdict::Check) { " (dashed: to be checked)" } } }
        @if !out.claims.is_empty() && !known { span.key.claim { "where its georeference puts its middle, with a line to where it was found" } }
        @if has("right") { span.key.right { "right fix" } }
        @if has("wrong") { span.key.wrong { "wrong fix, with a line to the truth (ring)" } }
        @if has("unknown") {
            span.key.unknown { @if fixes.iter().any(|f| f.agrees == Some(true)) { "patch that agrees with the others" } @else { "fix, truth unknown" } }
        }
        @if has("apart") { span.key.apart { "patch that does not agree" } }
        @if has("lost") { span.key.lost { "not found: drawn where it truly lies" } }
        @if axis.is_some() {
            span { "Ellipses hold the true place with a probability of 95 %" @if enlarged > 1.0 { ", drawn " (enlarged) " times as large" } "." }
        }
        @if unplaced > 0 { span { (unplaced) " not found and not drawn" } }
        @if drawn.len() + unplaced < fixes.len() { span { (drawn.len()) " of " (fixes.len()) " fixes are drawn" } }
        @if !drawn.is_empty() { span { "A mark leads to its patch." } }
    };
    Ok(html! { section { h2 { "Map" } (stage.figure("Map with the fixes", &layers, r, &svg, &caption)) } })
}

/// A fix: its mark, its ellipse, its outline; of a wrong one a line to the truth.
#[allow(clippy::too_many_arguments)]
fn mark(
    out: &mut Drawn,
    stage: &Stage<'_>,
    i: usize,
    fix: &Fix,
    [x, y]: [f64; 2],
    r: f64,
    enlarged: f64,
    owner: Option<&Located>,
    several: bool,
) {
    let class = state(fix);
    if let Some([tx, ty]) = fix.truth.and_then(|p| stage.spot(p.map_px))
        && fix.right() == Some(false)
    {
        let _ = write!(
            out.lines,
            r#"<path class="{class}" d="M{x:.1} {y:.1}L{tx:.1} {ty:.1}"/><circle class="truth" cx="{tx:.1}" cy="{ty:.1}" r="{:.1}"/>"#,
            r * 0.55
        );
    }
    if let Some(e) = fix.place.and_then(|p| p.ellipse)
        && let (Some(rx), Some(ry)) = (stage.units(enlarged * e.major_m), stage.units(enlarged * e.minor_m))
    {
        let _ = write!(
            out.ellipses,
            r#"<ellipse class="{class}" cx="{x:.1}" cy="{y:.1}" rx="{rx:.1}" ry="{ry:.1}" transform="rotate({:.1} {x:.1} {y:.1})"/>"#,
            e.azimuth_deg - 90.0
        );
    }
    if let (Some(l), Some(p)) = (owner, fix.place)
        && let Some(path) = ring(stage, &corners(p.map_px, l.side_px))
    {
        out.outlines.entry(class).or_default().push_str(&path);
    }
    let d = r * if fix.found() { 0.75 } else { 1.1 };
    let shape = if !fix.found() {
        format!(r#"<path d="M{:.1} {y:.1}l{d:.1} {d:.1}l{d:.1} -{d:.1}l-{d:.1} -{d:.1}z"/>"#, x - d)
    } else if fix.right() == Some(false) {
        format!(r#"<path d="M{:.1} {:.1}l{d2:.1} {d2:.1}m0 -{d2:.1}l-{d2:.1} {d2:.1}"/>"#, x - d, y - d, d2 = 2.0 * d)
    } else {
        format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{r:.1}"/>"#)
    };
    let title = html! {
        @if let Some(l) = owner.filter(|_| several) { (name(&l.file)) " " }
        (fix.id)
        @if !fix.found() { ", not found" }
        @if let Some(p) = fix.probability { ", probability " (probability(p)) }
        @if let Some(e) = fix.error_m() { ", " (distance_text(e)) " off" }
    }
    .0;
    let _ = write!(out.marks, r##"<a class="{class}" href="#q{i}"><title>{title}</title>{shape}</a>"##);
}
