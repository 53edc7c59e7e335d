use super::*;
use crate::random::{splitmix, unit};
use crate::register::{ConsensusConfig, Limits, Model};
use crate::scene::inverse;

struct Numbers(u64);

impl Numbers {
    fn unit(&mut self) -> f64 {
        self.0 += 1;
        unit(self.0)
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Turned by 3 degrees, 2 % larger, half a SAR pixel a map pixel, shifted; bent by up to some pixels where wished.
fn truth(p: [f64; 2], bend: [f64; 2]) -> [f64; 2] {
    let (sin, cos) = 3f64.to_radians().sin_cos();
    let [x, y] = [p[0] - 1000.0, p[1] - 1000.0];
    let [u, v] = [x / 1000.0, y / 1000.0];
    let s = 0.5 * 1.02;
    [
        s * (cos * x - sin * y) + 480.0 + bend[0] * u * v + bend[1] * u * u * v,
        s * (sin * x + cos * y) + 530.0 - bend[0] * v * v + bend[1] * u * v * v,
    ]
}

/// A lattice of points with noise (map pixels) on the map side; a share of them anywhere within `window` of the truth.
fn points(side: usize, noise: f64, wrong: f64, window: f64, bend: [f64; 2], seed: u64) -> Vec<TiePoint> {
    let mut n = Numbers(seed << 32);
    let mut out = Vec::new();
    for i in 0..side * side {
        let at = |k: usize| (k as f64 + 0.5) / side as f64 * 2000.0;
        let p = [at(i % side), at(i / side)];
        let off =
            if n.unit() < wrong { [0, 1].map(|_| window * (2.0 * n.unit() - 1.0)) } else { [n.normal(), n.normal()].map(|e| noise * e) };
        out.push(TiePoint { sar_px: truth(p, bend), map_px: [p[0] + off[0], p[1] + off[1]], weight: 0.5 + n.unit() });
    }
    out
}

fn config(kind: ModelKind, area_px2: f64) -> FitConfig {
    FitConfig {
        kind,
        base: [[0.5, 0.0], [0.0, 0.5]],
        consensus: ConsensusConfig { tolerance_px: 6.0, area_px2, limits: None, draws: 50_000, seed: 1 },
    }
}

/// Largest and median distance between model and truth over the map, map pixels.
fn off(model: &Model, bend: [f64; 2]) -> (f64, f64) {
    let all: Vec<f64> = (0..441)
        .map(|i| {
            let p = [f64::from(i % 21) * 100.0, f64::from(i / 21) * 100.0];
            length(model.pull(p, truth(p, bend)))
        })
        .collect();
    (all.iter().copied().fold(0.0, f64::max), median(all))
}

#[test]
fn exact_points_give_the_transform_back() {
    for (kind, bend) in [
        (ModelKind::Similarity, [0.0; 2]),
        (ModelKind::Affine, [0.0; 2]),
        (ModelKind::Polynomial2, [3.0, 0.0]),
        (ModelKind::Polynomial3, [3.0, 1.5]),
    ] {
        let points = points(9, 0.0, 0.0, 0.0, bend, 1);
        let fit = fit(&points, &config(kind, 4e6)).unwrap();
        assert_eq!(fit.inliers(), 81);
        let (worst, _) = off(&fit.model, bend);
        assert!(worst < 1e-6, "{kind:?}: {worst}");
        let p = [333.0, 1777.0];
        let back = fit.model.to_map(fit.model.to_sar(p)).unwrap();
        assert!(length([back[0] - p[0], back[1] - p[1]]) < 1e-6, "{back:?}");
        // The derivative against differences.
        let d = fit.model.derivative(p);
        for axis in 0..2 {
            let mut q = p;
            q[axis] += 1e-3;
            let (a, b) = (fit.model.to_sar(q), fit.model.to_sar(p));
            (0..2).for_each(|r| assert!(((a[r] - b[r]) / 1e-3 - d[r][axis]).abs() < 1e-4));
        }
    }
}

#[test]
fn noise_and_up_to_six_wrong_points_in_ten_leave_the_transform_within_its_standard_error() {
    for wrong in [0.0, 0.3, 0.6] {
        for seed in 1..=5 {
            let points = points(15, 1.0, wrong, 40.0, [0.0; 2], seed);
            let fit = fit(&points, &config(ModelKind::Affine, 80.0 * 80.0)).unwrap();
            let right = points.iter().filter(|p| length([0, 1].map(|d| p.map_px[d] - on_map(p.sar_px)[d])) < 4.0).count();
            assert!(fit.inliers() * 10 >= right * 9 && fit.inliers() <= right * 11 / 10 + 2, "{} of {right} at {wrong}", fit.inliers());
            // A plane through n points of unit noise has a standard error of sqrt(1 + 3 + 3) / sqrt(n) in a corner an axis; four of
            // these in the plane, and what wrong points inside the tolerance add.
            let bound = 4.0 * (2.0f64 * 7.0 / right as f64).sqrt() * 1.3;
            let (worst, middle) = off(&fit.model, [0.0; 2]);
            assert!(worst < bound && middle < bound / 2.0, "{worst} {middle} {bound} at {wrong}, seed {seed}");
            assert!((0.7..1.5).contains(&fit.sigma_px), "{}", fit.sigma_px);
            let claimed = fit.standard_error_px(&points, [0.0, 0.0]);
            assert!((0.3..3.0).contains(&(claimed / (7.0 / right as f64).sqrt())), "{claimed}");
        }
    }
}

/// The exact place of a SAR position on the map.
fn on_map(sar: [f64; 2]) -> [f64; 2] {
    let centre = [1000.0, 1000.0];
    let at = |x: f64, y: f64| truth([centre[0] + x, centre[1] + y], [0.0; 2]);
    let (o, x, y) = (at(0.0, 0.0), at(1.0, 0.0), at(0.0, 1.0));
    let m = inverse(&[[x[0] - o[0], y[0] - o[0]], [x[1] - o[1], y[1] - o[1]]]);
    let d = [sar[0] - o[0], sar[1] - o[1]];
    [0, 1].map(|r| centre[r] + m[r][0] * d[0] + m[r][1] * d[1])
}

#[test]
fn a_bent_image_needs_a_polynomial_and_an_affine_fit_says_so() {
    let bend = [2.0, 0.0];
    let points = points(15, 0.5, 0.4, 40.0, bend, 3);
    let area = 80.0 * 80.0;
    let affine = fit(&points, &config(ModelKind::Affine, area)).unwrap();
    let second = fit(&points, &config(ModelKind::Polynomial2, area)).unwrap();
    let figures = |f: &Fit| (f.inliers(), f.median_px(), f.rms_px(), f.held_out_rms_px());
    assert!(second.held_out_rms_px() < affine.held_out_rms_px(), "{:?} {:?}", figures(&affine), figures(&second));
    let (worst, middle) = off(&second.model, bend);
    // 12 numbers from some 135 points: leverage in the corners is near 0.3 at most.
    assert!(worst < 1.2 && middle < 0.3, "{worst} {middle}");
}

#[test]
fn too_many_terms_show_in_the_residuals_held_out() {
    // 36 points of pure noise about an affine truth: a cubic has 20 numbers for 72.
    let fits = |seed| {
        let all = points(6, 1.0, 0.0, 0.0, [0.0; 2], seed);
        [ModelKind::Affine, ModelKind::Polynomial3].map(|kind| fit(&all, &config(kind, 4e6)).unwrap())
    };
    let mut sums = [[0.0; 2]; 2];
    for seed in 0..20 {
        for (sum, fit) in sums.iter_mut().zip(fits(seed)) {
            *sum = [sum[0] + fit.rms_px() / 20.0, sum[1] + fit.held_out_rms_px() / 20.0];
        }
    }
    let [simple, third] = sums;
    assert!(third[0] < simple[0], "more terms fit closer: {sums:?}");
    // Residuals held out are larger by 1 / (1 - leverage), whose mean is 3 / 36 and 10 / 36: 1.09 and 1.38 where all count alike.
    assert!(third[1] > simple[1] && third[1] > 1.25 * third[0] && simple[1] < 1.15 * simple[0], "but predict worse: {sums:?}");
    let all = points(6, 1.0, 0.0, 0.0, [0.0; 2], 7);
    let [simple, _] = fits(7);
    // Leaving one out, for real: the same figure.
    let one = 17;
    let weights: Vec<f64> =
        simple.residual_px.iter().map(|r| (1.0 - (length(*r) / (TUKEY * simple.sigma_px).min(12.0)).powi(2)).powi(2)).collect();
    let mean = all.iter().map(|p| p.weight).sum::<f64>() / all.len() as f64;
    let mut weights: Vec<f64> = weights.iter().zip(&all).map(|(w, p)| w * p.weight / mean).collect();
    weights[one] = 0.0;
    let without = Model::solve(ModelKind::Affine, &all, &weights, &Noise::even([[1.0, 0.0], [0.0, 1.0]])).unwrap().model;
    let measured = length(without.residual(&all[one]));
    assert!((measured - simple.held_out_px[one]).abs() < 0.02 * measured.max(0.1), "{measured} {}", simple.held_out_px[one]);
}

#[test]
fn several_candidates_a_patch_compete() {
    // 25 patches with five candidates over 2000 x 2000 px each; of nine the right one is among them, at any rank.
    let mut n = Numbers(99);
    let (mut all, mut groups) = (Vec::new(), Vec::new());
    for patch in 0..25 {
        let p = [200.0 + 400.0 * f64::from(patch % 5), 200.0 + 400.0 * f64::from(patch / 5)];
        for k in 0..5 {
            let right = patch % 5 < 3 && k == patch % 4;
            let map_px = if right { [p[0] + n.normal(), p[1] + n.normal()] } else { [2000.0 * n.unit(), 2000.0 * n.unit()] };
            all.push(TiePoint { sar_px: truth(p, [0.0; 2]), map_px, weight: 1.0 });
            groups.push(patch as usize);
        }
    }
    let (sin, cos) = 0f64.sin_cos();
    let limits = Limits { matrix: [[0.5 * cos, -0.5 * sin], [0.5 * sin, 0.5 * cos]], rotation_deg: 6.0, stretch: 0.06 };
    let config = ConsensusConfig { tolerance_px: 8.0, area_px2: 4e6, limits: Some(limits), draws: 200_000, seed: 5 };
    let found = consensus(&all, &groups, &config).unwrap();
    assert!(found.chosen.len() >= 14 && found.chosen.len() <= 16, "{:?}", found.chosen);
    assert!(off(&found.model, [0.0; 2]).0 < 4.0);
    assert_eq!(found, consensus(&all, &groups, &config).unwrap(), "the same draws each time");
    // All wrong: refused, whatever the seed.
    for (i, p) in all.iter_mut().enumerate() {
        p.map_px = [0, 1].map(|d| (splitmix((i * 2 + d) as u64) % 2000) as f64);
    }
    for seed in 0..10 {
        let error = consensus(&all, &groups, &ConsensusConfig { seed, ..config }).unwrap_err().to_string();
        assert!(error.contains("25 tie points agree"), "{error}");
    }
}

#[test]
fn limits_hold_turned_stretched_and_mirrored() {
    let limits = Limits { matrix: [[0.5, 0.0], [0.0, 0.5]], rotation_deg: 5.0, stretch: 0.05 };
    let to_map = |deg: f64, sx: f64, sy: f64| {
        let (s, c) = deg.to_radians().sin_cos();
        [[2.0 * c * sx, -2.0 * s * sy], [2.0 * s * sx, 2.0 * c * sy]]
    };
    assert!(limits.hold(&to_map(4.0, 1.04, 0.97)));
    for bad in [to_map(6.0, 1.0, 1.0), to_map(-6.0, 1.0, 1.0), to_map(0.0, 1.06, 1.0), to_map(0.0, 1.0, 0.94), to_map(0.0, 1.0, -1.0)] {
        assert!(!limits.hold(&bad), "{bad:?}");
    }
}

#[test]
fn points_that_do_not_determine_a_transform_are_refused() {
    let message = |points: &[TiePoint], kind| fit(points, &config(kind, 4e6)).unwrap_err().to_string();
    let all = points(9, 0.1, 0.0, 0.0, [0.0; 2], 1);
    let words = message(&all[..5], ModelKind::Affine);
    assert!(words.contains("5 of 5") && words.contains("--fixes"), "{words}");
    // On a line, and all but on one.
    let line: Vec<TiePoint> =
        all.iter().map(|p| TiePoint { sar_px: truth([p.map_px[0], 500.0], [0.0; 2]), map_px: [p.map_px[0], 500.0], ..*p }).collect();
    let words = message(&line, ModelKind::Affine);
    assert!(words.contains("tie points"), "{words}");
    let near: Vec<TiePoint> =
        line.iter().zip(&all).map(|(l, a)| TiePoint { map_px: [l.map_px[0], 500.0 + 1e-3 * a.map_px[1]], ..*l }).collect();
    assert!(message(&near, ModelKind::Affine).contains("tie points"));
    // One place.
    let one: Vec<TiePoint> = all.iter().map(|_| all[40]).collect();
    assert!(message(&one, ModelKind::Affine).contains("tie points"));
    // On a circle: enough for an affine transform, not for what bends (1, u^2 + v^2 depend on each other).
    let circle: Vec<TiePoint> = (0..40)
        .map(|i| {
            let (s, c) = (f64::from(i) / 40.0 * std::f64::consts::TAU).sin_cos();
            let p = [1000.0 + 500.0 * c, 1000.0 + 500.0 * s];
            TiePoint { sar_px: truth(p, [0.0; 2]), map_px: p, weight: 1.0 }
        })
        .collect();
    assert!(fit(&circle, &config(ModelKind::Affine, 4e6)).is_ok());
    let words = message(&circle, ModelKind::Polynomial2);
    assert!(words.contains("do not determine") && words.contains("--model"), "{words}");
    // Weights and places that are no numbers.
    for bad in
        [TiePoint { weight: f64::NAN, ..all[0] }, TiePoint { weight: 0.0, ..all[0] }, TiePoint { map_px: [f64::INFINITY, 0.0], ..all[0] }]
    {
        let mut all = all.clone();
        all[3] = bad;
        assert!(message(&all, ModelKind::Affine).contains("tie point 3"));
    }
}

#[test]
fn noise_alone_is_refused() {
    // Uniform over the search window: no transform.
    for seed in 1..=20 {
        let points = points(15, 0.0, 1.0, 40.0, [0.0; 2], seed);
        let limits = Limits { matrix: inverse(&inverse(&points_matrix())), rotation_deg: 3.0, stretch: 0.03 };
        let mut config = config(ModelKind::Affine, 80.0 * 80.0);
        config.consensus.limits = Some(limits);
        config.consensus.tolerance_px = 4.0;
        let result = fit(&points, &config);
        assert!(result.is_err(), "seed {seed}: {} inliers of 225", result.unwrap().inliers());
    }
}

fn points_matrix() -> [[f64; 2]; 2] {
    let at = |x: f64, y: f64| truth([x, y], [0.0; 2]);
    let (o, x, y) = (at(0.0, 0.0), at(1.0, 0.0), at(0.0, 1.0));
    [[x[0] - o[0], y[0] - o[0]], [x[1] - o[1], y[1] - o[1]]]
}

/// Points with errors of four pixels to the right and one down, a tenth of them wrong; the truth stretched along x where wished.
fn uneven(stretch: f64, seed: u64) -> Vec<TiePoint> {
    let mut n = Numbers(seed << 32);
    let mut all = points(14, 0.0, 0.1, 40.0, [0.0; 2], seed);
    for p in &mut all {
        let at = truth([p.map_px[0] * stretch, p.map_px[1]], [0.0; 2]);
        if (at[0] - p.sar_px[0]).hypot(at[1] - p.sar_px[1]) < 1e-9 + 2000.0 * (stretch - 1.0).abs() {
            p.sar_px = at;
        }
        p.map_px = [p.map_px[0] + 4.0 * n.normal(), p.map_px[1] + n.normal()];
    }
    all
}

#[test]
fn a_similarity_is_taken_where_it_predicts_as_well_and_not_where_the_image_is_stretched() {
    let mut sums = [0.0; 2];
    let mut similar = 0;
    for seed in 0..20 {
        let mut config = config(ModelKind::Affine, 80.0 * 80.0);
        config.consensus.tolerance_px = 12.0;
        let all = uneven(1.0, seed);
        let affine = fit(&all, &config).unwrap();
        let best = fit_best(&all, &config, &[ModelKind::Similarity, ModelKind::Affine]).unwrap();
        similar += usize::from(best.model.kind == ModelKind::Similarity);
        let similarity = fit(&all, &FitConfig { kind: ModelKind::Similarity, ..config }).unwrap();
        sums = [sums[0] + off(&affine.model, [0.0; 2]).1, sums[1] + off(&similarity.model, [0.0; 2]).1];
        let stretched = fit_best(&uneven(1.01, seed), &config, &[ModelKind::Similarity, ModelKind::Affine]).unwrap();
        assert_eq!(stretched.model.kind, ModelKind::Affine, "seed {seed}");
    }
    assert!(similar >= 14, "{similar} of 20");
    // The rotation is told by the coordinate that is measured well.
    assert!(sums[1] < 0.8 * sums[0], "{sums:?}");
}
