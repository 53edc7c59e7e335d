//! What became of each image: a sentence, a row of the table, the head of its part; and what the words mean.

use std::ops::Range;

use maud::{Markup, html};

use super::super::{Failed, Outcome, distance_text};
use super::map::bounds;
use super::words::{place, plural, probability};
use crate::locate::{Fix, Located, Variant, Verdict};

/// Images with a row at most.
const ROWS: usize = 1000;

/// The fixes of an image, as positions in the page's list; of no image where a page has none.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The image's number among the outcomes.
    pub(super) image: Option<usize>,
    pub(super) range: Range<usize>,
}

/// Parts of a page: one an image, or one in all.
pub(super) fn parts(images: &[Outcome<'_>], fixes: usize) -> Vec<Part> {
    let mut from = 0;
    let mut all: Vec<Part> = images
        .iter()
        .enumerate()
        .map(|(i, image)| {
            let to = (from + image.as_ref().map_or(0, |l| l.fixes.len())).min(fixes);
            let range = from..to;
            from = to;
            Part { image: Some(i), range }
        })
        .collect();
    if from < fixes || images.is_empty() {
        all.push(Part { image: None, range: from..fixes });
    }
    all
}

/// The last part of a path.
pub(super) fn name(file: &str) -> &str {
    file.rsplit(['/', '\\']).next().filter(|n| !n.is_empty()).unwrap_or(file)
}

fn about(l: &Located) -> Option<String> {
    l.place.and_then(|p| p.ellipse).map(|e| format!("± {}", distance_text(e.major_m)))
}

fn truth_known(l: &Located) -> bool {
    l.fixes.iter().any(|f| f.right().is_some())
}

/// How far off its georeference, which is the truth where that is known.
pub(super) fn displaced(l: &Located) -> Option<String> {
    let d = l.displaced?.to_string();
    Some(if truth_known(l) { d.replacen("displaced ", "", 1) + " off the truth" } else { d + " of where its georeference puts it" })
}

/// A probability behind "of", "above" or "below".
fn chance(p: f64) -> String {
    let text = probability(p);
    match text.split_at(2) {
        ("> ", rest) => format!("above {rest}"),
        ("< ", rest) => format!("below {rest}"),
        _ => format!("of {text}"),
    }
}

/// What was wrong with a file, without its name once more.
fn problem<'a>(failed: &'a Failed<'_>) -> &'a str {
    failed.problem.strip_prefix(failed.file).and_then(|p| p.strip_prefix(": ")).unwrap_or(&failed.problem)
}

/// Where an image lies, in a sentence.
pub(super) fn sentence(image: &Outcome<'_>) -> Markup {
    let l = match image {
        Ok(l) => l,
        Err(failed) => return html! { strong { (name(failed.file)) } " could not be located: " (problem(failed)) },
    };
    let right = l.fixes.iter().filter(|f| f.right() == Some(true)).count();
    html! {
        strong { (name(&l.file)) }
        @match l.verdict {
            Verdict::Here => " lies here",
            Verdict::Check => " may lie here",
            Verdict::NotHere => " does not lie on this map, or cannot be found there",
        }
        @if let Some(p) = l.probability {
            @if l.verdict == Verdict::NotHere { ": its best place has a probability " span.nb { (chance(p)) } } @else { " with a probability " span.nb { (chance(p)) } }
        }
        @if l.verdict == Verdict::Check { ", to be checked" }
        @if let Some(p) = l.place { ": " strong { span.nb { (place(p.lonlat)) } } @if let Some(a) = about(l) { ", " span.nb { (a) } } }
        @if let Some(n) = l.agreeing { "; " (n) " of " (plural(l.fixes.len(), "patch agrees", "patches agree")) }
        @if l.place.is_some() { @if let Some(d) = displaced(l) { "; " (d) } }
        @if truth_known(l) { "; of " (plural(l.found(), "patch", "patches")) " found, " strong { (right) @if right == 1 { " is right" } @else { " are right" } } }
        "."
    }
}

fn counts(images: &[Outcome<'_>]) -> Markup {
    let count = |v: Verdict| images.iter().flatten().filter(|l| l.verdict == v).count();
    let failed = images.iter().filter(|i| i.is_err()).count();
    html! {
        "Of " (plural(images.len(), "image", "images")) ", " strong { (count(Verdict::Here)) } " lie on this map"
        ", " strong { (count(Verdict::Check)) } " may lie on it and are to be checked"
        ", " strong { (count(Verdict::NotHere)) } " do not lie on it or cannot be found there"
        @if failed > 0 { ", " strong { (failed) } " could not be read" }
        "."
    }
}

/// The page in a sentence.
pub(super) fn lead(images: &[Outcome<'_>], fixes: &[Fix]) -> Markup {
    match images {
        [] => patches(fixes),
        [one] => sentence(one),
        all => counts(all),
    }
}

/// The same of patches that belong to no image.
fn patches(fixes: &[Fix]) -> Markup {
    let right = fixes.iter().filter(|f| f.right() == Some(true)).count();
    let known = fixes.iter().filter(|f| f.right().is_some()).count();
    let claimed = fixes.iter().filter(|f| f.found()).count();
    let judged = fixes.iter().any(|f| f.probability.is_some());
    html! {
        @if judged {
            (plural(fixes.len(), "query", "queries")) ", " strong { (claimed) } " found, " strong { (fixes.len() - claimed) } " not found"
            @if known > 0 { "; of those found " strong { (right) " of " (known) } " within 100 m" }
        } @else {
            (plural(fixes.len(), "query", "queries")) " located"
            @if known > 0 { ", the first candidate right for " strong { (right) " of " (known) } }
        }
        "."
    }
}

fn badge(image: &Outcome<'_>) -> Markup {
    let (class, text) = match image {
        Ok(l) => (l.verdict.name(), l.verdict.words()),
        Err(_) => ("failed", "failed"),
    };
    html! { span.badge.(class) { (text) } }
}

/// A row an image, where there are several; each leads to its part.
pub(super) fn rows(images: &[Outcome<'_>]) -> Markup {
    if images.len() < 2 {
        return html! {};
    }
    html! {
        section {
            h2 { "Images" }
            div.scroll {
                table.plain.images {
                    thead {
                        tr {
                            th.num scope="col" { "No." }
                            @for head in ["File", "Verdict", "Place"] { th scope="col" { (head) } }
                            @for head in ["±", "Probability", "Agreeing", "Displaced"] { th.num scope="col" { (head) } }
                        }
                    }
                    tbody { @for (i, image) in images.iter().enumerate().take(ROWS) { (row(i, image)) } }
                }
            }
            @if images.len() > ROWS { p.note { "The first " (ROWS) " of " (images.len()) " are listed; the others are in the GeoJSON and CSV files." } }
        }
    }
}

fn row(number: usize, image: &Outcome<'_>) -> Markup {
    let file = match image {
        Ok(l) => l.file.as_str(),
        Err(failed) => failed.file,
    };
    let l = image.as_ref().ok();
    let place = l.and_then(|l| l.place).map(|p| place(p.lonlat));
    let off = l.filter(|l| l.place.is_some()).and_then(|l| l.displaced).map(|d| d.to_string().replacen("displaced ", "", 1));
    let cell = |label: &str, text: Option<String>| html! { @if let Some(text) = text { td.num data-label=(label) { (text) } } @else { td.num.none {} } };
    html! {
        tr {
            td.num.number { (number + 1) }
            th scope="row" { a href={ "#i" (number) } { (name(file)) } }
            td { (badge(image)) }
            td { @match image { Ok(_) => { @if let Some(p) = place { (p) } } Err(failed) => { (problem(failed)) } } }
            (cell("±", l.and_then(|l| about(l)).map(|a| a.replacen("± ", "", 1))))
            (cell("probability", l.and_then(|l| l.probability).map(probability)))
            (cell("agreeing", l.and_then(|l| Some(format!("{} of {}", l.agreeing?, l.fixes.len())))))
            (cell("displaced", off))
        }
    }
}

/// A single image's facts, whose sentence stands above.
pub(super) fn only(images: &[Outcome<'_>]) -> Markup {
    html! { @if let [Ok(l)] = images { section { h2 { "Image" } (facts(l)) } } }
}

/// The head of the part of an image of several.
pub(super) fn head(number: usize, image: &Outcome<'_>, several: bool) -> Markup {
    html! {
        @if several {
            h3 { (number + 1) ". " (name(match image { Ok(l) => l.file.as_str(), Err(f) => f.file })) " " (badge(image)) }
            p {
                (sentence(image))
                @if let Some(b) = image.as_ref().ok().and_then(|l| bounds(&l.corners_px()?)) { " " a href="#map" data-box=(b) { "Show on the map" } }
            }
            @if let Ok(l) = image { (facts(l)) }
        }
    }
}

fn facts(l: &Located) -> Markup {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(p) = l.place {
        rows.push(("Middle", place(p.lonlat)));
        if let Some(e) = p.ellipse {
            let text = format!("{} x {} at {:.0}°", distance_text(e.major_m), distance_text(e.minor_m), e.azimuth_deg);
            rows.push(("Ellipse of 95 %", text));
        }
    }
    if l.variant != Variant::PLAIN && l.place.is_some() {
        rows.push(("Turned", format!("{:.1}° clockwise, scale {:.3}", l.variant.rotation_deg, l.variant.scale)));
    }
    if let Some(c) = l.claimed {
        rows.push((if truth_known(l) { "Truth" } else { "Claimed place" }, place(c.lonlat)));
    }
    for (name, corner) in ["Upper left", "Upper right", "Lower right", "Lower left"].into_iter().zip(&l.footprint) {
        rows.push((name, place(*corner)));
    }
    html! {
        @if !rows.is_empty() { dl.facts { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } } }
        @for warning in &l.warnings { p.note.doubt { strong { "Doubtful: " } (warning) } }
    }
}

/// What the words mean.
pub(super) fn glossary(images: &[Outcome<'_>]) -> Markup {
    let known = images.iter().flatten().any(|l| truth_known(l));
    let words: [(&str, &str); 7] = [
        ("Patch", "A square cut out of the image and looked up on the map by itself. What many patches say of one image is its place."),
        (
            "Here, check, not on this map",
            "Here: a probability of 90 % and above, and several patches agree where there are several. Check: there is a place, but look at it before relying on it. Not on this map: the image lies elsewhere, or shows too little to be found.",
        ),
        ("Probability", "How often such an answer is right, as measured on images whose place is known."),
        ("±, ellipse", "The true place lies inside the ellipse in 95 of 100 cases; ± is half its longer axis."),
        ("Agree", "Patches agree when all of them lie on the map as they do in the image. Patches that are wrong seldom agree by chance."),
        (
            "Displaced",
            "How far, and in which direction, the place found lies from where the image's own georeference puts it, which is not used to find it unless as a prior. It is a claim, not the truth.",
        ),
        ("Right, wrong", "Where the truth is known: a place is right within 100 m of it, a cell if it holds it."),
    ];
    html! {
        section {
            h2 { "Words" }
            dl.words {
                @for (word, meaning) in words.into_iter().filter(|(w, _)| known || *w != "Right, wrong") { div { dt { (word) } dd { (meaning) } } }
            }
        }
    }
}
