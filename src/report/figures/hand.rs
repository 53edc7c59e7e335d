//! SVG text by hand, laid over a drawing: what plotters has no word for, such as dashes, marks told apart by shape and numbers with a halo.

use super::chart::{INK, SOFT, line_color};
use maud::html;
use plotters::prelude::RGBColor;
use std::fmt::Write as _;

/// Pixels a letter of legends takes, about.
const LETTER: f64 = 6.6;

/// A mark about a place, told from the others by its shape alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Dot,
    Up,
    Diamond,
    Cross,
}

/// A line's strokes, told from the others without colour: `stroke-dasharray` of the first four, which then repeat in other colours.
const DASHES: [&str; 4] = ["", "7 3", "2 2.5", "9 3 2 3"];

/// A colour as the page's style knows it.
pub(super) fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// A text as it stands in SVG.
pub(super) fn escape(text: &str) -> String {
    html! { (text) }.0
}

impl Mark {
    /// Its outline about (x, y); `r` is half its width.
    fn path(self, [x, y]: [f64; 2], r: f64) -> String {
        match self {
            Self::Dot => {
                format!("M{:.1} {y:.1}a{r:.1} {r:.1} 0 1 0 {d:.1} 0a{r:.1} {r:.1} 0 1 0 -{d:.1} 0z", x - r, d = 2.0 * r)
            }
            Self::Up => format!("M{x:.1} {:.1}L{:.1} {foot:.1}H{:.1}z", y - 1.2 * r, x + 1.1 * r, x - 1.1 * r, foot = y + 0.8 * r),
            Self::Diamond => {
                let w = 1.2 * r;
                format!("M{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}z", y - w, x + w, y + w, x - w)
            }
            Self::Cross => {
                let (left, top, d) = (x - 0.8 * r, y - 0.8 * r, 1.6 * r);
                format!("M{left:.1} {top:.1}l{d:.1} {d:.1}M{left:.1} {:.1}l{d:.1} -{d:.1}", top + d)
            }
        }
    }

    /// Marks of a kind at places.
    pub(super) fn draw(self, at: impl IntoIterator<Item = [f64; 2]>, r: f64, color: RGBColor, opacity: f64) -> String {
        let color = hex(color);
        let mut out = if self == Self::Cross {
            format!(r#"<g fill="none" stroke="{color}" stroke-opacity="{opacity}" stroke-width="{:.1}">"#, 0.35 * r)
        } else {
            // An edge in the paper's colour keeps marks that overlap apart.
            format!(r##"<g fill="{color}" fill-opacity="{opacity}" stroke="#FEFEFE" stroke-width="0.7">"##)
        };
        for place in at {
            let _ = write!(out, r#"<path d="{}"/>"#, self.path(place, r));
        }
        out + "</g>"
    }
}

/// Text that ends, begins or stands in the middle at (x, y), its foot there.
pub(super) fn text([x, y]: [f64; 2], anchor: &str, size: f64, color: RGBColor, text: &str) -> String {
    let (color, text) = (hex(color), escape(text));
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="{color}">{text}</text>"#)
}

/// The title of a panel.
pub(super) fn caption([x, y]: [f64; 2], title: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" font-size="14" font-weight="600" fill="{}">{}</text>"#, hex(INK), escape(title))
}

/// The stroke of the i-th of several lines: colour, and dashes.
pub(super) fn stroke(i: usize) -> String {
    // The colours come round before the pairs do: sixteen lines differ.
    let dash = DASHES[(i + i / DASHES.len()) % DASHES.len()];
    let dash = if dash.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dash}""#) };
    format!(r#"fill="none" stroke="{}" stroke-linejoin="round"{dash}"#, hex(line_color(i)))
}

/// A line through points, with more attributes.
pub(super) fn polyline(points: &[[f64; 2]], attributes: &str) -> String {
    let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    format!(r#"<polyline points="{}" {attributes}/>"#, points.join(" "))
}

/// Names in a row from `left` on, wrapped at `right`, each behind a sample `wide` pixels wide that `sample` draws from the middle of its
/// left end; and how many pixels high that is.
pub(super) fn legend(
    names: &[&str],
    [left, right]: [f64; 2],
    top: f64,
    wide: f64,
    sample: impl Fn(usize, [f64; 2]) -> String,
) -> (String, f64) {
    let (mut out, mut x, mut y) = (String::new(), left, top + 12.0);
    for (i, name) in names.iter().enumerate() {
        let width = wide + 7.0 + LETTER * name.chars().count() as f64;
        if x > left && x + width > right {
            (x, y) = (left, y + 18.0);
        }
        out += &sample(i, [x, y - 4.0]);
        out += &text([x + wide + 7.0, y], "start", 12.5, INK, name);
        x += width + 16.0;
    }
    (out, y + 6.0 - top)
}

/// An edge of paper about letters.
const HALO: &str = r##"stroke="#FEFEFE" stroke-width="2.5" stroke-linejoin="round" paint-order="stroke""##;

/// A number beside a mark, small, legible over lines.
pub(super) fn haloed(out: &mut String, [x, y]: [f64; 2], anchor: &str, color: RGBColor, label: &str) {
    let _ = write!(
        out,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="10" fill="{}" {HALO}>{}</text>"##,
        hex(color),
        escape(label)
    );
}

/// A scale bar of a round length: a line of `length` pixels ending at `right`, with its length above.
pub(super) fn scale_bar([right, y]: [f64; 2], length: f64, label: &str) -> String {
    let left = right - length;
    let bar = format!(r#"<path d="M{left:.1} {:.1}v4H{right:.1}v-4" fill="none" stroke="{}" stroke-width="1.4"/>"#, y - 4.0, hex(SOFT));
    bar + &text([left - 6.0, y], "end", 11.0, SOFT, label)
}
