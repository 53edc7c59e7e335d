//! Twin of `shaders/box_loss.wgsl`.

use crate::kernels::box_loss::{BoxDistance, TINY};

/// What the loss reads: N rows of four, their targets, their weights (1 each where none), and what the sum is divided by (N where none).
#[derive(Debug, Clone, Copy)]
pub struct BoxLoss<'a> {
    /// Rows of four.
    pub boxes: &'a [f64],
    /// Rows of four.
    pub targets: &'a [f64],
    /// Factors of the rows; 0 masks.
    pub weights: Option<&'a [f64]>,
    /// How far a box is from its target.
    pub distance: BoxDistance,
    /// Taken for 1 below 1.
    pub divisor: Option<f64>,
}

impl BoxLoss<'_> {
    /// The loss and its gradient in the boxes.
    pub fn run(&self) -> (f64, Vec<f64>) {
        let n = self.boxes.len() / 4;
        let share = 1.0 / self.divisor.map_or(n as f64, |d| d.max(1.0));
        let (mut loss, mut dx) = (0.0, vec![0.0; 4 * n]);
        for i in 0..n {
            let factor = share * self.weights.map_or(1.0, |w| w[i]);
            if factor == 0.0 {
                continue;
            }
            let row = |v: &[f64]| [0, 1, 2, 3].map(|k| v[4 * i + k]);
            let (f, d) = distance(self.distance, row(self.boxes), row(self.targets));
            loss += factor * f;
            (0..4).for_each(|k| dx[4 * i + k] = factor * d[k]);
        }
        (loss, dx)
    }
}

/// How far a is from b, and the gradient in a.
fn distance(kind: BoxDistance, a: [f64; 4], b: [f64; 4]) -> (f64, [f64; 4]) {
    let d = [0, 1, 2, 3].map(|k| a[k] - b[k]);
    match kind {
        BoxDistance::SmoothL1 { beta } => {
            let beta = f64::from(beta);
            let near = |d: f64| d.abs() < beta;
            let value = |d: f64| if near(d) { d * d / (2.0 * beta) } else { d.abs() - beta / 2.0 };
            let slope = |d: f64| {
                if near(d) {
                    d / beta
                } else if d == 0.0 {
                    0.0
                } else {
                    d.signum()
                }
            };
            (d.map(value).iter().sum(), d.map(slope))
        }
        BoxDistance::Squares => (d.iter().map(|d| d * d).sum(), d.map(|d| 2.0 * d)),
        BoxDistance::Giou => giou(a, b),
    }
}

/// An axis of two boxes: lengths of a, b, of what they share and of what is around both, and what a step of a's lower and of its upper
/// end adds to the last two.
struct Axis {
    a: f64,
    b: f64,
    shared: f64,
    around: f64,
    dshared: [f64; 2],
    daround: [f64; 2],
}

impl Axis {
    fn new(a: [f64; 2], b: [f64; 2]) -> Self {
        let overlap = a[1].min(b[1]) - a[0].max(b[0]);
        let one = |yes: bool| f64::from(u8::from(yes));
        Self {
            a: a[1] - a[0],
            b: b[1] - b[0],
            shared: overlap.max(0.0),
            around: a[1].max(b[1]) - a[0].min(b[0]),
            dshared: [-one(a[0] > b[0] && overlap >= 0.0), one(a[1] < b[1] && overlap >= 0.0)],
            daround: [-one(a[0] < b[0]), one(a[1] > b[1])],
        }
    }
}

/// 1 less the generalised intersection over union, and its gradient in a.
fn giou(a: [f64; 4], b: [f64; 4]) -> (f64, [f64; 4]) {
    let tiny = f64::from(TINY);
    let span = |v: [f64; 4], k: usize| [v[k].min(v[k + 2]), v[k].max(v[k + 2])];
    let axes = [0, 1].map(|k| Axis::new(span(a, k), span(b, k)));
    let area = |f: fn(&Axis) -> f64| f(&axes[0]) * f(&axes[1]);
    let i = area(|x| x.shared);
    let u = area(|x| x.a) + area(|x| x.b) - i;
    let c = area(|x| x.around);
    let mut d = [0.0; 4];
    for k in 0..2 {
        let (own, other) = (&axes[k], &axes[1 - k]);
        for end in 0..2 {
            let di = own.dshared[end] * other.shared;
            let du = [-1.0, 1.0][end] * other.a - di;
            let dc = own.daround[end] * other.around;
            // Of I / U and (C - U) / C by the quotient rule.
            let first = if u > tiny { (di * u - i * du) / (u * u) } else { di / tiny };
            let second = if c > tiny { ((dc - du) * c - (c - u) * dc) / (c * c) } else { (dc - du) / tiny };
            let turned = a[k] > a[k + 2];
            d[k + 2 * if turned { 1 - end } else { end }] = second - first;
        }
    }
    (1.0 - i / u.max(tiny) + (c - u) / c.max(tiny), d)
}
