//! A map to look at: pictures that lie on it, graticule, scale bar, north; layers to switch, zoom and a slider.
//!
//! Switches are check boxes that the style sheet reads, so they work without the script; the tools that need it are hidden then.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::super::graticule::round_below;
use super::super::{Error, MapOverview, Overlay};
use super::encode::{mask, picture_within};
use super::words::place;

/// Longest side in pixels of the embedded map.
pub(in crate::report) const MAP_SIDE: u32 = 1600;
/// Longest side in pixels of what lies on it.
const OVERLAY_SIDE: u32 = 1400;
/// Pictures of images on a map at most: what is behind them has no more than its outline.
pub(in crate::report) const OVERLAYS: usize = 100;

/// A layer that can be switched off: what its check box is called, what it says, and whether it is on.
pub(in crate::report) type Layer = (&'static str, &'static str, bool);

/// A map whose picture is embedded.
pub(in crate::report) struct Stage<'a> {
    map: &'a MapOverview,
    address: String,
    /// Of the embedded picture: the units everything is drawn in.
    pub(in crate::report) size: [u32; 2],
    /// Map pixels a unit.
    pub(in crate::report) unit: f64,
    overlays: Markup,
}

impl<'a> Stage<'a> {
    /// Embeds the map's pictures in about so many bytes.
    ///
    /// # Errors
    /// [`Error::Picture`].
    pub(in crate::report) fn new(map: &'a MapOverview, bytes: usize) -> Result<Self, Error> {
        let (address, size) = picture_within(&map.thumb, MAP_SIDE, bytes / 2, "the map overview")?;
        // Drawn in units of the embedded picture, which may be smaller than the overview handed in.
        let unit = map.scale * f64::from(map.thumb.width) / f64::from(size[0]);
        let (closer, images) = (placed("closer", &map.closer, unit, bytes / 4)?, placed("sar", &map.images, unit, bytes / 4)?);
        let overlays = html! { g.closer { (PreEscaped(closer)) } g.sheets { (PreEscaped(images)) } };
        Ok(Self { map, address, size, unit, overlays })
    }

    /// Where map pixels lie in the picture; none where they are no numbers.
    pub(in crate::report) fn spot(&self, map_px: [f64; 2]) -> Option<[f64; 2]> {
        Some(map_px.map(|v| v / self.unit)).filter(|p| p.iter().all(|v| v.is_finite()))
    }

    /// Units of some metres; none where the map's scale is not known.
    pub(in crate::report) fn units(&self, metres: f64) -> Option<f64> {
        (self.map.pixel_m > 0.0).then(|| metres / self.map.pixel_m / self.unit)
    }

    /// What the images cover.
    fn around_images(&self) -> Option<String> {
        let corners = self.map.images.iter().flat_map(|o| {
            let [w, h] = [o.thumb.width, o.thumb.height].map(f64::from);
            [[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]].map(|[x, y]| o.to_map.map(|r| r[0] * x + r[1] * y + r[2]))
        });
        bounds(&corners.collect::<Vec<_>>())
    }

    fn grid(&self) -> String {
        let mut out = String::new();
        let [width, height] = self.size.map(f64::from);
        let Some(graticule) = &self.map.graticule else { return out };
        for (label, points) in &graticule.lines {
            let points: Vec<[f64; 2]> = points.iter().filter_map(|p| self.spot(*p)).collect();
            let path: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1} {y:.1}")).collect();
            // Labels stand where lines leave the map, meridians below and parallels to the right, clear of the scale bar and of north.
            let meridian = label.ends_with(['E', 'W']);
            let inside = points.iter().filter(|[x, y]| *x >= 0.0 && *y >= 0.0 && *x <= width && *y <= height);
            let along = |p: &&[f64; 2]| if meridian { p[1] } else { p[0] };
            let end = inside.max_by(|a, b| along(a).total_cmp(&along(b)));
            let clear =
                |[x, y]: [f64; 2]| if meridian { x > 0.3 * width && x < 0.9 * width } else { y > 0.15 * height && y < 0.92 * height };
            let (f, label) = (width.max(height) / 75.0, html! { (label) }.0);
            let _ = write!(out, r#"<path d="M{}"/>"#, path.join("L"));
            if let Some([x, y]) = end.copied().filter(|p| clear(*p)) {
                let ([x, y], anchor) =
                    if meridian { ([x, y.min(height) - 0.5 * f], "middle") } else { ([x.min(width) - 0.4 * f, y - 0.3 * f], "end") };
                let _ = write!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{label}</text>"#);
            }
        }
        out
    }

