//! The same products and convolutions in echogrid and in burn, on one adapter, in one run, taking turns.
//!
//! `cargo run --release [-- FILE.json]` in this folder; prints a line a case and keeps them all in the file.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use echogrid::gpu::{AdapterChoice, Engine, PlanBuilder, Result};
use echogrid::kernels::conv::{Conv, backward_input, backward_weights, forward};
use echogrid::kernels::matmul::{Op, matmul};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Instant;

/// Runs of each, after one to warm up.
const RUNS: usize = 7;

/// Seconds of both, taking turns.
fn turns(mut ours: impl FnMut(), mut theirs: impl FnMut()) -> [Vec<f64>; 2] {
    let time = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    (ours(), theirs());
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        all[0].push(time(&mut ours));
        all[1].push(time(&mut theirs));
    }
    all
}

/// One line and one record.
fn case(name: &str, flops: f64, mut seconds: [Vec<f64>; 2]) -> Value {
    seconds.iter_mut().for_each(|s| s.sort_by(f64::total_cmp));
    let median = |s: &[f64]| s[s.len() / 2];
    let [a, b] = [median(&seconds[0]), median(&seconds[1])];
    println!("{name:<44} echogrid {:>7.2} burn {:>7.2} GFLOP/s, ratio {:.1}", flops / a * 1e-9, flops / b * 1e-9, b / a);
    json!({
        "name": name, "flops": flops, "echogrid_s": a, "burn_s": b, "ratio": b / a,
        "echogrid_range_s": [seconds[0][0], seconds[0][RUNS - 1]], "burn_range_s": [seconds[1][0], seconds[1][RUNS - 1]],
    })
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None)))?;
    let device = Device::wgpu(Default::default());
    println!("adapter: {}", engine.adapter());
    let mut cases = Vec::new();

    let values = |n: usize, by: usize| -> Vec<f32> { (0..n).map(|i| ((i * by % 101) as f32 - 50.0) / 50.0).collect() };
    let upload = |shape: &[usize], by: usize| engine.upload_f32("x", shape, &values(shape.iter().product(), by));
    let plan = |build: &dyn Fn(&mut PlanBuilder<'_>) -> Result<()>| -> Result<_> {
        let mut builder = PlanBuilder::new(&engine);
        build(&mut builder)?;
        Ok(builder.finish())
    };
    let run = |plan: &echogrid::gpu::Plan| {
        plan.submit(&engine).expect("a device");
        engine.wait("peer").expect("a device");
    };
    let sync = || device.sync().expect("a device");

    let n = 1024;
    let (a, b, c) = (upload(&[n, n], 37)?, upload(&[n, n], 53)?, upload(&[n, n], 1)?);
    let product = plan(&|p| matmul(p, &a, Op::Plain, &b, Op::Plain, &c))?;
    let square = |by: usize| Tensor::<1>::from_floats(values(n * n, by).as_slice(), &device).reshape([n, n]);
    let (ba, bb) = (square(37), square(53));
    let ours: Vec<f32> = {
        run(&product);
        engine.read(&c)?
    };
    let theirs: Vec<f32> = ba.clone().matmul(bb.clone()).into_data().try_to_vec()?;
    let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-3 * n as f32, "the products differ by up to {apart}");
    let seconds = turns(|| run(&product), || (drop(ba.clone().matmul(bb.clone())), sync()).1);
    cases.push(case("product 1024 x 1024 x 1024", 2.0 * (n as f64).powi(3), seconds));

    for (batch, size, channels) in [(8, 32, 64), (32, 8, 128)] {
        let conv = Conv::square(3, 1, 1);
        let xs = [batch, size, size, channels];
        let weights = conv.weights(channels, channels);
        let (x, w, y) = (upload(&xs, 37)?, upload(&weights, 53)?, upload(&xs, 1)?);
        let (dx, dw) = (upload(&xs, 1)?, upload(&weights, 1)?);
        let once = plan(&|p| forward(p, &conv, &x, &w, None, false, &y))?;
        let both = plan(&|p| {
            forward(p, &conv, &x, &w, None, false, &y)?;
            backward_input(p, &conv, &y, &w, &dx)?;
            backward_weights(p, &conv, &x, &y, &dw)
        })?;
        let flops = 2.0 * (batch * size * size * channels * channels * 9) as f64;
        let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let random = |shape: [usize; 4], device: &Device| Tensor::<4>::random(shape, Distribution::Default, device);
        let (bx, bw) = (random([batch, channels, size, size], &device), random([channels, channels, 3, 3], &device));
        let name = format!("convolution 3x3 {channels}->{channels}, {batch} x {size} x {size}");
        let seconds = turns(|| run(&once), || (drop(conv2d(bx.clone(), bw.clone(), None, options())), sync()).1);
        cases.push(case(&format!("{name}, forward"), flops, seconds));
        let trained = device.clone().autodiff();
        let (bx, bw) = (random([batch, channels, size, size], &trained), random([channels, channels, 3, 3], &trained));
        let seconds = turns(
            || run(&both),
            || {
                let (x, w) = (bx.clone().require_grad(), bw.clone().require_grad());
                let gradients = conv2d(x.clone(), w.clone(), None, options()).sum().backward();
                drop((x.grad(&gradients), w.grad(&gradients)));
                sync();
            },
        );
        cases.push(case(&format!("{name}, forward and both gradients"), 3.0 * flops, seconds));
    }

    if let Some(path) = std::env::args().nth(1) {
        let git = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--exclude=*", "--dirty=+"]).output().ok().filter(|o| o.status.success());
        let record = json!({
            "adapter": engine.adapter().to_string(), "burn": "0.22", "echogrid": env!("CARGO_PKG_VERSION"), "commit": git.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()),
            "runs": RUNS, "cases": cases,
            "note": "the same adapter, one run, taking turns; medians, and the range of all runs",
        });
        std::fs::write(path, serde_json::to_string_pretty(&record)? + "\n")?;
    }
    Ok(())
}
