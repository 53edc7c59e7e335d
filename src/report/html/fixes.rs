//! The patches: an article each with pictures, the others in a table.

use maud::{Markup, html};

use super::super::{Error, Pictures, Thumb, distance_text};
use super::encode::picture;
use super::words::{class, mark, place, probability, truth};
use crate::locate::{Candidate, Fix, Variant};

/// Candidates pictured a query.
const TOP: usize = 5;
/// Longest side in pixels of an embedded query or candidate picture.
const THUMB_SIDE: u32 = 200;

/// How many are shown, and how.
pub(super) fn shown(fixes: &[Fix], pictures: &[Pictures], several: bool, [pictured, listed]: [usize; 2]) -> Markup {
    let all = fixes.len();
    let dense = fixes.iter().any(|f| f.probability.is_some());
    html! {
        p.note {
            @if all == 0 { "There are no queries." }
            @else if pictured == all && dense { "All " (all) " shown, each with its best peaks." }
            @else if pictured == all { "All " (all) " shown, each with its best " (TOP) " candidates." }
            @else {
                @if !several { "The first " }
                (pictured) " of " (all) " are shown with pictures, to keep the file small; "
                (listed) " more are listed below"
                @if pictured + listed < all { ", the others are in the GeoJSON and CSV files only" }
                "."
            }
            @if pictures.iter().any(|p| !p.more.is_empty()) {
                " In a correlation picture, which spans the map, bright is a good fit; a ring marks the fix, a cross the true place where it is known."
            }
        }
    }
}

/// Radio buttons ahead of the list; the style sheet hides rows by which one is set.
pub(super) fn filter(fixes: &[Fix]) -> Markup {
    let count = |right| fixes.iter().filter(|f| f.right() == Some(right)).count();
    let choices = [
        ("all", format!("All {}", fixes.len())),
        ("wrong", format!("Wrong {}", count(false))),
        ("right", format!("Right {}", count(true))),
        ("unknown", format!("Found {}", fixes.iter().filter(|f| f.found() && f.right().is_none()).count())),
        ("lost", format!("Not found {}", fixes.iter().filter(|f| !f.found()).count())),
    ];
    let any = |name: &str| fixes.iter().any(|f| class(f) == name);
    let known = any("right") || any("wrong");
    let offered = |name: &str| match name {
        "wrong" | "right" => known,
        "unknown" => !known && any("lost"),
        "lost" => any("lost"),
        _ => true,
    };
    html! {
        @for (name, text) in choices.iter().filter(|c| offered(c.0)) {
            input.filter type="radio" name="show" id={ "show-" (name) } checked[*name == "all"];
            label for={ "show-" (name) } { (text) }
        }
    }
}

/// A fix with its pictures.
pub(super) fn article(index: usize, fix: &Fix, pictures: &Pictures) -> Result<Markup, Error> {
    let state = class(fix);
    let query = match &pictures.patch {
        Some(thumb) => Some(picture(thumb, THUMB_SIDE, &fix.id)?),
        None => None,
    };
    let mut cells = Vec::new();
    for (i, candidate) in fix.candidates.iter().take(TOP.saturating_sub(pictures.more.len()).max(1)).enumerate() {
        cells.push(cell(fix, candidate, pictures.candidates.get(i))?);
    }
    let mut more = Vec::new();
    for (what, thumb) in &pictures.more {
        let (address, _) = picture(thumb, THUMB_SIDE, what)?;
        more.push(
            html! { figure.cell.extra { (frame(Some(&address), &format!("{what} of {}", fix.id))) figcaption { strong { (what) } } } },
        );
    }
    let first = cells.len().min(1);
    Ok(html! {
        article.q.(state) id={ "q" (index) } {
            header {
                h3 { (fix.id) }
                (verdict(fix))
                p.where {
                    @if let Some(p) = &fix.place { span { (place(p.lonlat)) } }
                    @if let Some(p) = fix.probability { span { "probability " (probability(p)) } }
                    @if let Some(e) = fix.place.and_then(|p| p.ellipse) {
                        span { (format!("± {:.0} x {:.0} m at {:.0}°", e.major_m, e.minor_m, e.azimuth_deg)) }
                    }
                    @if let Some(v) = fix.variant.filter(|v| *v != Variant::PLAIN) {
                        span { (format!("turned {:.1}° clockwise, scale {:.3}", v.rotation_deg, v.scale)) }
                    }
                    @if !fix.candidates.is_empty() {
                        span { "score " (format!("{:.3}", fix.score)) }
                        span { "margin " (format!("{:.3}", fix.margin)) }
                    }
                }
            }
            div.strip {
                figure.cell.query {
                    (frame(query.as_ref().map(|p| p.0.as_str()), &format!("SAR patch {}", fix.id)))
                    figcaption { strong { "SAR query" } span { "px " (format!("{:.0}, {:.0}", fix.sar_px[0], fix.sar_px[1])) } }
                }
                @for cell in &cells[..first] { (cell) }
                @for picture in &more { (picture) }
                @for cell in &cells[first..] { (cell) }
            }
        }
    })
}

