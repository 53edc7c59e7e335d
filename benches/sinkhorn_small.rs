use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::sinkhorn_small::{Other, Problems, Settings, cost, divergence, solve, transport_plan};

pub fn run(e: &Engine) {
    for (p, n) in [(1, 64), (64, 64), (16, 256)] {
        let weights = e.upload_f32("w", &[p, n], &vec![1.0 / n as f32; p * n]).unwrap();
        let (x, c, f, g) = (tensor(e, &[p, n, 32]), tensor(e, &[p, n, n]), tensor(e, &[p, n]), tensor(e, &[p, n]));
        let (stats, pi, dy) = (tensor(e, &[p, 8]), tensor(e, &[p, n, n]), tensor(e, &[1]));
        let problems = Problems { c: &c, a: &weights, f: &f, other: Some(Other { b: &weights, g: &g }) };
        let name = format!("{p}x{n}x{n}");
        // A tolerance of 0 is never met: 20 iterations and the last.
        let settings = Settings { tolerance: 0.0, most: 20, ..Settings::new(0.1) };
        time(e, &format!("sinkhorn cost {name}, 32 dimensions"), |p| cost(p, false, &x, &x, &c));
        time(e, &format!("sinkhorn 20 iterations {name}"), |p| solve(p, &problems, &settings, &stats));
        let own = Problems { other: None, ..problems };
        time(e, &format!("sinkhorn 20 iterations with itself {name}"), |p| solve(p, &own, &settings, &stats));
        time(e, &format!("sinkhorn plan {name}"), |p| transport_plan(p, &problems, &settings, 1.0, &dy, &pi));
    }
    let (stats, all, y) = (tensor(e, &[64, 8]), tensor(e, &[64, 4]), tensor(e, &[64]));
    time(e, "sinkhorn debias 64", |p| divergence(p, [&stats, &stats, &stats], &all, &y));
}
