//! What all figures share: size, colours, fonts, title and legend, axes.

use super::super::{Error, distance_text};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use std::fmt::Display;
use std::ops::Range;

/// Width and height of a figure in pixels.
pub(super) const SIZE: (u32, u32) = (720, 420);

pub(super) const PAPER: RGBColor = RGBColor(0xFE, 0xFE, 0xFE);
pub(super) const INK: RGBColor = RGBColor(0x24, 0x29, 0x2E);
pub(super) const SOFT: RGBColor = RGBColor(0x65, 0x6D, 0x75);
pub(super) const GRID: RGBColor = RGBColor(0xE3, 0xE6, 0xEA);
/// Blue, orange, green, purple: told apart by readers who do not see red and green apart.
pub(super) const LINES: [RGBColor; 4] =
    [RGBColor(0x15, 0x65, 0xC0), RGBColor(0xD9, 0x6B, 0x00), RGBColor(0x1B, 0x85, 0x5E), RGBColor(0x8E, 0x44, 0xAD)];

/// Follows the reader's light or dark setting: the colours above are the light ones, matched here by value.
pub(super) const STYLE: &str = concat!(
    "<style>text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}",
    "@media (prefers-color-scheme:dark){",
    "[fill='#FEFEFE']{fill:#161b22}[stroke='#FEFEFE']{stroke:#161b22}[fill='#24292E']{fill:#e6edf3}[stroke='#24292E']{stroke:#e6edf3}",
    "[fill='#656D75']{fill:#9aa4ae}[stroke='#656D75']{stroke:#9aa4ae}[stroke='#E3E6EA']{stroke:#30363d}",
    "[fill='#1565C0']{fill:#58a6ff}[stroke='#1565C0']{stroke:#58a6ff}",
    "[fill='#D96B00']{fill:#f0883e}[stroke='#D96B00']{stroke:#f0883e}",
    "[fill='#1B855E']{fill:#3fb984}[stroke='#1B855E']{stroke:#3fb984}",
    "[fill='#8E44AD']{fill:#c297ff}[stroke='#8E44AD']{stroke:#c297ff}}</style>"
);

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) type Chart<'a, 'b, X, Y> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<<X as AsRangedCoord>::CoordDescType, <Y as AsRangedCoord>::CoordDescType>>;

/// A text for each tick.
pub(super) type Tick<'a> = &'a dyn Fn(&f64) -> String;

/// A chart with its surroundings.
pub(super) struct Figure<'a> {
    pub(super) title: &'a str,
    /// One line of what is shown.
    pub(super) line: &'a str,
    /// Names of several curves.
    pub(super) legend: &'a [&'a str],
    pub(super) size: (u32, u32),
    /// Room for the labels at the left, and at the right of the chart.
    pub(super) left: u32,
    pub(super) right: u32,
    /// What the horizontal axis shows.
    pub(super) x_name: &'a str,
    pub(super) x_tick: Tick<'a>,
    pub(super) y_tick: Tick<'a>,
}

impl<'a> Figure<'a> {
    /// Of the usual size, without a legend, with shares upwards.
    pub(super) fn new(title: &'a str, line: &'a str, x_name: &'a str, x_tick: Tick<'a>) -> Self {
        Self { title, line, legend: &[], size: SIZE, left: 52, right: 24, x_name, x_tick, y_tick: &percent }
    }

    /// The figure as SVG; `paint` draws inside the axes `x` and `y`.
    pub(super) fn draw<X, Y>(&self, x: X, y: Y, paint: impl FnOnce(&mut Chart<'_, '_, X, Y>) -> Result<(), Error>) -> Result<String, Error>
    where
        X: AsRangedCoord<CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>>,
        Y: AsRangedCoord<CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>>,
    {
        draw(self.size, |root| self.draw_in(root, x, y, paint))
    }

    /// The figure in a part of a larger one.
    pub(super) fn draw_in<X, Y>(
        &self,
        area: &Area<'_>,
        x: X,
        y: Y,
        paint: impl FnOnce(&mut Chart<'_, '_, X, Y>) -> Result<(), Error>,
    ) -> Result<(), Error>
    where
        X: AsRangedCoord<CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>>,
        Y: AsRangedCoord<CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>>,
    {
        let body = heading(area, self.title, self.line, self.legend)?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(self.right)
            .x_label_area_size(42)
            .y_label_area_size(self.left)
            .build_cartesian_2d(x, y)
            .map_err(fail)?;
        axes(&mut chart, 13, 8, self.x_name, self.x_tick, self.y_tick)?;
        paint(&mut chart)
    }
}

