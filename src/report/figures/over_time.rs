//! Several runs of training beside each other, and how they move two clouds.

use super::super::Error;
use super::chart::{Area, GRID, INK, LINES, SOFT, axes, draw_under, fail, heading, line_color, nothing, percent, short, span, thousands};
use super::hand::{Mark, caption, haloed, hex, legend, polyline, stroke, text};
use super::training::{Series, smooth, thin};
use plotters::prelude::*;

/// A run of training: its name, and what was logged of it.
pub type Run<'a> = (&'a str, &'a [Series]);

/// Two clouds at one moment of a run, a panel of [`gap_figure`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment<'a> {
    /// Said above it: the run, and when.
    pub title: &'a str,
    /// The map's points, in a plane; all panels are drawn to one scale.
    pub map: &'a [[f64; 2]],
    /// The SAR images' in the same plane as the map's.
    pub sar: &'a [[f64; 2]],
}

/// Width of a figure of few panels and of many.
const WIDTHS: [u32; 2] = [720, 1080];
/// Height of a panel of lines, and of what stands around a cloud.
const PANEL: f64 = 250.0;
const AROUND: f64 = 30.0;
const MARGIN: f64 = 16.0;
/// Below the title, and between the key and the panels.
const TOP: f64 = 60.0;
const BELOW_KEY: f64 = 8.0;
/// Points above which a line is drawn smoothed, over itself in pale.
const NOISY: usize = 100;
/// Room at the right of a panel for the last values.
const LAST: u32 = 50;

/// A quantity with the finite points of each run that has it.
struct Quantity<'a> {
    name: &'a str,
    share: bool,
    lines: Vec<(usize, Vec<(f64, f64)>)>,
}

/// Quantities of several runs of training against the step: a panel a quantity, in the order they first appear, and in it a line a run,
/// told apart by colour and dashes, with its last value at its end. Series belong together by name; values that are not finite are
/// skipped. Long lines are smoothed, over themselves in pale.
///
/// # Errors
/// [`Error::Figure`] when there is nothing to draw.
pub fn over_time(title: &str, line: &str, runs: &[Run<'_>]) -> Result<String, Error> {
    let all = quantities(runs)?;
    let width = WIDTHS[usize::from(columns(all.len()) > 2)];
    let key = key(runs, width);
    draw_under((width, (TOP + BELOW_KEY + key.1 + lines_height(all.len()) + 8.0) as u32), |root| {
        heading(root, title, line, &[])?;
        Ok(key.0 + &lines(root, &all, TOP + BELOW_KEY + key.1)?)
    })
}

/// [`over_time`] above a row of planes, one a moment, all to one scale: the map's cloud in dots, that of the SAR images in triangles, and a
/// line from the mean of the one to that of the other. `plane` says what the plane is.
///
/// # Errors
/// [`Error::Figure`] when there is no line, or no point.
pub fn gap_figure(title: &str, line: &str, runs: &[Run<'_>], plane: &str, moments: &[Moment<'_>]) -> Result<String, Error> {
    let all = quantities(runs)?;
    let many = columns(all.len()) > 2 || moments.len() > 4;
    let width = WIDTHS[usize::from(many)];
    let room = f64::from(width) - 2.0 * MARGIN;
    let rows = moments.len().div_ceil(if many { 6 } else { 4 }).max(1);
    let across = moments.len().div_ceil(rows).max(1);
    let side = ((room - 12.0 * (across - 1) as f64) / across as f64).min(260.0);
    let window = window(moments)?;
    let tall = side * window.ratio;
    let key = key(runs, width);
    let below = TOP + BELOW_KEY + key.1 + lines_height(all.len()) + 14.0;
    let height = below + 52.0 + rows as f64 * (tall + AROUND);
    draw_under((width, height as u32), |root| {
        heading(root, title, line, &[])?;
        let mut out = key.0 + &lines(root, &all, TOP + BELOW_KEY + key.1)?;
        out += &text([MARGIN, below + 14.0], "start", 13.0, SOFT, plane);
        out += &legend(&["map", "SAR", "from mean to mean"], [MARGIN, room], below + 22.0, 14.0, |i, [x, y]| match i {
            2 => joined([[x, y], [x + 14.0, y]]),
            i => CLOUDS[i].0.draw([[x + 7.0, y]], 4.0, CLOUDS[i].1, 0.8),
        })
        .0;
        for (i, moment) in moments.iter().enumerate() {
            let left = MARGIN + (i % across) as f64 * (side + 12.0);
            let top = below + 50.0 + (i / across) as f64 * (tall + AROUND);
            out += &text([left, top + 14.0], "start", 12.0, INK, moment.title);
            out += &plane_of(moment, &window, [left, top + 20.0], side);
        }
        Ok(out)
    })
}

/// Panels in a row, so many in all.
fn columns(panels: usize) -> usize {
    match panels {
        0..=2 => panels.max(1),
        4 => 2,
        _ => 3,
    }
}

fn lines_height(panels: usize) -> f64 {
    panels.div_ceil(columns(panels)) as f64 * PANEL
}

fn quantities<'a>(runs: &[Run<'a>]) -> Result<Vec<Quantity<'a>>, Error> {
    let mut all: Vec<Quantity<'a>> = Vec::new();
    for (i, (_, series)) in runs.iter().enumerate() {
        for s in *series {
            let points: Vec<(f64, f64)> = s.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
            match all.iter_mut().find(|q| q.name == s.name) {
                _ if points.is_empty() => {}
                Some(q) => q.lines.push((i, points)),
                None => all.push(Quantity { name: &s.name, share: s.share, lines: vec![(i, points)] }),
            }
        }
    }
    if all.is_empty() { Err(nothing()) } else { Ok(all) }
}

