//! The map's outline with the places of candidates.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::Candidate;

/// Longest side of an outline, in its own units, which are pixels where there is room.
const SIDE: f64 = 120.0;
/// Shortest: the map of a strip is drawn in a box that holds its marks.
const SHORTEST: f64 = 40.0;
/// Around the outline, for marks at its edge.
const MARGIN: f64 = 8.0;
/// Half the width of a numbered dot, and of the cross.
const R: f64 = 6.2;
const CROSS: f64 = 5.5;

/// The outline with a numbered dot a candidate and a cross at the truth; what is nowhere is left out, what is off the map lies at its edge.
pub(super) fn outline(size_m: [f64; 2], truth_m: [f64; 2], candidates: &[Candidate], what: &str) -> Markup {
    let scale = SIDE / size_m[0].max(size_m[1]);
    let size = size_m.map(|v| v * scale);
    let room = size.map(|v| v.max(SHORTEST));
    let corner = [0, 1].map(|d| MARGIN + (room[d] - size[d]) / 2.0);
    let at = |p: [f64; 2]| p.iter().all(|v| v.is_finite()).then(|| [0, 1].map(|d| corner[d] + (p[d] * scale).clamp(0.0, size[d])));
    let known: Vec<(usize, &Candidate, [f64; 2])> =
        (1..).zip(candidates).filter_map(|(rank, c)| at(c.at_m).map(|p| (rank, c, p))).collect();
    let full = room.map(|v| v + 2.0 * MARGIN);
    let truth = at(truth_m);
    let dots = apart(&known.iter().map(|k| k.2).collect::<Vec<_>>(), truth, full);
    let (mut leaders, mut marks) = (String::new(), String::new());
    // The best last, on top.
    for ((rank, c, [x, y]), [u, v]) in known.iter().zip(&dots).rev() {
        let class = if c.right { "right" } else { "wrong" };
        if (u - x).hypot(v - y) > 0.6 * R {
            let _ = write!(leaders, r#"<path d="M{x:.1} {y:.1}L{u:.1} {v:.1}"/><circle cx="{x:.1}" cy="{y:.1}" r="1.4"/>"#);
        }
        let _ = write!(
            marks,
            r#"<g class="{class}"><circle cx="{u:.1}" cy="{v:.1}" r="{R}"/><text x="{u:.1}" y="{:.1}">{rank}</text></g>"#,
            v + 2.8
        );
    }
    let cross = truth.map(|[x, y]| format!("M{:.1} {y:.1}h{d}M{x:.1} {:.1}v{d}", x - CROSS, y - CROSS, d = 2.0 * CROSS));
    let [width, height] = full.map(|v| format!("{v:.0}"));
    html! {
        svg.places viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
            role="img" aria-label=(what) {
            rect x=(tenths(corner[0])) y=(tenths(corner[1])) width=(tenths(size[0])) height=(tenths(size[1])) {}
            g.leaders { (PreEscaped(leaders)) }
            (PreEscaped(marks))
            @if let Some(d) = &cross { path.halo d=(d) {} path.truth d=(d) {} }
        }
    }
}

fn tenths(v: f64) -> String {
    format!("{v:.1}")
}

/// Dots moved as little as some rounds of pushing take so that they hide neither each other nor the cross, within a box of `full`.
fn apart(places: &[[f64; 2]], cross: Option<[f64; 2]>, full: [f64; 2]) -> Vec<[f64; 2]> {
    const ROUNDS: usize = 60;
    let inside = |p: [f64; 2]| [0, 1].map(|d| p[d].clamp(R + 0.5, full[d] - R - 0.5));
    let mut at = places.to_vec();
    for _ in 0..ROUNDS {
        for i in 0..at.len() {
            for j in 0..i {
                if let Some(push) = push(at[i], at[j], 2.0 * R + 0.6, i) {
                    at[i] = [0, 1].map(|d| at[i][d] + push[d] / 2.0);
                    at[j] = [0, 1].map(|d| at[j][d] - push[d] / 2.0);
                }
            }
        }
        for (i, p) in at.iter_mut().enumerate() {
            *p = inside(*p);
            // The cross stays where it is; what the edge holds on it passes to the side of the middle.
            for from in [*p, full.map(|v| v / 2.0)] {
                if let Some(cross) = cross.filter(|c| (p[0] - c[0]).hypot(p[1] - c[1]) < R + CROSS - 0.5) {
                    let way = direction(cross, from, i);
                    *p = inside([0, 1].map(|d| cross[d] + way[d] * (R + CROSS)));
                }
            }
        }
    }
    at
}

/// What moves `a` to `least` from `b`; none where it is no nearer.
fn push(a: [f64; 2], b: [f64; 2], least: f64, turn: usize) -> Option<[f64; 2]> {
    let far = (a[0] - b[0]).hypot(a[1] - b[1]);
    (far < least).then(|| direction(b, a, turn).map(|w| w * (least - far)))
}

/// From one place to another, of length 1; where both are the same, one that goes by `turn`.
fn direction(from: [f64; 2], to: [f64; 2], turn: usize) -> [f64; 2] {
    let [dx, dy] = [0, 1].map(|d| to[d] - from[d]);
    let far = dx.hypot(dy);
    // The golden angle: no two turns are alike.
    let angle = turn as f64 * 2.4;
    if far > 1e-6 { [dx / far, dy / far] } else { [angle.cos(), angle.sin()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(at_m: [f64; 2], right: bool) -> Candidate {
        Candidate { thumb: None, right, score: 0.5, distance_m: 0.0, at_m }
    }

    #[test]
    fn places_lie_to_scale_and_what_is_nowhere_is_left_out() {
        let candidates = [candidate([2000.0, 1000.0], true), candidate([f64::NAN, 0.0], false), candidate([0.0, 0.0], false)];
        let svg = outline([2000.0, 1000.0], [1000.0, 500.0], &candidates, "a \"b\"").0;
        assert!(svg.contains(r#"viewBox="0 0 136 76""#) && svg.contains(r#"<rect x="8.0" y="8.0" width="120.0" height="60.0">"#), "{svg}");
        assert!(svg.contains(r#"<g class="right"><circle cx="128.0" cy="68.0""#) && svg.contains(r#"<circle cx="8.0" cy="8.0""#), "{svg}");
        assert!(svg.contains(">1<") && !svg.contains(">2<") && svg.contains(">3<") && !svg.contains("NaN"), "{svg}");
        // The truth in the middle.
        assert!(svg.contains(r#"class="truth" d="M62.5 38.0h11M68.0 32.5v11""#) && svg.contains("a &quot;b&quot;"), "{svg}");
        let svg = outline([2000.0, 10.0], [f64::INFINITY, 0.0], &[], "none").0;
        assert!(!svg.contains("truth") && !svg.contains("inf") && svg.contains("0 0 136 56"), "{svg}");
    }

    #[test]
    fn dots_on_one_spot_part_within_the_box() {
        let full = [148.0, 148.0];
        for spot in [[74.0, 74.0], [8.0, 8.0], [140.0, 60.0]] {
            let at = apart(&[spot; 10], Some(spot), full);
            for (i, p) in at.iter().enumerate() {
                assert!(p.iter().all(|v| (R..=148.0 - R).contains(v)), "{p:?}");
                assert!((p[0] - spot[0]).hypot(p[1] - spot[1]) > R + 0.6 * CROSS, "{at:?}");
                assert!(at[..i].iter().all(|q| (p[0] - q[0]).hypot(p[1] - q[1]) > 1.7 * R), "{at:?}");
            }
        }
        let alone = [[20.0, 20.0], [60.0, 60.0]];
        assert_eq!(apart(&alone, Some([100.0, 100.0]), full), alone);
    }
}
