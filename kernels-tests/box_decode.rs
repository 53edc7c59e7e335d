use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder, Tensor};
use echogrid::kernels::box_decode::{self as kernel, Deltas, MOST_GROWTH, Yolo};
use echogrid::reference::box_decode as twin;

const CONFIGS: [Deltas; 3] =
    [Deltas::PLAIN, Deltas { deviations: [0.1, 0.1, 0.2, 0.2], classes: 1 }, Deltas { deviations: [0.5, 1.0, 2.0, 1.5], classes: 3 }];

/// Boxes with sides of 1 to 3 about places within 2 of the origin.
fn boxes(n: usize, seed: u64) -> Vec<f32> {
    let r = random(4 * n, seed);
    r.chunks(4).flat_map(|r| [2.0 * r[0], 2.0 * r[1], 2.0 * r[0] + 2.0 + r[2], 2.0 * r[1] + 2.0 + r[3]]).collect()
}

/// The widest side of boxes in rows of so many numbers.
fn widest(boxes: &[f64], width: usize) -> f64 {
    boxes.chunks(width).flat_map(|b| [b[2] - b[0], b[3] - b[1]]).fold(0.0, f64::max)
}

/// Boxes and gradient of deltas d.
fn run(e: &Engine, config: &Deltas, d: &[f32], anchors: &[f32], dy: &[f32]) -> [Vec<f32>; 2] {
    let n = d.len() / 4;
    let [td, tdy] = [d, dy].map(|v| up(e, &[n, 4], v));
    let (ta, ty, tdd) = (up(e, &[anchors.len() / 4, 4], anchors), out(e, &[n, 4]), out(e, &[n, 4]));
    let y = run_twice(e, &ty, |p| kernel::deltas(p, config, &td, &ta, &ty));
    [y, run_twice(e, &tdd, |p| kernel::deltas_backward(p, config, &td, &ta, &tdy, &tdd))]
}

/// The same of a layer's rows x.
fn run_yolo(e: &Engine, config: &Yolo, x: &[f32], anchors: &[f32], dy: &[f32]) -> [Vec<f32>; 2] {
    let [tx, tdy] = [x, dy].map(|v| up(e, &[v.len()], v));
    let (ta, ty, tdx) = (up(e, &[anchors.len() / 2, 2], anchors), out(e, &[x.len()]), out(e, &[x.len()]));
    let y = run_twice(e, &ty, |p| kernel::yolo(p, config, &tx, &ta, &ty));
    [y, run_twice(e, &tdx, |p| kernel::yolo_backward(p, config, &tx, &ta, &tdy, &tdx))]
}

/// The exponential of up to 4.2 is off by 3 + 2 x ulp, 24 EPS, and by what its argument was, 8 more; centres below 20 and a few roundings of
/// sides come on top.
fn bound(widest: f64) -> f64 {
    (40.0 * widest + 80.0) * EPS
}

#[test]
fn deltas_equal_their_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (m, images) in [(1, 1), (3, 2), (67, 3), (1009, 1)] {
            let anchors = boxes(m, 1);
            for config in CONFIGS {
                let n = m * images * config.classes;
                // Some grow beyond what is let, some shrink as far.
                let d: Vec<f32> = random(4 * n, 2).iter().map(|v| 5.0 * v / config.deviations[3]).collect();
                let dy = random(4 * n, 3);
                let [y, dd] = run(e, &config, &d, &anchors, &dy);
                let (d, anchors) = (f64s(&d), f64s(&anchors));
                let want = twin::deltas(&config, &d, &anchors);
                let most = widest(&want, 4);
                close(&y, &want, bound(most) + 30.0 * EPS * 15.0 * f64::from(config.deviations[1] / config.deviations[3]), 0.0);
                close(&dd, &twin::deltas_backward(&config, &d, &anchors, &f64s(&dy)), 2.0 * bound(most), 0.0);
            }
        }
    }
}