    /// The figure. `drawn` is SVG over the pictures, `r` the size of marks in units.
    pub(in crate::report) fn figure(&self, label: &str, layers: &[Layer], r: f64, drawn: &Markup, caption: &Markup) -> Markup {
        let [width, height] = self.size;
        let graticule = self.map.graticule.as_ref();
        let metres = self.map.pixel_m * self.unit;
        let sar = !self.map.images.is_empty();
        let layers = layers.iter().copied();
        let layers = sar.then_some(("sheets", "SAR image", true)).into_iter().chain(layers);
        let layers = layers.chain(graticule.map(|_| ("grid", "Graticule", true)));
        html! {
            figure.map id="map" {
                div.controls {
                    @for (name, text, on) in layers { label { input type="checkbox" class={ "on-" (name) } checked[on] autocomplete="off"; (text) } }
                    @if sar {
                        label.tool { "Map" input.opacity type="range" min="0" max="100" value="65" autocomplete="off" aria-label="Opacity of the SAR image"; "SAR" }
                    }
                }
                div.stage tabindex="0" style={ "aspect-ratio:" (width) "/" (height) ";--a:" (format!("{:.4}", f64::from(width) / f64::from(height))) } {
                    svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(label)
                        style={ "--r:" (format!("{r:.1}")) "px;--f:" (format!("{:.1}", f64::from(width.max(height)) / 75.0)) "px" }
                        data-metres=(format!("{metres:.6}")) data-unit=(format!("{:.4}", self.unit)) {
                        image href=(self.address) width=(width) height=(height) {}
                        (self.overlays)
                        g.grid { (PreEscaped(self.grid())) }
                        (drawn)
                    }
                    @if metres > 0.0 { (scale_bar(metres * f64::from(width))) }
                    @if let Some(g) = graticule { (north(g.north)) }
                    div.tools.tool {
                        button type="button" data-zoom="in" aria-label="Zoom in" { "+" }
                        button type="button" data-zoom="out" aria-label="Zoom out" { "−" }
                        button type="button" data-zoom="all" { "Map" }
                        @if let Some(b) = self.around_images() { button type="button" data-box=(b) { @if self.map.images.len() > 1 { "Images" } @else { "Image" } } }
                    }
                }
                figcaption {
                    div { (caption) }
                    div {
                    span.tool { "Drag to move, pinch or double-click to zoom; the wheel zooms after a click on the map." }
                    @if let Some(g) = graticule {
                        span { "CRS " (g.crs) }
                        @let [ul, _, lr, _] = g.corners;
                        span { "Upper left " (place(ul)) ", lower right " (place(lr)) }
                        @if g.size_m[0] > 0.0 { span { (format!("{:.1} x {:.1} km", g.size_m[0] / 1000.0, g.size_m[1] / 1000.0)) } }
                    }
                    }
                }
            }
        }
    }
}

/// Left, top, width and height about some map pixels, for the script.
pub(super) fn bounds(points: &[[f64; 2]]) -> Option<String> {
    let low = [0, 1].map(|d| points.iter().map(|p| p[d]).fold(f64::INFINITY, f64::min));
    let high = [0, 1].map(|d| points.iter().map(|p| p[d]).fold(f64::NEG_INFINITY, f64::max));
    let sound = low.iter().chain(&high).all(|v| v.is_finite());
    sound.then(|| format!("{:.1} {:.1} {:.1} {:.1}", low[0], low[1], high[0] - low[0], high[1] - low[1]))
}

/// Pictures in the places where they lie, as SVG; together in about so many bytes.
fn placed(kind: &str, overlays: &[Overlay], unit: f64, bytes: usize) -> Result<String, Error> {
    let mut out = String::new();
    let drawn = &overlays[..overlays.len().min(OVERLAYS)];
    for (i, o) in drawn.iter().enumerate() {
        let room = bytes.saturating_sub(out.len()) / (drawn.len() - i);
        let [width, height] = [o.thumb.width, o.thumb.height];
        let (address, _) = picture_within(&o.thumb, OVERLAY_SIDE, room, kind)?;
        let [[a, b, c], [d, e, f]] = o.to_map.map(|row| row.map(|v| v / unit));
        if ![a, b, c, d, e, f].iter().all(|v| v.is_finite()) {
            continue;
        }
        let mut masked = String::new();
        if o.valid.iter().any(|v| !v) {
            let address = mask(&o.valid, [width, height], kind)?;
            let _ = write!(
                out,
                r#"<mask id="{kind}{i}" maskUnits="userSpaceOnUse" x="0" y="0" width="{width}" height="{height}"><image href="{address}" width="{width}" height="{height}"/></mask>"#
            );
            masked = format!(r#" mask="url(#{kind}{i})""#);
        }
        let _ = write!(
            out,
            r#"<g transform="matrix({a:.6} {d:.6} {b:.6} {e:.6} {c:.3} {f:.3})"><image href="{address}" width="{width}" height="{height}" preserveAspectRatio="none"{masked}/></g>"#
        );
    }
    Ok(out)
}

/// A bar of a round length, at most a quarter of the map's width; the script fits it to the zoom.
fn scale_bar(width_m: f64) -> Markup {
    let (length, _) = round_below(width_m / 4.0);
    let text = if length >= 1000.0 { format!("{} km", length / 1000.0) } else { format!("{length} m") };
    html! { div.scale { i style={ "width:" (format!("{:.2}%", 100.0 * length / width_m)) } {} span { (text) } } }
}

fn north([x, y]: [f64; 2]) -> Markup {
    let turn = x.atan2(-y).to_degrees();
    html! {
        div.north title="North" {
            svg viewBox="-12 -14 24 28" aria-label="North" {
                g transform={ "rotate(" (format!("{turn:.1}")) ")" } { path d="M0 -13L5 4L0 1L-5 4Z" {} text y="13" text-anchor="middle" { "N" } }
            }
        }
    }
}
