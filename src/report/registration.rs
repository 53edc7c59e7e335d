//! The page of a registration: what was fitted, the residuals on the map and as a histogram, map and image in alternating squares.

use std::fmt::Write as _;
use std::path::Path;

use maud::{Markup, PreEscaped, html};

use super::html::{DEFAULT_LIMIT_BYTES, MAP_SIDE, Stage, data_url, document, headed, picture_within, run};
use super::{Error, MapOverview, ReportMeta, Thumb, Tie, write_atomically};

/// A median residual is drawn as long as this share of the map.
const DRAWN: f64 = 0.012;

/// What goes into the page.
#[derive(Debug, Clone, Copy)]
pub struct RegistrationPage<'a> {
    /// What was run.
    pub meta: &'a ReportMeta,
    /// One sentence of what came of it.
    pub lead: &'a str,
    /// Rows of name, value and remark.
    pub table: &'a [[String; 3]],
    /// The map.
    pub overview: &'a MapOverview,
    /// The tie points.
    pub ties: &'a [Tie],
    /// Figures: a caption and SVG text each.
    pub figures: &'a [(String, String)],
    /// Map and image in alternating squares: a caption and a picture each, the whole first.
    pub checkerboards: &'a [(String, Thumb)],
}

impl RegistrationPage<'_> {
    /// The page as HTML text.
    ///
    /// # Errors
    /// [`Error::Picture`] when a picture's pixels do not fill its size.
    pub fn render(&self) -> Result<String, Error> {
        let vectors = vectors(self.overview, self.ties, DEFAULT_LIMIT_BYTES / 2)?;
        // The whole first: parts are left out once the page is full.
        let mut boards = Vec::new();
        let mut room = DEFAULT_LIMIT_BYTES * 2 / 5;
        for (caption, thumb) in self.checkerboards {
            let (address, _) = picture_within(thumb, MAP_SIDE, DEFAULT_LIMIT_BYTES / 4, caption)?;
            if address.len() > room {
                break;
            }
            room -= address.len();
            boards.push((caption, address));
        }
        let board = |(caption, address): &(&String, String)| -> Markup {
            html! { figure { img src=(address) alt=(caption); figcaption { (caption) } } }
        };
        let body = html! {
            (headed(self.meta, &html! { (self.lead) }))
            (vectors)
            section {
                h2 { "Fit" }
                div.result style="grid-template-columns:minmax(0,1fr)" {
                    table.figures-table {
                        @for [name, value, remark] in self.table {
                            tr { th scope="row" { (name) } td.num { strong { (value) } } td.soft { (remark) } }
                        }
                    }
                }
            }
            @if !boards.is_empty() {
                section {
                    h2 { "Map and image in alternating squares" }
                    p.note { "Roads, shores and field edges should run on from square to square. Grey: no data." }
                    div.figures style="grid-template-columns:minmax(0,1fr);margin-bottom:16px" { (board(&boards[0])) }
                    div.figures style="grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr))" { @for b in &boards[1..] { (board(b)) } }
                }
            }
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
            (run(self.meta))
        };
        Ok(document(self.meta, &body, true))
    }

    /// Renders the page and writes it to a file.
    ///
    /// # Errors
    /// Those of [`RegistrationPage::render`], and [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, self.render()?.as_bytes())
    }
}