#[test]
fn yolo_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (grid, m, classes, images) in [([1, 1], 1, 0, 1), ([2, 3], 3, 1, 2), ([13, 7], 2, 4, 3)] {
            let config = Yolo { grid, stride: [1.0, 0.5], classes };
            let n = images * grid[0] * grid[1] * m * config.width();
            let anchors: Vec<f32> = random(2 * m, 4).iter().map(|v| 1.5 + v).collect();
            let (x, dy): (Vec<f32>, _) = (random(n, 5).iter().map(|v| 5.0 * v).collect(), random(n, 6));
            let [y, dx] = run_yolo(e, &config, &x, &anchors, &dy);
            let (x, anchors) = (f64s(&x), f64s(&anchors));
            let want = twin::yolo(&config, &x, &anchors);
            let most = widest(&want, config.width());
            close(&y, &want, bound(most), 0.0);
            close(&dx, &twin::yolo_backward(&config, &x, &anchors, &f64s(&dy)), 2.0 * bound(most), 0.0);
        }
    }
}

/// The twins' gradients against central differences in f64.
#[test]
fn twin_gradients_equal_finite_differences() {
    let differences = |x: &[f64], run: &dyn Fn(&[f64]) -> Vec<f64>, back: &dyn Fn(&[f64]) -> Vec<f64>| {
        let after = |x: &[f64]| run(x).iter().map(|v| (0.3 * v).sin()).sum::<f64>();
        let dy: Vec<f64> = run(x).iter().map(|v| 0.3 * (0.3 * v).cos()).collect();
        for (i, g) in back(&dy).iter().enumerate() {
            let at = |h: f64| {
                let mut x = x.to_vec();
                x[i] += h;
                after(&x)
            };
            let want = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((g - want).abs() < 1e-7, "at {i}: {g} against {want}");
        }
    };
    let anchors = f64s(&boxes(5, 7));
    for config in CONFIGS {
        let mut d: Vec<f64> = f64s(&random(4 * 5 * config.classes, 8));
        // Beyond the most that is let.
        d[2] = 9.0 / f64::from(config.deviations[2]);
        differences(&d, &|d| twin::deltas(&config, d, &anchors), &|dy| twin::deltas_backward(&config, &d, &anchors, dy));
    }
    let config = Yolo { grid: [2, 3], stride: [2.0, 3.0], classes: 2 };
    let anchors = [1.0, 2.0, 3.0, 0.5];
    let mut x = f64s(&random(2 * 6 * 2 * 7, 9)).iter().map(|v| 2.0 * v).collect::<Vec<_>>();
    x[3] = 9.0;
    differences(&x, &|x| twin::yolo(&config, x, &anchors), &|dy| twin::yolo_backward(&config, &x, &anchors, dy));
}