/// The runs' names.
fn key(runs: &[Run<'_>], width: u32) -> (String, f64) {
    let names: Vec<&str> = runs.iter().map(|r| r.0).collect();
    legend(&names, [MARGIN, f64::from(width) - MARGIN], TOP, 28.0, |i, [x, y]| {
        polyline(&[[x, y], [x + 28.0, y]], &format!(r#"{} stroke-width="2.2""#, stroke(i)))
    })
}

/// The panels from `top` on.
fn lines(root: &Area<'_>, all: &[Quantity<'_>], top: f64) -> Result<String, Error> {
    let columns = columns(all.len());
    let below = f64::from(root.dim_in_pixel().1) - top - lines_height(all.len());
    let body = root.margin(top as u32, below.max(0.0) as u32, 0, 0);
    let areas = body.split_evenly((all.len().div_ceil(columns), columns));
    areas.iter().zip(all).map(|(area, quantity)| panel(area, quantity)).collect()
}

fn panel(area: &Area<'_>, quantity: &Quantity<'_>) -> Result<String, Error> {
    let points = || quantity.lines.iter().flat_map(|l| &l.1);
    let x = span(points().map(|p| p.0));
    let values = span(points().map(|p| p.1));
    let y = if quantity.share {
        // With room above, where the lines of easy tasks run.
        0.0..(1.06 * values.end).clamp(0.05, 1.02)
    } else {
        let edge = 0.04 * (values.end - values.start);
        values.start - edge..values.end + edge
    };
    let range = y.end - y.start;
    let tick = |v: &f64| if quantity.share { percent(v) } else { short(*v, range) };
    let mut chart = ChartBuilder::on(area)
        .margin_top(30)
        .margin_left(8)
        .margin_right(LAST)
        .x_label_area_size(40)
        .y_label_area_size(48)
        .build_cartesian_2d(x, y)
        .map_err(fail)?;
    axes(&mut chart, 12, 5, "step", &|s| thousands(*s), &tick)?;
    let (left, top) = (area.get_pixel_range().0.start, area.get_pixel_range().1.start);
    let at = |(x, y): &(f64, f64)| {
        let (x, y) = chart.backend_coord(&(*x, *y));
        [f64::from(x), f64::from(y)]
    };
    let path = |points: &[(f64, f64)], attributes: &str| polyline(&points.iter().map(at).collect::<Vec<_>>(), attributes);
    let mut out = caption([f64::from(left) + MARGIN, f64::from(top) + 18.0], quantity.name);
    let mut last = Vec::new();
    for (run, points) in &quantity.lines {
        let noisy = points.len() >= NOISY;
        let shown = if noisy { smooth(points) } else { points.clone() };
        if noisy {
            let pale = format!(r#"fill="none" stroke="{}" stroke-opacity="0.22""#, hex(line_color(*run)));
            out += &path(&thin(points), &pale);
        }
        out += &path(&thin(&shown), &format!(r#"{} stroke-width="2.2""#, stroke(*run)));
        if shown.len() <= 30 {
            out += &Mark::Dot.draw(shown.iter().map(at), 2.6, line_color(*run), 1.0);
        }
        let end = shown[shown.len() - 1];
        // Nearer than ticks are.
        let said = if quantity.share { percent(&end.1) } else { short(end.1, range / 10.0) };
        last.push((at(&end), said, *run));
    }
    let (_, rows) = chart.plotting_area().get_pixel_range();
    out += &values_at_ends(last, [f64::from(rows.start), f64::from(rows.end)]);
    Ok(out)
}

/// The last values beside the ends of their lines, pushed apart where they are near each other.
fn values_at_ends(mut last: Vec<([f64; 2], String, usize)>, [top, foot]: [f64; 2]) -> String {
    const APART: f64 = 12.0;
    last.sort_by(|a, b| a.0[1].total_cmp(&b.0[1]));
    let mut y: Vec<f64> = last.iter().map(|l| l.0[1]).collect();
    // Down from above, then up from the foot: what does not fit below moves the rest.
    for i in 0..y.len() {
        y[i] = y[i].max(if i == 0 { top } else { y[i - 1] + APART });
    }
    for i in (0..y.len()).rev() {
        y[i] = y[i].min(if i + 1 == y.len() { foot } else { y[i + 1] - APART });
    }
    let mut out = String::new();
    for (([x, _], label, run), y) in last.iter().zip(y) {
        haloed(&mut out, [x + 6.0, y + 3.5], "start", line_color(*run), label);
    }
    out
}

/// Map and SAR: told apart by shape, and by blue and orange.
const CLOUDS: [(Mark, RGBColor); 2] = [(Mark::Dot, LINES[0]), (Mark::Up, LINES[1])];

/// What all planes of a figure show.
struct Window {
    middle: [f64; 2],
    width: f64,
    /// Height by width.
    ratio: f64,
}

/// A window about all finite points, no more oblong than is good to look at.
fn window(moments: &[Moment<'_>]) -> Result<Window, Error> {
    let all = || moments.iter().flat_map(|m| m.map.iter().chain(m.sar)).filter(|p| finite(p));
    if all().next().is_none() {
        return Err(nothing());
    }
    let [x, y] = [0, 1].map(|d| span(all().map(|p| p[d])));
    let (width, height) = (x.end - x.start, y.end - y.start);
    let ratio = (height / width).clamp(0.6, 1.2);
    Ok(Window { middle: [x, y].map(|r| (r.start + r.end) / 2.0), width: 1.08 * width.max(height / ratio), ratio })
}

fn finite(p: &[f64; 2]) -> bool {
    p.iter().all(|v| v.is_finite())
}

/// A plane with its two clouds, `side` pixels wide, its upper left corner at `corner`.
fn plane_of(moment: &Moment<'_>, window: &Window, [left, top]: [f64; 2], side: f64) -> String {
    let (scale, tall) = (side / window.width, side * window.ratio);
    let at = |p: &[f64; 2]| [left + side / 2.0 + (p[0] - window.middle[0]) * scale, top + tall / 2.0 - (p[1] - window.middle[1]) * scale];
    let mut out = format!(
        r##"<rect x="{left:.1}" y="{top:.1}" width="{side:.1}" height="{tall:.1}" fill="#656D75" fill-opacity="0.05" stroke="{}"/>"##,
        hex(GRID)
    );
    let clouds = [moment.map, moment.sar].map(|c| c.iter().filter(|p| finite(p)).map(at).collect::<Vec<_>>());
    let most = clouds[0].len().max(clouds[1].len()).max(1) as f64;
    // Smaller where there are many, so that a cloud is not a blot.
    let r = (side / (2.5 * most.sqrt())).clamp(1.4, 3.0);
    for (cloud, (mark, color)) in clouds.iter().zip(CLOUDS) {
        out += &mark.draw(cloud.iter().copied(), r, color, 0.55);
    }
    let mean = |c: &Vec<[f64; 2]>| {
        let n = c.len() as f64;
        [0, 1].map(|d| c.iter().map(|p| p[d]).sum::<f64>() / n)
    };
    if clouds.iter().all(|c| !c.is_empty()) {
        out += &joined([mean(&clouds[0]), mean(&clouds[1])]);
    }
    out
}

/// A line from mean to mean, with an edge of paper so that it is seen over the clouds.
fn joined(ends: [[f64; 2]; 2]) -> String {
    let line = |width: f64, color: RGBColor| {
        polyline(&ends, &format!(r#"fill="none" stroke="{}" stroke-width="{width}" stroke-linecap="round""#, hex(color)))
    };
    line(5.0, super::chart::PAPER) + &line(2.2, INK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, share: bool, values: &[f64]) -> Series {
        Series { name: name.into(), points: values.iter().enumerate().map(|(i, v)| (100.0 * i as f64, *v)).collect(), share }
    }

    #[test]
    fn a_panel_a_quantity_and_a_stroke_a_run() {
        let base = [series("gap & rest", false, &[3.0, 2.0, 1.234]), series("accuracy", true, &[0.9, f64::NAN, 0.75])];
        let other = [series("accuracy", true, &[0.8, 0.5]), series("none", false, &[f64::NAN]), series("gap & rest", false, &[2.0, 1.5])];
        let svg = over_time("t", "l", &[("<base>", &base), ("critic", &other)]).unwrap();
        assert!(!svg.contains("<base>") && !svg.contains("NaN") && !svg.contains(">none<"), "{svg}");
        // Two in the key, two in each of two panels; the second run's are dashed.
        let (lines, dashed) = (svg.matches(r#"stroke-width="2.2""#).count(), svg.matches(r#"stroke-dasharray="7 3""#).count());
        assert_eq!((lines, dashed), (6, 3));
        for said in [">gap &amp; rest<", ">accuracy<", ">&lt;base&gt;<", ">1.23<", ">75 %<", ">50 %<"] {
            assert!(svg.contains(said), "{said} in {svg}");
        }
        assert!(over_time("t", "l", &[]).is_err());
        assert!(over_time("t", "l", &[("a", &[series("x", false, &[f64::INFINITY])])]).is_err());
    }

    #[test]
    fn sixteen_runs_are_told_apart() {
        let strokes: std::collections::BTreeSet<String> = (0..16).map(stroke).collect();
        assert_eq!(strokes.len(), 16);
    }

    #[test]
    fn last_values_do_not_meet() {
        let last = |y: &[f64]| y.iter().map(|y| ([0.0, *y], "1".to_string(), 0)).collect::<Vec<_>>();
        let svg = values_at_ends(last(&[98.0, 99.0, 100.0, 20.0]), [10.0, 100.0]);
        let mut y: Vec<f64> = svg.split(" y=\"").skip(1).map(|t| t.split('"').next().unwrap().parse().unwrap()).collect();
        y.sort_by(f64::total_cmp);
        assert_eq!(y, [23.5, 79.5, 91.5, 103.5]);
    }

    #[test]
    fn clouds_lie_in_their_squares_to_one_scale() {
        let lines = [series("gap", false, &[1.0, 0.5])];
        let (map, sar, far) = ([[0.0, 0.0], [1.0, 1.0], [f64::NAN, 0.0]], [[2.0, 2.0]], [[10.0, -4.0]]);
        let moments = [
            Moment { title: "before", map: &map, sar: &sar },
            Moment { title: "after", map: &map, sar: &far },
            Moment { title: "<empty>", map: &map, sar: &[] },
        ];
        let svg = gap_figure("t", "l", &[("run", &lines)], "p", &moments).unwrap();
        assert!(!svg.contains("NaN") && svg.contains(">&lt;empty&gt;<"), "{svg}");
        // The line's two, one a cloud in the key, the finite ones of the clouds; between means, twice drawn, in the key and two panels.
        assert_eq!(svg.matches("<path d=\"M").count(), 2 + 2 + 2 * 3 + 2);
        assert_eq!(svg.matches("stroke-linecap").count(), 2 * 3);
        // Ten wide and six high: the middle, and a half more than 10 / 2.
        let w = window(&moments).unwrap();
        assert!(w.middle == [5.0, -1.0] && (w.width - 10.8).abs() < 1e-12 && w.ratio == 0.6, "{:?} {} {}", w.middle, w.width, w.ratio);
        let tall = [[0.0, 0.0], [1.0, 10.0]];
        let w = window(&[Moment { title: "", map: &tall, sar: &[] }]).unwrap();
        assert!(w.ratio == 1.2 && w.width * w.ratio > 10.0, "{} {}", w.width, w.ratio);
        assert!(gap_figure("t", "l", &[("run", &lines)], "p", &[Moment { title: "", map: &[], sar: &[] }]).is_err());
    }
}
