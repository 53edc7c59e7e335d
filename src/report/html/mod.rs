//! One self-contained HTML page: figures, map with the fixes, pictures of each query and its candidates.
//!
//! Styles are inline, pictures are `data:` addresses and there is no script: the filter is made of radio buttons. A
//! content security policy forbids anything else, so a page is safe to pass on.

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::codecs::jpeg::JpegEncoder;
use image::{RgbImage, imageops};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Candidate, Error, Fix, MapOverview, ReportMeta, Thumb, distance_text, write_atomically};
use crate::eval::metrics::{EvalReport, Interval};

/// Size a page stays under unless told otherwise.
pub const DEFAULT_LIMIT_BYTES: usize = 9_500_000;

/// Candidates pictured a query.
const TOP: usize = 5;
/// Longest side in pixels of an embedded query or candidate picture.
const THUMB_SIDE: u32 = 200;
/// Longest side in pixels of the embedded map.
pub(super) const MAP_SIDE: u32 = 1600;
/// Fixes drawn on the map; of more, an even choice is drawn.
const MAP_FIXES: usize = 4000;
/// Bytes kept free for each row of the list of fixes without pictures.
const LINE_BYTES: usize = 320;

/// What goes into a page. Parts that are `None` or empty are left out.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// What was run.
    pub meta: &'a ReportMeta,
    /// Figures of an evaluation.
    pub summary: Option<&'a EvalReport>,
    /// The map to draw the fixes on.
    pub overview: Option<&'a MapOverview>,
    /// The fixes, in the order they are shown.
    pub fixes: &'a [Fix],
    /// More figures: a caption and SVG text each (see [`super::figures`]).
    pub figures: &'a [(String, String)],
    /// Bytes the page stays under: queries past it are listed without pictures.
    pub limit_bytes: usize,
}

impl<'a> Page<'a> {
    /// A page of fixes; fill in the other parts as they are at hand.
    #[must_use]
    pub fn new(meta: &'a ReportMeta, fixes: &'a [Fix]) -> Self {
        Self { meta, summary: None, overview: None, fixes, figures: &[], limit_bytes: DEFAULT_LIMIT_BYTES }
    }

    /// The page as HTML text.
    ///
    /// # Errors
    /// [`Error::Picture`] when a picture's pixels do not fill its size.
    pub fn render(&self) -> Result<String, Error> {
        let Self { meta, fixes, .. } = *self;
        let map = self.overview.map(|o| overview(o, fixes)).transpose()?;
        let figures: Markup = html! {
            @for (caption, svg) in self.figures {
                figure { img src=(data_url("image/svg+xml", svg.as_bytes())) alt=(caption); figcaption { (caption) } }
            }
        };
        let head = html! {
            (header(meta, fixes))
            @if let Some(summary) = self.summary { (summary_table(summary)) }
            @if !self.figures.is_empty() { section { h2 { "Figures" } div.figures { (figures) } } }
            @if let Some(map) = &map { (map) }
        };

        // Pictures are spent in order until the page is full; the plain list keeps room for the rest.
        let mut room = self.limit_bytes.saturating_sub(head.0.len() + CSS.len() + 8192);
        let mut pictured = Vec::new();
        for (i, fix) in fixes.iter().enumerate() {
            let article = article(i, fix)?;
            let rest = (fixes.len() - i - 1) * LINE_BYTES;
            if article.0.len() + rest > room {
                break;
            }
            room -= article.0.len();
            pictured.push(article);
        }
        let mut listed = Vec::new();
        for fix in &fixes[pictured.len()..] {
            let line = line(fix);
            if line.0.len() > room {
                break;
            }
            room -= line.0.len();
            listed.push(line);
        }

        let known = fixes.iter().any(|f| f.right().is_some());
        let body = html! {
            (head)
            section.queries {
                h2 { "Queries" }
                (shown(fixes.len(), pictured.len(), listed.len()))
                @if known { (filter(fixes)) }
                div.list {
                    @for article in &pictured { (article) }
                    @if !listed.is_empty() { (plain_list(&listed)) }
                }
            }
        };
        Ok(document(meta, &body))
    }

    /// Renders the page and writes it to a file.
    ///
    /// # Errors
    /// Those of [`Page::render`], and [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, self.render()?.as_bytes())
    }
}

/// A whole page around its contents.
pub(super) fn document(meta: &ReportMeta, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; img-src data:; style-src 'unsafe-inline'";
                title { (meta.title) }
                style { (PreEscaped(CSS)) }
            }
            body {
                main {
                    (body)
                    footer { "echogrid " (meta.version) @if !meta.adapter.is_empty() { " on " (meta.adapter) } }
                }
            }
        }
    };
    page.into_string()
}

