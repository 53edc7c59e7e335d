//! One self-contained HTML page: a sentence, the map with images and fixes, figures, pictures of each patch and its candidates.
//!
//! Styles are inline, pictures are `data:` addresses; filter and layers are radio buttons and check boxes. Where there is a map, one script
//! zooms it and blends the images over it; a content security policy names it by its hash and forbids anything else, so a page is safe to
//! pass on, and without the script it shows the same.

mod document;
mod encode;
mod fixes;
mod map;
mod marks;
mod parts;
mod tables;
mod words;

use std::path::Path;

use maud::{Markup, html};

pub(super) use document::{document, frame_bytes, headed, run};
pub(super) use encode::{data_url, picture_within};
pub(super) use map::{MAP_SIDE, OVERLAYS, Stage};
use parts::Part;

use super::{Error, MapOverview, Outcome, Pictures, ReportMeta, write_atomically};
use crate::eval::dense::DenseReport;
use crate::eval::metrics::EvalReport;
use crate::locate::Fix;

/// Size a page stays under unless told otherwise.
pub const DEFAULT_LIMIT_BYTES: usize = 5_000_000;

/// Bytes kept free for each row of the list of fixes without pictures.
const LINE_BYTES: usize = 340;

/// What goes into a page. Parts that are `None` or empty are left out.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// What was run.
    pub meta: &'a ReportMeta,
    /// Figures of an evaluation.
    pub summary: Option<&'a EvalReport>,
    /// Figures of an evaluation of dense matching.
    pub dense: Option<&'a DenseReport>,
    /// The map to draw the fixes on.
    pub overview: Option<&'a MapOverview>,
    /// The fixes, in the order they are shown: those of the first image first.
    pub fixes: &'a [Fix],
    /// The images whose patches they are, in order; none for an evaluation.
    pub images: &'a [Outcome<'a>],
    /// Pictures of the fixes; those without are listed.
    pub pictures: &'a [Pictures],
    /// More figures: a caption and SVG text each (see [`super::figures`]).
    pub figures: &'a [(String, String)],
    /// Bytes the page stays under: queries past it are listed without pictures.
    pub limit_bytes: usize,
}

/// Fixes of a part as they are shown.
#[derive(Default)]
struct Shown {
    articles: Vec<Markup>,
    listed: Vec<Markup>,
}

impl<'a> Page<'a> {
    /// A page of fixes; fill in the other parts as they are at hand.
    #[must_use]
    pub fn new(meta: &'a ReportMeta, fixes: &'a [Fix]) -> Self {
        Self {
            meta,
            summary: None,
            dense: None,
            overview: None,
            fixes,
            images: &[],
            pictures: &[],
            figures: &[],
            limit_bytes: DEFAULT_LIMIT_BYTES,
        }
    }

    /// The page as HTML text.
    ///
    /// # Errors
    /// [`Error::Picture`] when a picture's pixels do not fill its size.
    pub fn render(&self) -> Result<String, Error> {
        let Self { meta, fixes, images, .. } = *self;
        let parts = parts::parts(images, fixes.len());
        // Pictures on the map take up to a half; what is drawn over them comes on top.
        let map = self.overview.map(|o| marks::map(o, fixes, images, &parts, self.limit_bytes / 2)).transpose()?;
        let figures: Markup = html! {
            @if !self.figures.is_empty() {
                section {
                    h2 { "Figures" }
                    div.figures {
                        @for (caption, svg) in self.figures {
                            figure { img src=(data_url("image/svg+xml", svg.as_bytes())) alt=(caption); figcaption { (caption) } }
                        }
                    }
                }
            }
        };
        let head = html! {
            (headed(meta, &parts::lead(images, fixes)))
            (parts::rows(images))
            @if !images.is_empty() { @if let Some(map) = &map { (map) } (parts::only(images)) }
            @if let Some(summary) = self.summary { (tables::summary_table(summary)) }
            @if let Some(report) = self.dense { (tables::dense_table(report)) }
            (figures)
            @if images.is_empty() { @if let Some(map) = &map { (map) } }
        };
        let foot = html! { @if !images.is_empty() { (parts::glossary(images)) } (run(meta)) };
        let room = self.limit_bytes.saturating_sub(head.0.len() + foot.0.len() + document::frame_bytes());
        let (list, counts) = self.list(&parts, room)?;
        let known = fixes.iter().any(|f| f.right().is_some() || f.probability.is_some());
        let body = html! {
            (head)
            section.queries {
                h2 { @if images.is_empty() { "Queries" } @else { "Patches" } }
                (fixes::shown(fixes, self.pictures, images.len() > 1, counts))
                @if known { (fixes::filter(fixes)) }
                div.list { (list) }
            }
            (foot)
        };
        Ok(document(meta, &body, map.is_some()))
    }

    /// Renders the page and writes it to a file.
    ///
    /// # Errors
    /// Those of [`Page::render`], and [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, self.render()?.as_bytes())
    }

    /// The parts within some bytes, and how many fixes are shown with pictures and without.
    fn list(&self, parts: &[Part], mut room: usize) -> Result<(Markup, [usize; 2]), Error> {
        let several = self.images.len() > 1;
        let mut counts = [0; 2];
        let mut heads: Vec<Markup> = Vec::new();
        for part in parts {
            let head = part.image.map(|i| parts::head(i, &self.images[i], several)).unwrap_or_default();
            // Tags about a part and its table.
            let bytes = head.0.len() + 400;
            if bytes > room {
                break;
            }
            room -= bytes;
            heads.push(head);
        }
        let mut out = Vec::new();
        for (n, (part, head)) in parts.iter().zip(&heads).enumerate() {
            // What a part leaves is for those behind it.
            let share = room / (heads.len() - n);
            let mut left = share;
            let shown = self.part(part, &mut left)?;
            room -= share - left;
            counts = [counts[0] + shown.articles.len(), counts[1] + shown.listed.len()];
            let missing = part.range.len() - shown.articles.len() - shown.listed.len();
            out.push(html! {
                div.part id=[part.image.map(|i| format!("i{i}"))] {
                    (head)
                    @for article in &shown.articles { (article) }
                    @if !shown.listed.is_empty() { (fixes::plain_list(&shown.listed)) }
                    @if several && missing > 0 { p.note { (words::plural(missing, "patch", "patches")) " more in the GeoJSON and CSV files." } }
                }
            });
        }
        Ok((html! { @for part in &out { (part) } }, counts))
    }

    /// Articles are spent in order until there is no room for more and a row for each of the rest.
    fn part(&self, part: &Part, room: &mut usize) -> Result<Shown, Error> {
        let (mut shown, none) = (Shown::default(), Pictures::default());
        let (mut full, all_bare) = (false, self.pictures.is_empty());
        for i in part.range.clone() {
            let fix = &self.fixes[i];
            let pictures = self.pictures.get(i).unwrap_or(&none);
            let rest = (part.range.end - i - 1) * LINE_BYTES;
            if !full && (all_bare || pictures.patch.is_some()) {
                let article = fixes::article(i, fix, pictures)?;
                if article.0.len() + rest <= *room {
                    *room -= article.0.len();
                    shown.articles.push(article);
                    continue;
                }
                full = true;
            }
            let line = fixes::line(i, fix);
            if line.0.len() > *room {
                break;
            }
            *room -= line.0.len();
            shown.listed.push(line);
        }
        Ok(shown)
    }
}

#[cfg(test)]
mod tests;