/// What is encoded decodes to itself: for boxes and anchors drawn at random, sides from a twentieth to twenty times the anchor's, on the twin and
/// on the device.
#[test]
fn decoding_undoes_encoding() {
    let (engines, _lock) = engines();
    let n = 500;
    let r = f64s(&random(8 * n, 10));
    let drawn = |r: &[f64]| {
        let ([x, y], [w, h]) = ([100.0 * r[0], 100.0 * r[1]], [5.0 * (1.5 * r[2]).exp(), 5.0 * (1.5 * r[3]).exp()]);
        // As f32 holds them.
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0].map(|v| f64::from(v as f32))
    };
    let rounded = |b: &[f64]| -> Vec<f32> { b.iter().map(|v| *v as f32).collect() };
    for config in [CONFIGS[0], CONFIGS[1]] {
        let pairs: Vec<[[f64; 4]; 2]> = r.chunks(8).map(|r| [drawn(&r[..4]), drawn(&r[4..])]).collect();
        let d: Vec<f64> = pairs.iter().flat_map(|[a, b]| config.encode(*a, *b).unwrap()).collect();
        let (anchors, boxes): (Vec<f64>, Vec<f64>) = (pairs.iter().flat_map(|p| p[0]).collect(), pairs.iter().flat_map(|p| p[1]).collect());
        let again = twin::deltas(&config, &d, &anchors);
        assert!(again.iter().zip(&boxes).all(|(a, b)| (a - b).abs() < 1e-9));
        // The host's own order of sums differs from the twin's.
        let close_to = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        for (i, (row, [anchor, _])) in d.chunks(4).zip(&pairs).enumerate() {
            assert!(close_to(&config.decode(*anchor, [row[0], row[1], row[2], row[3]]), &again[4 * i..][..4]));
        }
        let (far, anchor) = ([0.3, -0.2, 1e9, 99.0], [1.0, 2.0, 5.0, 4.0]);
        assert!(close_to(&config.decode(anchor, far), &twin::deltas(&config, &far, &anchor)), "no side grows without end");
        for e in engines {
            let [y, _] = run(e, &config, &rounded(&d), &rounded(&anchors), &vec![0.0; 4 * n]);
            // Centres up to 200 apart, as differences in sides: a few roundings of that; sides of up to 23.
            close(&y, &boxes, 200.0 * 12.0 * EPS + bound(23.0), 8.0 * EPS);
        }
    }
    let config = Yolo { grid: [20, 25], stride: [8.0, 10.0], classes: 1 };
    for r in r.chunks(8) {
        let shifted = drawn(r).map(|v| v + 100.0);
        let (cell, anchor) = (config.cell(shifted).unwrap(), [6.0 + 3.0 * r[4], 6.0 + 3.0 * r[5]]);
        let [px, py, w, h] = config.encode(cell, anchor, shifted).unwrap();
        assert!((0.0..1.0).contains(&px) && (0.0..1.0).contains(&py));
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let row = [logit(px), logit(py), w, h, r[6], r[7]];
        let at = cell[0] * 25 + cell[1];
        let mut x = vec![0.0; 20 * 25 * 6];
        x[6 * at..][..6].copy_from_slice(&row);
        let y = twin::yolo(&config, &x, &anchor);
        assert!(y[6 * at..][..4].iter().zip(shifted).all(|(a, b)| (a - b).abs() < 1e-9) && y[6 * at + 4..][..2] == row[4..]);
    }
}