fn cell(fix: &Fix, candidate: &Candidate, thumb: Option<&Thumb>) -> Result<Markup, Error> {
    let what = format!("candidate {} of {}", candidate.rank, fix.id);
    let address = match thumb {
        Some(thumb) => Some(picture(thumb, THUMB_SIDE, &what)?.0),
        None => None,
    };
    Ok(html! {
        figure.cell.(truth(candidate.right)) {
            (frame(address.as_deref(), &what))
            figcaption {
                strong { (mark(candidate.right)) (candidate.rank) "." @if candidate.rank == 1 && fix.probability.is_some() && fix.found() { " fix" } }
                span { (format!("{:.3}", candidate.score)) }
                @if let Some(distance) = candidate.distance_m { span.distance { (distance_text(distance)) } }
            }
        }
    })
}

fn frame(address: Option<&str>, what: &str) -> Markup {
    html! {
        div.frame {
            @if let Some(address) = address { img src=(address) alt=(what) decoding="async"; }
            @else { span { "no picture" } }
        }
    }
}

fn verdict(fix: &Fix) -> Markup {
    let error = fix.error_m().map(distance_text);
    if !fix.found() {
        let best = fix.candidates.first().and_then(|c| c.right);
        return html! {
            span.badge.lost { "not found" }
            @match best {
                Some(true) => span.soft { "the best peak was right, but not sure enough" },
                Some(false) => span.soft { "the best peak was wrong" },
                None => {},
            }
        };
    }
    html! {
        @match fix.right() {
            Some(true) => span.badge.right { "✓ right" @if let Some(e) = &error { ", " (e) " off" } },
            Some(false) => {
                span.badge.wrong { "✕ wrong" @if let Some(e) = &error { ", " (e) " off" } }
                span.soft {
                    @let what = if fix.probability.is_some() { "right place" } else { "right cell" };
                    @if let Some(rank) = fix.right_rank() { (what) " at rank " (rank) }
                    @else { (what) " not among the best " (fix.candidates.len()) }
                }
            },
            None => @if fix.probability.is_some() { span.badge.found { "found" } },
        }
    }
}

/// The fixes without pictures.
pub(super) fn plain_list(lines: &[Markup]) -> Markup {
    html! {
        table.plain {
            thead {
                tr {
                    th scope="col" { "Query" }
                    th scope="col" { "Position" }
                    th.num scope="col" { "Score" }
                    th.num scope="col" { "Margin" }
                    th.num scope="col" { "Error" }
                    th scope="col" aria-label="Right or wrong" {}
                }
            }
            tbody { @for line in lines { (line) } }
        }
    }
}

/// A row of theirs.
pub(super) fn line(index: usize, fix: &Fix) -> Markup {
    html! {
        tr.q.(class(fix)) id={ "q" (index) } {
            th scope="row" { (fix.id) }
            td { @if let Some(p) = &fix.place { (place(p.lonlat)) } @else { "not found" } }
            td.num { (format!("{:.3}", fix.score)) }
            td.num { (format!("{:.3}", fix.margin)) }
            td.num { @if let Some(e) = fix.error_m() { (distance_text(e)) } }
            td { (mark(fix.right())) }
        }
    }
}