/// Axes and grid, labels of `size` pixels, about so many along x.
pub(super) fn axes<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    size: u32,
    labels: usize,
    x_name: &str,
    x_tick: Tick<'_>,
    y_tick: Tick<'_>,
) -> Result<(), Error>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(SOFT)
        .label_style(font(size).color(&SOFT))
        .axis_desc_style(font(size).color(&SOFT))
        .x_labels(labels)
        .y_labels(6)
        .x_label_formatter(x_tick)
        .y_label_formatter(y_tick)
        .x_desc(x_name)
        .draw()
        .map_err(fail)
}

/// The colour of a curve by its number.
pub(super) fn line_color(i: usize) -> RGBColor {
    LINES[i % LINES.len()]
}

/// A picture as SVG that follows the reader's light or dark setting.
pub(super) fn draw(size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Result<(), Error>) -> Result<String, Error> {
    draw_under(size, |root| paint(root).map(|()| String::new()))
}

/// The same below the SVG text that `paint` returns.
pub(super) fn draw_under(size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Result<String, Error>) -> Result<String, Error> {
    let mut svg = String::new();
    let over = {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&PAPER).map_err(fail)?;
        let over = paint(&root)?;
        root.present().map_err(fail)?;
        over
    };
    let head = svg.find('>').map_or(0, |at| at + 1);
    svg.insert_str(head, STYLE);
    let foot = svg.rfind("</svg>").unwrap_or(svg.len());
    svg.insert_str(foot, &over);
    Ok(svg)
}

/// Title, one line of what is shown and, for several curves, their names; returns the area below.
pub(super) fn heading<'a>(area: &Area<'a>, title: &str, line: &str, names: &[&str]) -> Result<Area<'a>, Error> {
    area.draw(&Text::new(title.to_string(), (16, 14), font(18).color(&INK))).map_err(fail)?;
    area.draw(&Text::new(line.to_string(), (16, 38), font(13).color(&SOFT))).map_err(fail)?;
    let width = area.dim_in_pixel().0 as i32;
    let room: i32 = names.iter().map(|n| label_width(n)).sum();
    let mut x = (width - 24 - room).max(16);
    for (i, name) in names.iter().enumerate() {
        let color = line_color(i);
        area.draw(&Rectangle::new([(x, 19), (x + 14, 22)], color.filled())).map_err(fail)?;
        area.draw(&Text::new((*name).to_string(), (x + 20, 14), font(13).color(&INK))).map_err(fail)?;
        x += label_width(name);
    }
    Ok(area.margin(62, 4, 4, 4))
}

fn label_width(name: &str) -> i32 {
    40 + 7 * name.chars().count() as i32
}

pub(super) fn font(size: u32) -> TextStyle<'static> {
    // plotters draws a font at size / 1.24.
    ("sans-serif", (f64::from(size) * 1.24).round()).into_text_style(&SIZE)
}

/// Names for the legend; none for a single curve.
pub(super) fn names<'a, T>(curves: &[(&'a str, T)]) -> Vec<&'a str> {
    match curves {
        [_] => Vec::new(),
        _ => curves.iter().map(|(name, _)| *name).collect(),
    }
}

/// A share in per cent.
pub(super) fn percent(share: &f64) -> String {
    let percent = share * 100.0;
    if (percent - percent.round()).abs() < 1e-6 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

pub(super) fn round_distance(metres: f64) -> String {
    let text = distance_text(metres);
    text.replace(".00 km", " km").replace(".0 m", " m")
}

pub(super) fn thousands(step: f64) -> String {
    if step.abs() >= 10_000.0 { format!("{}k", (step / 100.0).round() / 10.0) } else { format!("{step:.0}") }
}

/// A tick label with as many decimals as the range needs.
pub(super) fn short(value: f64, range: f64) -> String {
    let decimals = (1.0 - range.max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

/// A range around the values, never empty.
pub(super) fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (lo, hi) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
    if hi > lo { lo..hi } else { lo - 0.5..hi + 0.5 }
}

pub(super) fn nothing() -> Error {
    Error::Figure("there are no points to draw".to_string())
}

pub(super) fn fail(error: impl Display) -> Error {
    Error::Figure(error.to_string())
}