/// Golden, by hand, and what is too large or no number.
#[test]
fn golden_and_odd_numbers() {
    let (engines, _lock) = engines();
    for e in engines {
        // Centre (5, 10) moves by a tenth and a fifth of 10 x 20; the width doubles.
        let [y, dd] = run(e, &Deltas::PLAIN, &[0.1, 0.2, 2f32.ln(), 0.0], &[0.0, 0.0, 10.0, 20.0], &[1.0, 0.0, 0.0, 1.0]);
        close(&y, &[-4.0, 4.0, 16.0, 24.0], 100.0 * EPS, 0.0);
        close(&dd, &[10.0, 20.0, -10.0, 10.0], 100.0 * EPS, 0.0);
        let [y, dd] = run(e, &Deltas::PLAIN, &[0.0, 0.0, 90.0, -90.0], &[0.0, 0.0, 16.0, 16.0], &[1.0, 1.0, 2.0, 3.0]);
        close(&y, &[-492.0, 8.0, 508.0, 8.0], 500.0 * 60.0 * EPS, 0.0);
        assert!(dd[2] == 0.0 && dd[3].abs() < 1e-30, "{dd:?}");
        let [y, dd] = run(e, &Deltas::PLAIN, &[0.0, 0.0, f32::NAN, 0.0], &[0.0, 0.0, 16.0, 16.0], &[1.0; 4]);
        assert!(y[0].is_nan() && y[1] == 0.0 && y[3] == 16.0 && dd[0] == 32.0, "{y:?} {dd:?}");
        // The middle of the cell in row 1, column 2, an anchor of 6 x 2; the logits behind stay.
        let config = Yolo { grid: [2, 3], stride: [10.0, 20.0], classes: 1 };
        let mut x = vec![0.0; 6 * 6];
        x[30..].copy_from_slice(&[0.0, 0.0, 0.0, 2f32.ln(), 7.0, -3.0]);
        let [y, dx] = run_yolo(e, &config, &x, &[6.0, 2.0], &[1.0; 36]);
        close(&y[30..], &[22.0, 28.0, 28.0, 32.0, 7.0, -3.0], 100.0 * EPS, 0.0);
        close(&dx[30..], &[5.0, 10.0, 0.0, 0.0, 1.0, 1.0], 100.0 * EPS, 0.0);
        x[30..34].copy_from_slice(&[200.0, -200.0, 99.0, -99.0]);
        let [y, dx] = run_yolo(e, &config, &x, &[6.0, 2.0], &[0.5; 36]);
        let half = 3.0 * f64::from(MOST_GROWTH).exp();
        close(&y[30..34], &[30.0 - half, 20.0, 30.0 + half, 20.0], 200.0 * 60.0 * EPS, 0.0);
        close(&dx[30..34], &[0.0; 4], 1e-20, 0.0);
    }
    assert!((f64::from(MOST_GROWTH) - (1000f64 / 16.0).ln()).abs() < 3e-7);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let new = |shape: &[usize]| out(e, shape);
    let (d, anchors) = (new(&[6, 4]), new(&[3, 4]));
    let deltas =
        |config: Deltas, d: &Tensor, anchors: &Tensor, y: &Tensor| kernel::deltas(&mut PlanBuilder::new(e), &config, d, anchors, y);
    says(deltas(Deltas::PLAIN, &new(&[5]), &anchors, &d), "`d` [5] are not rows of four");
    says(deltas(Deltas::PLAIN, &d, &new(&[3, 2]), &d), "`anchors` must be F32 [3, 4]");
    says(deltas(Deltas::PLAIN, &d, &anchors, &new(&[5, 4])), "[6, 4] against [5, 4]");
    says(deltas(Deltas { classes: 4, ..Deltas::PLAIN }, &d, &anchors, &d), "6 rows are not those of whole images of 3 anchors x 4");
    says(deltas(Deltas { classes: 0, ..Deltas::PLAIN }, &d, &anchors, &d), "0 rows of 3 anchors: there must be one");
    says(deltas(Deltas { deviations: [1.0, 0.0, 1.0, 1.0], classes: 1 }, &d, &anchors, &d), "deviations must be above 0, not 0");
    let config = Yolo { grid: [2, 3], stride: [8.0, 8.0], classes: 1 };
    let sides = new(&[2, 2]);
    let yolo = |config: Yolo, x: &Tensor, anchors: &Tensor| kernel::yolo(&mut PlanBuilder::new(e), &config, x, anchors, &new(&[72]));
    says(yolo(config, &new(&[73]), &sides), "73 numbers are not those of whole images of 2 x 3 cells x 2 anchors x 6 (72)");
    says(yolo(config, &new(&[72]), &anchors), "`anchors` must be F32 [3, 2]");
    says(yolo(Yolo { stride: [0.0, 1.0], ..config }, &new(&[72]), &sides), "strides must be above 0, not 0");
    says(yolo(Yolo { grid: [0, 3], ..config }, &new(&[72]), &sides), "a grid of 0 x 3 cells of 2 anchors has no rows");
    says(config.cell([16.0, 8.0, 40.0, 24.0]), "lies outside the grid of [2, 3] cells");
    assert_eq!(config.cell([14.0, 8.0, 30.0, 23.0]).unwrap(), [1, 2]);
    let flat = [1.0, 1.0, 1.0, 5.0];
    says(Deltas::PLAIN.encode([0.0, 0.0, 1.0, 1.0], flat), "[1.0, 1.0, 1.0, 5.0] has no area");
    says(config.encode([0, 0], [1.0, 1.0], [0.0, 0.0, f64::NAN, 1.0]), "has no area, or corners that are no numbers");
}