fn header(meta: &ReportMeta, fixes: &[Fix]) -> Markup {
    let right = fixes.iter().filter(|f| f.right() == Some(true)).count();
    let known = fixes.iter().filter(|f| f.right().is_some()).count();
    headed(
        meta,
        &html! {
            (plural(fixes.len(), "query", "queries")) " located"
            @if known > 0 { ", the first candidate right for " strong { (right) " of " (known) } }
            "."
        },
    )
}

/// The head of any page: title, a sentence, what was run.
pub(super) fn headed(meta: &ReportMeta, lead: &Markup) -> Markup {
    let named = [("Map", &meta.map), ("SAR image", &meta.sar), ("Model", &meta.model), ("Adapter", &meta.adapter)];
    let rows = named.into_iter().map(|(n, v)| (n, v.as_str())).filter(|(_, v)| !v.is_empty());
    let rows = rows.chain(meta.rows.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    html! {
        header {
            div.brand { (PreEscaped(LOGO)) span { "echogrid" } }
            h1 { (meta.title) }
            p.lead { (lead) }
            dl { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } }
            @if !meta.command.is_empty() { pre.command { code { (meta.command) } } }
        }
    }
}

fn summary_table(report: &EvalReport) -> Markup {
    let bar = |value: f64, ci: Option<&Interval>| {
        let percent = |v: f64| format!("{:.2}%", 100.0 * v.clamp(0.0, 1.0));
        html! {
            div.bar {
                div.fill style={ "width:" (percent(value)) } {}
                @if let Some([lo, hi]) = ci {
                    div.ci style={ "left:" (percent(*lo)) ";width:" (percent(hi - lo)) } {}
                }
            }
        }
    };
    let shares = report.recall.iter().map(|(k, v)| (*v, report.recall_ci95.get(k)));
    let shares = shares.chain([(report.mrr, Some(&report.mrr_ci95))]).map(Some).chain([None, None]);
    let shares = shares.chain(report.within_m.iter().map(|(m, v)| Some((*v, report.within_m_ci95.get(m)))));
    let most = report.ranks.iter().map(|b| b.count).max().unwrap_or(1).max(1);
    html! {
        section {
            h2 { "Result" }
            p.note {
                "Protocol " strong { (report.protocol) } ", " (plural(report.queries, "query", "queries")) " over "
                (plural(report.cells, "map cell", "map cells")) ". Intervals: 95 % bootstrap."
            }
            div.result {
                table.figures-table {
                    thead { tr { th scope="col" { "Measure" } th.num scope="col" { "Value" } th.num scope="col" { "95 % interval" } th.wide scope="col" aria-label="Bar" {} } }
                    tbody {
                        @for ([name, value, ci], share) in report.rows().into_iter().zip(shares) {
                            tr {
                                th scope="row" { (name) }
                                td.num { strong { (value) } }
                                td.num.soft { (ci) }
                                td.wide { @if let Some((value, ci)) = share { (bar(value, ci)) } }
                            }
                        }
                    }
                }
                div.side {
                    h3 { "Rank of the right cell" }
                    table.hist {
                        @for bin in &report.ranks {
                            tr {
                                th scope="row" { (bin.ranks) }
                                td.wide { div.bar { div.fill style={ "width:" (format!("{:.2}%", 100.0 * bin.count as f64 / most as f64)) } {} } }
                                td.num { (bin.count) }
                            }
                        }
                    }
                    @if !report.seconds.is_empty() {
                        h3 { "Seconds" }
                        table.hist { @for (stage, seconds) in &report.seconds { tr { th scope="row" { (stage) } td.num { (format!("{seconds:.2}")) } } } }
                    }
                }
            }
        }
    }
}

