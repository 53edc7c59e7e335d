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

use super::{Error, MapOverview, Outcome, Pictures, ReportMeta, Thumb, distance_text, write_atomically};
use crate::eval::dense::DenseReport;
use crate::eval::metrics::{EvalReport, Interval};
use crate::locate::{Candidate, Fix, Variant};

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
    /// Figures of an evaluation of dense matching.
    pub dense: Option<&'a DenseReport>,
    /// The map to draw the fixes on.
    pub overview: Option<&'a MapOverview>,
    /// The fixes, in the order they are shown.
    pub fixes: &'a [Fix],
    /// The images whose patches they are, in order; none for an evaluation.
    pub images: &'a [Outcome<'a>],
    /// Pictures of the first of the fixes.
    pub pictures: &'a [Pictures],
    /// More figures: a caption and SVG text each (see [`super::figures`]).
    pub figures: &'a [(String, String)],
    /// Bytes the page stays under: queries past it are listed without pictures.
    pub limit_bytes: usize,
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
            @if let Some(report) = self.dense { (dense_table(report)) }
            @if !self.figures.is_empty() { section { h2 { "Figures" } div.figures { (figures) } } }
            @if let Some(map) = &map { (map) }
        };

        // Pictures are spent in order until the page is full; the plain list keeps room for the rest.
        let mut room = self.limit_bytes.saturating_sub(head.0.len() + CSS.len() + 8192);
        let (mut pictured, none) = (Vec::new(), Pictures::default());
        for (i, fix) in fixes.iter().enumerate() {
            let article = article(i, fix, self.pictures.get(i).unwrap_or(&none))?;
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

        let known = fixes.iter().any(|f| f.right().is_some() || f.probability.is_some());
        let body = html! {
            (head)
            section.queries {
                h2 { "Queries" }
                (shown(fixes, self.pictures, pictured.len(), listed.len()))
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
    let claimed = fixes.iter().filter(|f| f.found()).count();
    let judged = fixes.iter().any(|f| f.probability.is_some());
    headed(
        meta,
        &html! {
            @if judged {
                (plural(fixes.len(), "query", "queries")) ", " strong { (claimed) } " found, " strong { (fixes.len() - claimed) } " not found"
                @if known > 0 { "; of those found " strong { (right) " of " (known) } " within 100 m" }
            } @else {
                (plural(fixes.len(), "query", "queries")) " located"
                @if known > 0 { ", the first candidate right for " strong { (right) " of " (known) } }
            }
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

/// Figures of dense matching.
fn dense_table(report: &DenseReport) -> Markup {
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    let ci = |e: &Interval| format!("{:.1} to {:.1} %", 100.0 * e[0], 100.0 * e[1]);
    let mut rows: Vec<(String, String, String, Option<f64>)> = Vec::new();
    for (m, share) in &report.within_m {
        let interval = report.within_m_ci95.get(m).map(ci).unwrap_or_default();
        rows.push((format!("Best peak within {m} m"), percent(*share), interval, Some(*share)));
    }
    if let Some((e, [low, high])) = report.median_error_m.zip(report.median_error_ci95) {
        rows.push(("Median error".into(), distance_text(e), format!("{} to {}", distance_text(low), distance_text(high)), None));
    }
    if let Some(m) = report.median_error_of_right_m {
        rows.push(("Median error of those within 100 m".into(), distance_text(m), String::new(), None));
    }
    rows.push((
        format!("Found: probability {} and above", report.threshold),
        percent(report.accepted),
        String::new(),
        Some(report.accepted),
    ));
    if let Some(v) = report.accepted_right {
        rows.push(("Of those within 100 m".into(), percent(v), String::new(), Some(v)));
    }
    if let Some(v) = report.ellipse_holds {
        rows.push(("Right fixes whose truth lies in the 95 % ellipse".into(), percent(v), String::new(), Some(v)));
    }
    if let Some(a) = &report.absent {
        rows.push((
            format!("False fixes among {} patches that are not on the map", a.queries),
            percent(a.share),
            String::new(),
            Some(a.share),
        ));
    }
    rows.push(("Calibration error of the probabilities".into(), format!("{:.3}", report.calibration_error), String::new(), None));
    rows.push(("Seconds a query".into(), format!("{:.3}", report.seconds_a_query), String::new(), None));
    html! {
        section {
            h2 { "Result" }
            p.note {
                strong { (report.features) } " features, " (plural(report.queries, "patch", "patches")) " of " (report.patch)
                " map pixels, each correlated with the whole map. Intervals: 95 % bootstrap."
            }
            div.result {
                table.figures-table {
                    thead { tr { th scope="col" { "Measure" } th.num scope="col" { "Value" } th.num scope="col" { "95 % interval" } th.wide scope="col" aria-label="Bar" {} } }
                    tbody {
                        @for (name, value, ci, share) in &rows {
                            tr {
                                th scope="row" { (name) }
                                td.num { strong { (value) } }
                                td.num.soft { (ci) }
                                td.wide { @if let Some(v) = share { div.bar { div.fill style={ "width:" (format!("{:.2}%", 100.0 * v.clamp(0.0, 1.0))) } {} } } }
                            }
                        }
                    }
                }
                div.side {
                    h3 { "Map" }
                    table.hist { @for (name, value) in &report.map { tr { th scope="row" { (name.replace('_', " ")) } td.num { (format!("{value:.2}").trim_end_matches(".00")) } } } }
                    h3 { "Seconds" }
                    table.hist { @for (stage, seconds) in &report.seconds { tr { th scope="row" { (stage) } td.num { (format!("{seconds:.2}")) } } } }
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
    // One that was not found is drawn where it truly lies, if that is known.
    let place = |f: &Fix| f.place.or(f.truth).and_then(|p| spot(p.map_px));
    let drawn: Vec<(usize, &Fix, [f64; 2])> =
        fixes.iter().enumerate().step_by(stride).filter_map(|(i, f)| Some((i, f, place(f)?))).collect();
    // Marks keep their size on the page whatever the size of the picture.
    let mut r = f64::from(width.max(height)) / if drawn.len() > 300 { 220.0 } else { 130.0 };
    let mut axes: Vec<f64> = drawn.iter().filter(|_| map.pixel_m > 0.0).filter_map(|(_, f, _)| Some(f.place?.ellipse?.major_m)).collect();
    axes.sort_by(f64::total_cmp);
    let axis = axes.get(axes.len() / 2).map(|m| m / map.pixel_m / unit);
    // Of ellipses that would hide below their marks all are enlarged alike.
    let mut enlarged = 1.0;
    if let Some(axis) = axis {
        r *= 0.55;
        let factors = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
        enlarged = factors.into_iter().find(|f| f * axis >= 1.6 * r).unwrap_or(100.0);
    }
    let mut marks = String::new();
    let mut lines = String::new();
    for (i, fix, [x, y]) in &drawn {
        let class = class(fix);
        if let Some([tx, ty]) = fix.truth.and_then(|p| spot(p.map_px))
            && fix.right() == Some(false)
        {
            let _ = write!(
                lines,
                r#"<path class="{class}" d="M{x:.1} {y:.1}L{tx:.1} {ty:.1}"/><circle class="truth" cx="{tx:.1}" cy="{ty:.1}" r="{:.1}"/>"#,
                r * 0.55
            );
        }
        if let Some(e) = fix.place.and_then(|p| p.ellipse).filter(|_| axis.is_some()) {
            let [rx, ry] = [e.major_m, e.minor_m].map(|m| enlarged * m / map.pixel_m / unit);
            let _ = write!(
                lines,
                r#"<ellipse class="{class}" cx="{x:.1}" cy="{y:.1}" rx="{rx:.1}" ry="{ry:.1}" transform="rotate({:.1} {x:.1} {y:.1})"/>"#,
                e.azimuth_deg - 90.0
            );
        }
        let d = r * if fix.found() { 0.75 } else { 1.1 };
        let mark = if !fix.found() {
            format!(r#"<path d="M{:.1} {y:.1}l{d:.1} {d:.1}l{d:.1} -{d:.1}l-{d:.1} -{d:.1}z"/>"#, x - d)
        } else if fix.right() == Some(false) {
            format!(r#"<path d="M{:.1} {:.1}l{d2:.1} {d2:.1}m0 -{d2:.1}l-{d2:.1} {d2:.1}"/>"#, x - d, y - d, d2 = 2.0 * d)
        } else {
            format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{r:.1}"/>"#)
        };
        let name = html! {
            (fix.id)
            @if !fix.found() { ", not found" }
            @if let Some(p) = fix.probability { ", probability " (probability(p)) }
            @if let Some(e) = fix.error_m() { ", " (distance_text(e)) " off" }
        }
        .0;
        let _ = write!(marks, r##"<a class="{class}" href="#q{i}"><title>{name}</title>{mark}</a>"##);
    }
    let has = |name: &str| drawn.iter().any(|(_, f, _)| class(f) == name);
    let unplaced = fixes.iter().step_by(stride).filter(|f| !f.found() && place(f).is_none()).count();
    Ok(html! {
        section {
            h2 { "Map" }
            figure.map {
                svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label="Map with the fixes"
                    style={ "--r:" (format!("{r:.1}")) "px" } {
                    image href=(address) width=(width) height=(height) {}
                    g.marks { (PreEscaped(marks)) }
                    g.lines { (PreEscaped(lines)) }
                }
                figcaption {
                    @if has("right") { span.key.right { "right fix" } }
                    @if has("wrong") { span.key.wrong { "wrong fix, with a line to the truth (ring)" } }
                    @if has("unknown") { span.key.unknown { "fix, truth unknown" } }
                    @if has("lost") { span.key.lost { "not found: drawn where it truly lies" } }
                    @if axis.is_some() {
                        span { "Ellipses hold the true place with a probability of 95 %" @if enlarged > 1.0 { ", drawn " (enlarged) " times as large" } "." }
                    }
                    @if unplaced > 0 { span { (unplaced) " not found and not drawn" } }
                    @if drawn.len() + unplaced < fixes.len() { span { (drawn.len()) " of " (fixes.len()) " fixes are drawn" } }
                    span { "A mark leads to its query." }
                }
            }
        }
    })
}

fn shown(fixes: &[Fix], pictures: &[Pictures], pictured: usize, listed: usize) -> Markup {
    let all = fixes.len();
    let dense = fixes.iter().any(|f| f.probability.is_some());
    html! {
        p.note {
            @if all == 0 { "There are no queries." }
            @else if pictured == all && dense { "All " (all) " shown, each with its best peaks." }
            @else if pictured == all { "All " (all) " shown, each with its best " (TOP) " candidates." }
            @else {
                "The first " (pictured) " of " (all) " are shown with pictures, to keep the file small; "
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
fn filter(fixes: &[Fix]) -> Markup {
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

fn article(index: usize, fix: &Fix, pictures: &Pictures) -> Result<Markup, Error> {
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
        tr.q.(class(fix)) {
            th scope="row" { (fix.id) }
            td { @if let Some(p) = &fix.place { (place(p.lonlat)) } @else { "not found" } }
            td.num { (format!("{:.3}", fix.score)) }
            td.num { (format!("{:.3}", fix.margin)) }
            td.num { @if let Some(e) = fix.error_m() { (distance_text(e)) } }
            td { (mark(fix.right())) }
        }
    }
}

fn class(fix: &Fix) -> &'static str {
    if fix.found() { truth(fix.right()) } else { "lost" }
}

fn truth(right: Option<bool>) -> &'static str {
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

/// A probability for people: `97.3 %`; never a round 0 or 100.
fn probability(p: f64) -> String {
    match 100.0 * p {
        p if p < 0.1 => "< 0.1 %".into(),
        p if p > 99.9 => "> 99.9 %".into(),
        p => format!("{p:.1} %"),
    }
}

fn place([lon, lat]: [f64; 2]) -> String {
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
