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
const MAP_SIDE: u32 = 1600;
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
                        footer { "echogrid " (meta.version) @if !meta.adapter.is_empty() { " on " (meta.adapter) } }
                    }
                }
            }
        };
        Ok(page.into_string())
    }

    /// Renders the page and writes it to a file.
    ///
    /// # Errors
    /// Those of [`Page::render`], and [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, self.render()?.as_bytes())
    }
}

fn header(meta: &ReportMeta, fixes: &[Fix]) -> Markup {
    let named = [("Map", &meta.map), ("SAR image", &meta.sar), ("Model", &meta.model), ("Adapter", &meta.adapter)];
    let rows = named.into_iter().map(|(n, v)| (n, v.as_str())).filter(|(_, v)| !v.is_empty());
    let rows = rows.chain(meta.rows.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let right = fixes.iter().filter(|f| f.right() == Some(true)).count();
    let known = fixes.iter().filter(|f| f.right().is_some()).count();
    html! {
        header {
            div.brand { (PreEscaped(LOGO)) span { "echogrid" } }
            h1 { (meta.title) }
            p.lead {
                (plural(fixes.len(), "query", "queries")) " located"
                @if known > 0 { ", the first candidate right for " strong { (right) " of " (known) } }
                "."
            }
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

fn plural(n: usize, one: &str, many: &str) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or_default()).collect();
    format!("{} {}", groups.join(","), if n == 1 { one } else { many })
}

/// A picture as a `data:` address and its size there: shrunk to `side`, then whichever of JPEG and PNG is smaller.
fn picture(thumb: &Thumb, side: u32, what: &str) -> Result<(String, [u32; 2]), Error> {
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

fn data_url(kind: &str, bytes: &[u8]) -> String {
    let mut address = format!("data:{kind};base64,");
    BASE64.encode_string(bytes, &mut address);
    address
}

/// A grid cell hit by radar waves.
const LOGO: &str = r#"<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"><path d="M3 9h12M3 15h12M3 21h12M3 9v12M9 9v12M15 9v12"/><path d="M14 5a5 5 0 0 1 5 5M14 1.5a8.500 8.500 0 0 1 8.500 8.500" stroke="var(--accent)"/></svg>"#;

const CSS: &str = r##"
:root{color-scheme:light dark;--paper:#fff;--page:#f6f7f9;--ink:#1f2429;--soft:#5f6873;--line:#dfe3e8;--accent:#1565c0;--fill:#9cc3ec;--right:#1a8a3f;--wrong:#d1242f;--unknown:#87909a;--right-bg:#e3f6e8;--wrong-bg:#fdeaea}
@media (prefers-color-scheme:dark){:root{--paper:#161b22;--page:#0d1117;--ink:#e6edf3;--soft:#9aa4ae;--line:#30363d;--accent:#58a6ff;--fill:#1f4b7d;--right:#3fb950;--wrong:#ff6a62;--unknown:#7d8590;--right-bg:#12331c;--wrong-bg:#3d1719}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1180px;margin:0 auto;padding:28px 20px 40px}
h1{font-size:28px;line-height:1.2;margin:6px 0 8px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:19px;margin:36px 0 8px}
h3{font-size:14px;margin:0 0 6px}
.brand{display:flex;gap:8px;align-items:center;color:var(--soft);font-weight:600}
.lead{font-size:17px;margin:0 0 16px}
.note,.soft,footer{color:var(--soft)}
.note{margin:0 0 12px}
.note strong{color:var(--ink)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:1px;margin:0;background:var(--paper);border:1px solid var(--line);border-radius:10px;overflow:hidden}
dl div{padding:8px 14px;box-shadow:0 0 0 1px var(--line)}
dt{color:var(--soft);font-size:12.5px}
dd{margin:0;overflow-wrap:anywhere}
.command{margin:12px 0 0;padding:10px 14px;background:var(--paper);border:1px solid var(--line);border-radius:10px;white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px}
table{border-collapse:collapse;width:100%}
th{font-weight:500;text-align:left}
th,td{padding:5px 10px;border-bottom:1px solid var(--line)}
tr:last-child>*{border-bottom:0}
thead th{color:var(--soft);font-size:12.5px}
.num{text-align:right;white-space:nowrap}
.wide{width:40%}
.result{display:grid;grid-template-columns:minmax(0,2.2fr) minmax(0,1fr);gap:16px;align-items:start}
.result>*,.map,.q,.figures figure,.plain{background:var(--paper);border:1px solid var(--line);border-radius:10px}
.result>*{border-collapse:separate;border-spacing:0;overflow:hidden}
.side{padding:14px}
.side h3:not(:first-child){margin-top:16px}
.hist th,.hist td{padding:3px 4px;border:0;font-size:13.5px}
.hist th{white-space:nowrap}
.hist .wide{width:70%}
.bar{position:relative;height:10px;border-radius:5px;background:color-mix(in srgb,var(--line) 55%,transparent);min-width:60px}
.bar .fill{height:100%;border-radius:5px;background:var(--fill)}
.bar .ci{position:absolute;top:4px;height:2px;background:var(--accent)}
.bar .ci::before,.bar .ci::after{content:"";position:absolute;top:-3px;width:2px;height:8px;background:var(--accent)}
.bar .ci::before{left:0}.bar .ci::after{right:0}
figure{margin:0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:16px}
.figures figure{overflow:hidden}
.figures img{width:100%;height:auto;display:block}
.figures figcaption{padding:0 14px 10px;color:var(--soft);font-size:13px}
.map{overflow:hidden}
.map svg{display:block;width:100%;height:auto;max-height:86vh;background:#000}
.map a{stroke:#111;stroke-width:calc(var(--r)*.22);cursor:pointer}
.map a circle{fill:#7d8590}
.map a.right circle{fill:#2fd05f}
.map a.unknown circle{fill:#e8ecf0}
.map a.wrong path{fill:none;stroke:#ff3b3b;stroke-width:calc(var(--r)*.55);stroke-linecap:round;filter:drop-shadow(0 0 calc(var(--r)*.18) #000)}
.map .lines path{fill:none;stroke:#ff3b3b;stroke-width:calc(var(--r)*.2);stroke-opacity:.7}
.map .truth{fill:none;stroke:#fff;stroke-width:calc(var(--r)*.25)}
.map figcaption{display:flex;flex-wrap:wrap;gap:4px 20px;padding:10px 14px;font-size:13.5px;color:var(--soft)}
.key::before{content:"";display:inline-block;width:11px;height:11px;margin-right:6px;border-radius:50%;border:1.5px solid #111;background:#e8ecf0;vertical-align:-1px}
.key.right::before{background:#2fd05f}
.key.wrong::before{content:"✕";width:auto;height:auto;border:0;background:none;color:var(--wrong);font-weight:700;vertical-align:0}
.filter{position:absolute;opacity:0;pointer-events:none}
.filter+label{display:inline-block;padding:4px 14px;margin:0 6px 12px 0;border:1px solid var(--line);border-radius:999px;background:var(--paper);cursor:pointer;font-size:14px}
.filter:checked+label{background:var(--ink);border-color:var(--ink);color:var(--paper)}
.filter:focus-visible+label{outline:2px solid var(--accent);outline-offset:2px}
#show-wrong:checked~.list .q:not(.wrong),#show-right:checked~.list .q:not(.right){display:none}
article.q{padding:12px 14px 14px;margin-bottom:12px;scroll-margin-top:12px}
article.q:target{outline:2px solid var(--accent)}
.q>header{display:flex;flex-wrap:wrap;gap:2px 12px;align-items:center;margin-bottom:10px}
.q h3{margin:0;font-size:15px;overflow-wrap:anywhere}
.where{display:flex;flex-wrap:wrap;gap:0 16px;margin:0 0 0 auto;color:var(--soft);font-size:13.5px}
.q .soft{font-size:13.5px}
.badge{padding:1px 10px;border-radius:999px;font-size:13px;font-weight:600;white-space:nowrap}
.badge.right{color:var(--right);background:var(--right-bg)}
.badge.wrong{color:var(--wrong);background:var(--wrong-bg)}
.strip{display:grid;grid-template-columns:repeat(6,minmax(0,1fr));gap:12px}
.frame{aspect-ratio:1;border-radius:8px;overflow:hidden;background:var(--page);display:grid;place-items:center;color:var(--soft);font-size:12.5px;border:4px solid var(--unknown)}
.frame img{width:100%;height:100%;object-fit:cover;display:block}
.query .frame{border-color:transparent}
.right>.frame{border-color:var(--right)}
.wrong>.frame{border-color:var(--wrong)}
.cell figcaption{display:flex;flex-wrap:wrap;gap:0 8px;padding-top:4px;font-size:13px;color:var(--soft)}
.cell figcaption strong{color:var(--ink)}
.cell.right figcaption strong{color:var(--right)}
.cell.wrong figcaption strong{color:var(--wrong)}
.distance{margin-left:auto}
.plain{border-collapse:separate;border-spacing:0;font-size:13.5px}
tr.q.right td:last-child{color:var(--right)}tr.q.wrong td:last-child{color:var(--wrong)}
footer{margin-top:32px;font-size:13px}
@media screen and (max-width:760px){.result{grid-template-columns:minmax(0,1fr)}.strip{grid-template-columns:repeat(3,minmax(0,1fr))}.where{margin-left:0}h1{font-size:23px}.figures-table .wide{display:none}}
@media print{:root{--paper:#fff;--page:#fff;--ink:#000;--soft:#444;--line:#ccc;--right:#1a8a3f;--wrong:#d1242f}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}body{font-size:12px}main{max-width:none;padding:0}h1{font-size:22px}.figures{grid-template-columns:1fr 1fr}.strip{gap:8px}.cell figcaption,.where{font-size:10.5px}.filter+label{display:none}article.q,.map,.figures figure,tr{break-inside:avoid}h2{break-after:avoid}.map svg{max-height:60vh}}
"##;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::figures;
    use super::super::tests::fix;
    use super::*;
    use crate::eval::metrics::{QueryResult, Summary};

    fn meta() -> ReportMeta {
        ReportMeta { title: "Sample".into(), version: "0.1.0".into(), ..ReportMeta::default() }
    }

    fn noise(seed: u64, width: u32, height: u32) -> Thumb {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let rgb = (0..width * height * 3)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 56) as u8
            })
            .collect();
        Thumb::new(width, height, rgb).unwrap()
    }

    #[test]
    fn one_row_a_query_and_frames_by_truth() {
        let fixes = [fix("a", 1.0, 2.0, 1), fix("b", 1.1, 2.0, 2), fix("c", 1.2, 2.0, 0), fix("d", 1.3, 2.0, 9)];
        let meta = meta();
        let page = Page::new(&meta, &fixes).render().unwrap();
        assert_eq!(page.matches("<article").count(), 4);
        assert_eq!(page.matches("class=\"cell right\"").count(), 2);
        assert_eq!(page.matches("class=\"cell wrong\"").count(), 2 + 2 + 3);
        assert_eq!(page.matches("class=\"cell unknown\"").count(), 3);
        assert!(page.contains("right cell at rank 2") && page.contains("not among the best 3"));
        assert!(page.contains("All 4 shown") && page.contains("Wrong 2"));
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    }

    #[test]
    fn hostile_names_are_escaped() {
        let evil = "<script>alert('\"x\"')</script>";
        let fixes = [fix(evil, 1.0, 2.0, 2)];
        let mut meta = meta();
        for field in
            [&mut meta.title, &mut meta.command, &mut meta.map, &mut meta.sar, &mut meta.model, &mut meta.adapter, &mut meta.version]
        {
            *field = evil.to_string();
        }
        meta.rows.push((evil.to_string(), evil.to_string()));
        let summary = Summary::new(&[QueryResult::default()], 1).unwrap();
        let report = EvalReport::new(evil, 1, evil, BTreeMap::from([(evil.to_string(), 1.0)]), &summary);
        let overview = MapOverview { thumb: noise(1, 30, 20), scale: 10.0 };
        let figures = [(evil.to_string(), evil.to_string())];
        let mut page = Page::new(&meta, &fixes);
        (page.summary, page.overview, page.figures) = (Some(&report), Some(&overview), &figures);
        let text = page.render().unwrap();
        assert!(!text.contains("<script") && !text.contains("'\"x\"'"), "{text}");
        assert!(text.contains("&lt;script&gt;"));
    }

    #[test]
    fn many_queries_stay_under_the_limit() {
        let mut fixes: Vec<Fix> = (0..60).map(|i| fix(&format!("q{i}"), 1.0, 2.0, i % 3)).collect();
        for (i, f) in fixes.iter_mut().enumerate() {
            f.thumb = Some(noise(i as u64, 100, 100));
        }
        let meta = meta();
        let mut page = Page::new(&meta, &fixes);
        page.limit_bytes = 400_000;
        let text = page.render().unwrap();
        assert!(text.len() < page.limit_bytes, "{}", text.len());
        let pictured = text.matches("<article").count();
        assert!((5..60).contains(&pictured), "{pictured}");
        assert!(text.contains(&format!("The first {pictured} of 60 are shown with pictures")));
        assert_eq!(text.matches("<tr class=\"q ").count(), 60 - pictured);
    }

    #[test]
    fn a_picture_that_does_not_fill_its_size_is_refused() {
        let mut f = fix("q3", 1.0, 2.0, 1);
        f.candidates[1].thumb = Some(Thumb { width: 9, height: 9, rgb: vec![0; 5] });
        let text = Page::new(&meta(), &[f]).render().unwrap_err().to_string();
        assert!(text.contains("candidate 2 of q3") && text.contains("need 243 bytes"), "{text}");
    }

    #[test]
    fn an_empty_page_renders() {
        let text = Page::new(&meta(), &[]).render().unwrap();
        assert!(text.contains("There are no queries.") && !text.contains("<article"));
    }

    #[test]
    fn the_map_draws_each_fix_at_its_place() {
        let fixes = [fix("a", 1.0, 2.0, 1), fix("b", 1.1, 2.0, 2)];
        let overview = MapOverview { thumb: noise(1, 3200, 20), scale: 2.0 };
        let meta = meta();
        let mut page = Page::new(&meta, &fixes);
        page.overview = Some(&overview);
        let text = page.render().unwrap();
        // Overview of 3,200 px shrunk to 1,600: 4 map pixels a unit.
        assert!(text.contains("viewBox=\"0 0 1600 10\"") && text.contains("cx=\"12.5\" cy=\"15.0\""), "{text}");
        assert_eq!(text.matches("class=\"truth\"").count(), 1);
    }

    /// A city of blocks: an optical-looking picture, and a radar-looking one of the same place.
    fn city(size: u32, seed: u64, x0: f64, y0: f64, radar: bool) -> Thumb {
        let hash = |a: i64, b: i64| {
            let mut z = (a.wrapping_mul(73_856_093) ^ b.wrapping_mul(19_349_663)) as u64 ^ seed;
            z = (z ^ (z >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((z >> 40) as f64) / f64::from(1u32 << 24)
        };
        let mut rgb = Vec::new();
        for y in 0..size {
            for x in 0..size {
                let (u, v) = (x0 + f64::from(x), y0 + f64::from(y));
                let (bu, bv) = ((u / 37.0).floor(), (v / 29.0).floor());
                let road = u - bu * 37.0 < 5.0 || v - bv * 29.0 < 5.0;
                let kind = hash(bu as i64, bv as i64);
                let inner = hash((u / 9.0) as i64, (v / 8.0) as i64);
                let river = (v - 300.0 - 60.0 * (u / 170.0).sin()).abs() < 22.0;
                let grain = hash(u as i64 * 7 + 3, v as i64 * 11 + 5);
                let base = match () {
                    () if river => [58.0, 92.0, 108.0],
                    () if road => [142.0, 140.0, 136.0],
                    () if kind < 0.3 => [88.0, 118.0, 74.0],
                    () if inner > 0.55 => [176.0, 150.0 + 20.0 * kind, 132.0],
                    () => [120.0, 126.0, 104.0],
                };
                if radar {
                    let echo = if river {
                        6.0
                    } else if road {
                        22.0
                    } else if kind < 0.3 {
                        60.0
                    } else if inner > 0.55 {
                        190.0
                    } else {
                        70.0
                    };
                    let g = (echo * (-(grain.max(1e-3)).ln()).sqrt() * 1.2).min(255.0) as u8;
                    rgb.extend([g; 3]);
                } else {
                    rgb.extend(base.map(|c: f64| (c + 24.0 * (grain - 0.5)).clamp(0.0, 255.0) as u8));
                }
            }
        }
        Thumb::new(size, size, rgb).unwrap()
    }

    /// Not a check but something to look at: `ECHOGRID_LOOK=DIR cargo test sample_page -- --ignored`.
    #[test]
    #[ignore = "writes a sample page and its figures to look at"]
    fn sample_page() {
        let dir = std::env::var_os("ECHOGRID_LOOK").map_or_else(|| std::env::temp_dir().join("echogrid-look"), Into::into);
        std::fs::create_dir_all(&dir).unwrap();
        let mut fixes = Vec::new();
        for i in 0..24u32 {
            let (tx, ty) = (f64::from(i * 271 % 860) + 40.0, f64::from(i * 433 % 560) + 40.0);
            let right = [1, 1, 3, 1, 9, 2, 1][i as usize % 7];
            let mut f = fix(&format!("strip-07/{i:03}"), -118.25 + tx * 1e-4, 34.05 - ty * 1e-4, right);
            let original = f.candidates.clone();
            f.candidates = (1..=6u32)
                .map(|rank| {
                    let mut c = original[0].clone();
                    let (cx, cy) = if rank == right {
                        (tx, ty)
                    } else {
                        (f64::from((i + rank * 97) * 53 % 860), f64::from((i * 3 + rank * 61) * 37 % 560))
                    };
                    c.rank = rank;
                    c.score = 0.94 - 0.031 * rank as f32;
                    c.right = Some(rank == right);
                    c.distance_m = Some(if rank == right { 14.0 + f64::from(i) } else { (cx - tx).hypot(cy - ty) * 10.0 });
                    c.thumb = Some(city(100, 1, cx - 50.0, cy - 50.0, false));
                    c.lonlat = [-118.25 + cx * 1e-4, 34.05 - cy * 1e-4];
                    c.center_map = [cx, cy];
                    c
                })
                .collect();
            if i > 20 {
                for c in &mut f.candidates {
                    (c.right, c.distance_m) = (None, None);
                }
                (f.truth_lonlat, f.truth_map_px) = (None, None);
                f.candidates[2].thumb = None;
            } else {
                f.truth_map_px = Some([tx * 10.0, ty * 10.0]);
            }
            f.map_px = f.candidates[0].center_map.map(|v| v * 10.0);
            f.lonlat = f.candidates[0].lonlat;
            f.sar_px = [f64::from(i * 200 + 100), 300.0];
            f.thumb = Some(city(100, 1, tx - 50.0, ty - 50.0, true));
            fixes.push(f);
        }
        let results = figures::tests::results(0);
        let other = figures::tests::results(300);
        let summary = Summary::new(&results, 7).unwrap();
        let seconds = BTreeMap::from([("encode map".to_string(), 3.4), ("encode queries".to_string(), 1.25), ("search".to_string(), 0.08)]);
        let report = EvalReport::new("aligned", 4_321, "llvmpipe (LLVM 15.0.6, 256 bits)", seconds, &summary);
        let curves = [&results, &other].map(|r| crate::eval::metrics::recall_curve(r, 20, 7).unwrap());
        let loss: Vec<(f64, f64)> = (0..3000)
            .map(|i| (f64::from(i), 1.2 + 3.0 * (-f64::from(i) / 700.0).exp() + 0.4 * f64::from(i * 7919 % 100) / 100.0))
            .collect();
        let recall: Vec<(f64, f64)> = (1..=15).map(|i| (f64::from(i) * 200.0, 0.4 * (1.0 - (-f64::from(i) / 5.0).exp()))).collect();
        let figures = [
            (
                "Recall at k with its 95 % band".to_string(),
                figures::recall_curve(&[("aligned", &curves[0]), ("arbitrary", &curves[1])]).unwrap(),
            ),
            (
                "How far the first candidate is from the truth".to_string(),
                figures::error_cdf(&[("aligned", &results), ("arbitrary", &other)]).unwrap(),
            ),
            ("Training".to_string(), figures::training_curves(&loss, &recall).unwrap()),
        ];
        for (i, (_, svg)) in figures.iter().enumerate() {
            figures::write(&dir.join(format!("figure{i}.svg")), svg).unwrap();
        }
        let overview = MapOverview {
            thumb: {
                let mut t = city(960, 1, 0.0, 0.0, false);
                t.height = 640;
                t.rgb.truncate(960 * 640 * 3);
                t
            },
            scale: 10.0,
        };
        let meta = ReportMeta {
            title: "Inland strip located on the city map".into(),
            command: "echogrid locate --index city.eg --sar strip-07.tif --patch 200 --step 200 --top 10 --out fixes.geojson".into(),
            map: "city.tif, 9,600 x 6,400 px, 1 m, EPSG:32611".into(),
            sar: "strip-07.tif, 4,800 x 600 px, 1 m".into(),
            model: "echogrid-small 2f81c0d4".into(),
            adapter: "llvmpipe (LLVM 15.0.6, 256 bits)".into(),
            version: "0.1.0".into(),
            rows: vec![("Cells".into(), "1,536 of 200 px".into()), ("Seed".into(), "7".into())],
        };
        let mut page = Page::new(&meta, &fixes);
        (page.summary, page.overview, page.figures) = (Some(&report), Some(&overview), &figures);
        page.write(&dir.join("report.html")).unwrap();
        (page.figures, page.summary, page.limit_bytes) = (&[], None, 800_000);
        page.write(&dir.join("short.html")).unwrap();
        super::super::geojson::write(&dir.join("fixes.geojson"), &fixes).unwrap();
        super::super::csv::write_fixes(&dir.join("fixes.csv"), &fixes).unwrap();
    }
}
