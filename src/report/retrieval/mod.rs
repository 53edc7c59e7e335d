//! Retrieval as rows of pictures: a SAR patch and, for each way of finding it, the map at its best candidates, the right ones framed.
//!
//! One self-contained page in the manner of [`super::html`], without a script.

mod places;

use std::path::Path;

use maud::{Markup, html};

use super::html::{DEFAULT_LIMIT_BYTES, document, frame_bytes, headed, picture_within, run};
use super::{Error, ReportMeta, Thumb, distance_text, write_atomically};

/// Candidates shown of a row.
const SHOWN: usize = 10;
/// Longest side in pixels of the embedded picture of a patch, and of a candidate.
const SIDES: [u32; 2] = [192, 112];
/// Bytes kept free for the words and the outline about a candidate.
const WORDS: usize = 900;
/// Least bytes given to a picture: below that there is nothing to see.
const LEAST: usize = 1200;

/// A place on the map that a way names for a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The map there; without it the row says so.
    pub thumb: Option<Thumb>,
    /// Whether it is the query's place.
    pub right: bool,
    /// What it is ranked by; left out where it is no number.
    pub score: f64,
    /// How far from the query's true place it lies, metres; left out where it is no number.
    pub distance_m: f64,
    /// Its middle: metres from the map's upper left corner, x to the right and y down.
    pub at_m: [f64; 2],
}

/// What one way says of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The way's name.
    pub way: String,
    /// Its candidates, best first; the first ten are shown.
    pub candidates: Vec<Candidate>,
}

/// A query with a row a way.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its number, unique on a page.
    pub number: usize,
    /// The SAR patch.
    pub patch: Option<Thumb>,
    /// Its true place, as [`Candidate::at_m`].
    pub truth_m: [f64; 2],
    /// The ways, in the order shown.
    pub rows: Vec<Row>,
}

/// What goes into the page.
#[derive(Debug, Clone, Copy)]
pub struct RetrievalPage<'a> {
    /// What was run; its title heads the page.
    pub meta: &'a ReportMeta,
    /// One or two sentences of what is shown and how the queries were chosen.
    pub lead: &'a str,
    /// Width and height of the map, metres.
    pub size_m: [f64; 2],
    /// The queries, in the order shown.
    pub queries: &'a [Asked],
    /// Bytes the page aims to stay under: pictures get coarser with their number.
    pub limit_bytes: usize,
}

impl<'a> RetrievalPage<'a> {
    /// A page of the usual size at most.
    #[must_use]
    pub fn new(meta: &'a ReportMeta, lead: &'a str, size_m: [f64; 2], queries: &'a [Asked]) -> Self {
        Self { meta, lead, size_m, queries, limit_bytes: DEFAULT_LIMIT_BYTES }
    }

    /// The page as HTML text.
    ///
    /// # Errors
    /// [`Error::Picture`] when a picture's pixels do not fill its size; [`Error::Figure`] for a map of no size.
    pub fn render(&self) -> Result<String, Error> {
        if !self.size_m.iter().all(|v| v.is_finite() && *v > 0.0) {
            return Err(Error::Figure(format!("a map of {} x {} m has no size", self.size_m[0], self.size_m[1])));
        }
        let candidates: usize = self.queries.iter().flat_map(|q| &q.rows).map(|r| r.candidates.len().min(SHOWN)).sum();
        // A patch's picture counts as two.
        let pictures = candidates + 2 * self.queries.len();
        let room = self.limit_bytes.saturating_sub(frame_bytes() + WORDS * candidates);
        let share = (room / pictures.max(1)).max(LEAST);
        let queries: Vec<Markup> = self.queries.iter().map(|q| self.query(q, share)).collect::<Result<_, _>>()?;
        let body = html! {
            (headed(self.meta, &html! { (self.lead) }))
            p.note {
                @if queries.is_empty() { "There are no queries." }
                @else {
                    "A green frame and ✓ mark what is right; below stand rank, score and how far off the place is. "
                    "The outline at the end of a row is the map: candidates by their ranks, the true place a cross; "
                    "what would hide something is moved, with a line to where it belongs."
                }
            }
            section.rows { @for query in &queries { (query) } }
            (run(self.meta))
        };
        Ok(document(self.meta, &body, false))
    }