/// The map with the tie points: a ring where each was found and a line, lengthened, towards where the transform puts it; a cross for those
/// that were left out.
fn vectors(map: &MapOverview, ties: &[Tie], bytes: usize) -> Result<Markup, Error> {
    let stage = Stage::new(map, bytes)?;
    let ([width, height], unit) = (stage.size, stage.unit);
    let size = f64::from(width.max(height));
    // Marks keep their size on the screen as the map is zoomed; vectors are as long as suits the part of the map that the image is.
    let r = size / 260.0;
    let spread = |d: usize| {
        let at = || ties.iter().map(|t| t.map_px[d] / unit).filter(|v| v.is_finite());
        at().fold(f64::NEG_INFINITY, f64::max) - at().fold(f64::INFINITY, f64::min)
    };
    let size = spread(0).max(spread(1)).clamp(size / 8.0, size);
    let mut lengths: Vec<f64> = ties.iter().filter(|t| t.used).map(|t| t.residual_px[0].hypot(t.residual_px[1])).collect();
    lengths.sort_by(f64::total_cmp);
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(1.0).max(1e-6);
    // A round factor.
    let exact = DRAWN * size * unit / median;
    let power = 10f64.powf(exact.max(1.0).log10().floor());
    let times = ([5.0, 2.0, 1.0].into_iter().find(|f| f * power <= exact).unwrap_or(1.0) * power).max(1.0);
    let (mut lines, mut marks) = (String::new(), String::new());
    for t in ties.iter().filter(|t| t.map_px.iter().chain(&t.residual_px).all(|v| v.is_finite())) {
        let [x, y] = t.map_px.map(|v| v / unit);
        let title = html! { (t.id) ", " (super::distance_text(t.residual_m)) " off" @if !t.used { ", left out" } }.0;
        if t.used {
            let [dx, dy] = t.residual_px.map(|v| v * times / unit);
            let _ = write!(lines, r#"<path class="used" d="M{x:.1} {y:.1}l{dx:.1} {dy:.1}"/>"#);
            let _ = write!(marks, r#"<a class="right"><title>{title}</title><circle cx="{x:.1}" cy="{y:.1}" r="{:.1}"/></a>"#, r * 0.8);
        } else {
            let d = r * 0.75;
            let cross = format!(r#"<path d="M{:.1} {:.1}l{d2:.1} {d2:.1}m0 -{d2:.1}l-{d2:.1} {d2:.1}"/>"#, x - d, y - d, d2 = 2.0 * d);
            let _ = write!(marks, r#"<a class="wrong"><title>{title}</title>{cross}</a>"#);
        }
    }
    let used = ties.iter().filter(|t| t.used).count();
    let drawn = html! { g.lines { (PreEscaped(lines)) } g.marks { (PreEscaped(marks)) } };
    let caption = html! {
        span.key.right { (used) " points the fit rests on, with their residuals drawn " (format!("{times:.0}")) " times as long" }
        @if used < ties.len() { span.key.wrong { (ties.len() - used) " left out: they do not agree" } }
    };
    let layers = [("marks", "Tie points", true)];
    Ok(html! { section { h2 { "Map" } (stage.figure("Map with the tie points", &layers, r, &drawn, &caption)) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_its_parts_and_escapes_names() {
        let meta = ReportMeta { title: "<b>x</b>".into(), version: "1".into(), ..ReportMeta::default() };
        let thumb = Thumb::new(80, 60, vec![90; 80 * 60 * 3]).unwrap();
        let overview = MapOverview::new(thumb.clone(), 10.0, 10.0);
        let tie =
            |used| Tie { id: "<i>".into(), map_px: [300.0, 200.0], residual_px: [1.0, -2.0], residual_m: 22.0, used, ..Tie::default() };
        let page = RegistrationPage {
            meta: &meta,
            lead: "It lies & fits.",
            table: &[["Model".into(), "affine".into(), "six <numbers>".into()]],
            overview: &overview,
            ties: &[tie(true), tie(true), tie(false)],
            figures: &[("Residuals".into(), "<svg></svg>".into())],
            checkerboards: &[("whole".into(), thumb.clone()), ("part".into(), thumb)],
        };
        let text = page.render().unwrap();
        assert!(text.contains("&lt;b&gt;x") && text.contains("It lies &amp; fits.") && text.contains("six &lt;numbers&gt;"));
        assert!(text.contains("&lt;i&gt;, 22 m off, left out") && !text.contains("<i>"));
        assert!(text.contains("2 points the fit rests on") && text.contains("1 left out"));
        assert_eq!(text.matches("data:image/").count(), 4);
        assert_eq!(text.matches("<script").count(), 1);
        // Nothing to draw: still a page.
        let text = RegistrationPage { ties: &[], figures: &[], checkerboards: &[], ..page }.render().unwrap();
        assert!(text.contains("0 points"));
    }
}