fn overview(map: &MapOverview, fixes: &[Fix]) -> Result<Markup, Error> {
    let (address, [width, height]) = picture(&map.thumb, MAP_SIDE, "the map overview")?;
    // Drawn in units of the embedded picture, which may be smaller than the overview handed in.
    let unit = map.scale * f64::from(map.thumb.width) / f64::from(width);
    let spot = |p: [f64; 2]| Some(p.map(|v| v / unit)).filter(|p| p.iter().all(|v| v.is_finite()));
    let stride = fixes.len().div_ceil(MAP_FIXES).max(1);
    let drawn: Vec<(usize, &Fix, [f64; 2])> =
        fixes.iter().enumerate().step_by(stride).filter_map(|(i, f)| Some((i, f, spot(f.map_px)?))).collect();
    // Marks keep their size on the page whatever the size of the picture.
    let r = f64::from(width.max(height)) / if drawn.len() > 300 { 220.0 } else { 130.0 };
    let mut marks = String::new();
    let mut lines = String::new();
    for (i, fix, [x, y]) in &drawn {
        let class = class(fix.right());
        if let Some([tx, ty]) = fix.truth_map_px.and_then(spot)
            && fix.right() == Some(false)
        {
            let _ = write!(
                lines,
                r#"<path class="{class}" d="M{x:.1} {y:.1}L{tx:.1} {ty:.1}"/><circle class="truth" cx="{tx:.1}" cy="{ty:.1}" r="{:.1}"/>"#,
                r * 0.55
            );
        }
        let mark = if fix.right() == Some(false) {
            let d = r * 0.75;
            format!(r#"<path d="M{:.1} {:.1}l{d2:.1} {d2:.1}m0 -{d2:.1}l-{d2:.1} {d2:.1}"/>"#, x - d, y - d, d2 = 2.0 * d)
        } else {
            format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{r:.1}"/>"#)
        };
        let name = html! { (fix.query_id) @if let Some(e) = fix.error_m() { ", " (distance_text(e)) " off" } }.0;
        let _ = write!(marks, r##"<a class="{class}" href="#q{i}"><title>{name}</title>{mark}</a>"##);
    }
    let has = |right: Option<bool>| drawn.iter().any(|(_, f, _)| f.right() == right);
    Ok(html! {
        section {
            h2 { "Map" }
            figure.map {
                svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label="Map with the fixes"
                    style={ "--r:" (format!("{r:.1}")) "px" } {
                    image href=(address) width=(width) height=(height) {}
                    g.lines { (PreEscaped(lines)) }
                    g.marks { (PreEscaped(marks)) }
                }
                figcaption {
                    @if has(Some(true)) { span.key.right { "right fix" } }
                    @if has(Some(false)) { span.key.wrong { "wrong fix, with a line to the truth (ring)" } }
                    @if has(None) { span.key.unknown { "fix, truth unknown" } }
                    @if drawn.len() < fixes.len() { span { (drawn.len()) " of " (fixes.len()) " fixes are drawn" } }
                    span { "A mark leads to its query." }
                }
            }
        }
    })
}

fn shown(all: usize, pictured: usize, listed: usize) -> Markup {
    html! {
        p.note {
            @if all == 0 { "There are no queries." }
            @else if pictured == all { "All " (all) " shown, each with its best " (TOP) " candidates." }
            @else {
                "The first " (pictured) " of " (all) " are shown with pictures, to keep the file small; "
                (listed) " more are listed below"
                @if pictured + listed < all { ", the others are in the GeoJSON and CSV files only" }
                "."
            }
        }
    }
}

/// Radio buttons ahead of the list; the style sheet hides rows by which one is set.
fn filter(fixes: &[Fix]) -> Markup {
    let count = |right| fixes.iter().filter(|f| f.right() == Some(right)).count();
    let choices = [
        ("all", format!("All {}", fixes.len())),
        ("wrong", format!("Wrong {}", count(false))),
        ("right", format!("Right {}", count(true))),
    ];
    html! {
        @for (name, text) in &choices {
            input.filter type="radio" name="show" id={ "show-" (name) } checked[*name == "all"];
            label for={ "show-" (name) } { (text) }
        }
    }
}

fn article(index: usize, fix: &Fix) -> Result<Markup, Error> {
    let state = class(fix.right());
    let query = match &fix.thumb {
        Some(thumb) => Some(picture(thumb, THUMB_SIDE, &fix.query_id)?),
        None => None,
    };
    let mut cells = Vec::new();
    for candidate in fix.candidates.iter().take(TOP) {
        cells.push(cell(fix, candidate)?);
    }
    let [lon, lat] = fix.lonlat;
    Ok(html! {
        article.q.(state) id={ "q" (index) } {
            header {
                h3 { (fix.query_id) }
                (verdict(fix))
                p.where {
                    span { (place(lon, lat)) }
                    span { "score " (format!("{:.3}", fix.score)) }
                    span { "margin " (format!("{:.3}", fix.margin)) }
                }
            }
            div.strip {
                figure.cell.query {
                    (frame(query.as_ref().map(|p| p.0.as_str()), &format!("SAR patch {}", fix.query_id)))
                    figcaption { strong { "SAR query" } span { "px " (format!("{:.0}, {:.0}", fix.sar_px[0], fix.sar_px[1])) } }
                }
                @for cell in &cells { (cell) }
            }
        }
    })
}

fn cell(fix: &Fix, candidate: &Candidate) -> Result<Markup, Error> {
    let what = format!("candidate {} of {}", candidate.rank, fix.query_id);
    let address = match &candidate.thumb {
        Some(thumb) => Some(picture(thumb, THUMB_SIDE, &what)?.0),
        None => None,
    };
    Ok(html! {
        figure.cell.(class(candidate.right)) {
            (frame(address.as_deref(), &what))
            figcaption {
                strong { (mark(candidate.right)) (candidate.rank) "." }
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
    html! {
        @match fix.right() {
            Some(true) => span.badge.right { "✓ right" @if let Some(e) = &error { ", " (e) " off" } },
            Some(false) => {
                span.badge.wrong { "✕ wrong" @if let Some(e) = &error { ", " (e) " off" } }
                span.soft {
                    @if let Some(rank) = fix.right_rank() { "right cell at rank " (rank) }
                    @else { "right cell not among the best " (fix.candidates.len()) }
                }
            },
            None => {},
        }
    }
}

fn plain_list(lines: &[Markup]) -> Markup {
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

fn line(fix: &Fix) -> Markup {
    html! {
        tr.q.(class(fix.right())) {
            th scope="row" { (fix.query_id) }
            td { (place(fix.lonlat[0], fix.lonlat[1])) }
            td.num { (format!("{:.3}", fix.score)) }
            td.num { (format!("{:.3}", fix.margin)) }
            td.num { @if let Some(e) = fix.error_m() { (distance_text(e)) } }
            td { (mark(fix.right())) }
        }
    }
}

fn class(right: Option<bool>) -> &'static str {
    match right {
        Some(true) => "right",
        Some(false) => "wrong",
        None => "unknown",
    }
}

fn mark(right: Option<bool>) -> &'static str {
    match right {
        Some(true) => "✓ ",
        Some(false) => "✕ ",
        None => "",
    }
}

fn place(lon: f64, lat: f64) -> String {
    let (east, north) = (if lon < 0.0 { 'W' } else { 'E' }, if lat < 0.0 { 'S' } else { 'N' });
    format!("{:.5}° {north}, {:.5}° {east}", lat.abs(), lon.abs())
}

pub(super) fn plural(n: usize, one: &str, many: &str) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or_default()).collect();
    format!("{} {}", groups.join(","), if n == 1 { one } else { many })
}

/// A picture as a `data:` address and its size there: shrunk to `side`, then whichever of JPEG and PNG is smaller.
pub(super) fn picture(thumb: &Thumb, side: u32, what: &str) -> Result<(String, [u32; 2]), Error> {
    let fail = |problem: String| Error::Picture { what: what.to_string(), problem };
    if let Some(problem) = thumb.problem() {
        return Err(fail(problem));
    }
    let image =
        RgbImage::from_raw(thumb.width, thumb.height, thumb.rgb.clone()).ok_or_else(|| fail("its pixels do not fill it".to_string()))?;
    let longest = thumb.width.max(thumb.height);
    let image = if longest > side {
        let scaled = |v: u32| ((f64::from(v) * f64::from(side) / f64::from(longest)).round() as u32).max(1);
        imageops::thumbnail(&image, scaled(thumb.width), scaled(thumb.height))
    } else {
        image
    };
    let size = [image.width(), image.height()];
    let mut jpeg = Vec::new();
    image.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, 82)).map_err(|e| fail(e.to_string()))?;
    if longest <= 64 {
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png).map_err(|e| fail(e.to_string()))?;
        let png = png.into_inner();
        if png.len() < jpeg.len() {
            return Ok((data_url("image/png", &png), size));
        }
    }
    Ok((data_url("image/jpeg", &jpeg), size))
}

pub(super) fn data_url(kind: &str, bytes: &[u8]) -> String {
    let mut address = format!("data:{kind};base64,");
    BASE64.encode_string(bytes, &mut address);
    address
}

/// A grid cell hit by radar waves.
const LOGO: &str = r#"<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"><path d="M3 9h12M3 15h12M3 21h12M3 9v12M9 9v12M15 9v12"/><path d="M14 5a5 5 0 0 1 5 5M14 1.5a8.500 8.500 0 0 1 8.500 8.500" stroke="var(--accent)"/></svg>"#;

const CSS: &str = include_str!("page.css");

#[cfg(test)]
mod tests;