    /// Renders the page and writes it to a file.
    ///
    /// # Errors
    /// Those of [`RetrievalPage::render`], and [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, self.render()?.as_bytes())
    }

    fn query(&self, query: &Asked, bytes: usize) -> Result<Markup, Error> {
        let what = format!("SAR patch of query {}", query.number);
        let patch = image(query.patch.as_ref(), SIDES[0], 2 * bytes, &what)?;
        let rows: Vec<Markup> = query.rows.iter().map(|row| self.row(query, row, bytes)).collect::<Result<_, _>>()?;
        Ok(html! {
            article.q.asked id={ "q" (query.number) } aria-label={ "Query " (query.number) } {
                figure.patch { (patch) figcaption { strong { "Query " (query.number) } } }
                div.ways { @for row in &rows { (row) } }
            }
        })
    }

    fn row(&self, query: &Asked, row: &Row, bytes: usize) -> Result<Markup, Error> {
        let shown = &row.candidates[..row.candidates.len().min(SHOWN)];
        let what = format!("of query {} by {}", query.number, row.way);
        let cells: Vec<Markup> = (1..).zip(shown).map(|(rank, c)| cell(rank, c, &what, bytes)).collect::<Result<_, _>>()?;
        let first = shown.iter().position(|c| c.right);
        Ok(html! {
            section.way {
                h3 {
                    (row.way) " "
                    @match first {
                        Some(0) => span.badge.right { "✓ right" },
                        Some(i) => span.badge.later { "right at rank " (i + 1) },
                        None if shown.is_empty() => span.badge.lost { "no candidate" },
                        None => span.badge.lost { "none of " (shown.len()) " right" },
                    }
                }
                // Scrolled by keys, too.
                div.row tabindex="0" role="group" aria-label={ "Candidates " (what) } {
                    @for cell in &cells { (cell) }
                    (places::outline(self.size_m, query.truth_m, shown, &format!("Places {what} on the map's outline")))
                }
            }
        })
    }
}

fn cell(rank: usize, candidate: &Candidate, what: &str, bytes: usize) -> Result<Markup, Error> {
    let alt = format!("candidate {rank} {what}, {}", if candidate.right { "right" } else { "wrong" });
    let picture = image(candidate.thumb.as_ref(), SIDES[1], bytes, &alt)?;
    let distance = candidate.distance_m.is_finite().then(|| distance_text(candidate.distance_m));
    Ok(html! {
        figure.at.right[candidate.right] title=[distance.as_ref().map(|d| format!("{d} from the true place"))] {
            (picture)
            figcaption {
                span { strong { (rank) } @if candidate.score.is_finite() { " " span.score { (format!("{:.3}", candidate.score)) } } }
                @if candidate.right { strong.verdict { "✓ right" } }
                @else if distance.is_some() { span.verdict { (off(candidate.distance_m)) } }
                @else { span.verdict { "wrong" } }
            }
        }
    })
}

/// How far off, in few letters: a column is narrow.
fn off(metres: f64) -> String {
    if (9_995.0..99_950.0).contains(&metres) { format!("{:.1} km off", metres / 1000.0) } else { format!("{} off", distance_text(metres)) }
}

fn image(thumb: Option<&Thumb>, side: u32, bytes: usize, alt: &str) -> Result<Markup, Error> {
    Ok(match thumb {
        Some(thumb) => {
            let (address, [width, height]) = picture_within(thumb, side, bytes, alt)?;
            html! { div.pane { img src=(address) width=(width) height=(height) alt=(alt) decoding="async"; } }
        }
        None => html! { div.pane { span { "no picture" } } },
    })
}

#[cfg(test)]
mod tests;
