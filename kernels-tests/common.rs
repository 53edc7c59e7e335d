//! What the kernel tests share: engines, random data, comparisons.
#![allow(dead_code)]

use echogrid::gpu::{AdapterChoice, DType, Engine, Plan, PlanBuilder, Result, Tensor};
use half::f16;
use std::sync::{LazyLock, Mutex, MutexGuard};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)"));
static BASELINE: LazyLock<Engine> =
    LazyLock::new(|| pollster::block_on(Engine::new_baseline(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)"));
static LOCK: Mutex<()> = Mutex::new(());

/// One device for all tests; the lock keeps software adapters from thrashing.
pub fn engine() -> (&'static Engine, MutexGuard<'static, ()>) {
    (&ENGINE, LOCK.lock().unwrap_or_else(|e| e.into_inner()))
}

/// Both tiers: all the adapter offers, and `Limits::default()` with no feature.
pub fn engines() -> ([&'static Engine; 2], MutexGuard<'static, ()>) {
    ([&ENGINE, &BASELINE], LOCK.lock().unwrap_or_else(|e| e.into_inner()))
}

/// A device as an app would open it: its own instance, `Limits::default()`, no feature, nothing of echogrid.
pub fn foreign() -> (wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let wanted = ENGINE.adapter().name.clone();
    pollster::block_on(async {
        let all = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let adapter = all.into_iter().find(|a| a.get_info().name == wanted).expect("the adapter of the other tests");
        adapter.request_device(&wgpu::DeviceDescriptor::default()).await.expect("a device")
    })
}

/// Deterministic numbers in [-1, 1): splitmix64 of the seed and the index.
pub fn random(n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let mut z = (seed << 32).wrapping_add(i).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn f64s(v: &[f32]) -> Vec<f64> {
    v.iter().map(|x| f64::from(*x)).collect()
}

/// Numbers that f16 holds, so that rounding to it changes nothing.
pub fn halves(n: usize, seed: u64) -> Vec<f32> {
    random(n, seed).iter().map(|v| f16::from_f32(*v).to_f32()).collect()
}

/// Uploads an f32 tensor.
pub fn up(e: &Engine, shape: &[usize], data: &[f32]) -> Tensor {
    e.upload_f32("test", shape, data).unwrap()
}

/// Uploads a tensor rounded to f16, and gives what it holds.
pub fn up_f16(e: &Engine, shape: &[usize], data: &[f32]) -> (Tensor, Vec<f32>) {
    let data: Vec<f16> = data.iter().map(|v| f16::from_f32(*v)).collect();
    let t = e.upload("x", shape, DType::F16, &data).unwrap();
    (t, data.iter().map(|v| v.to_f32()).collect())
}

/// Whether a NaN stays one through arithmetic: compilers of GLSL may assume that there is none.
pub fn keeps_nan(e: &Engine) -> bool {
    e.adapter().backend != "gl"
}

/// An output tensor filled with a sentinel, so that an element left unwritten shows.
pub fn out(e: &Engine, shape: &[usize]) -> Tensor {
    up(e, shape, &vec![-777.0; shape.iter().product()])
}

/// Builds a plan, runs it twice and returns what `y` holds; the two runs must give the same bits.
pub fn run_twice(e: &Engine, y: &Tensor, build: impl Fn(&mut PlanBuilder<'_>) -> Result<()>) -> Vec<f32> {
    let plan = plan(e, build);
    plan.submit(e).unwrap();
    let first: Vec<f32> = e.read(y).unwrap();
    plan.submit(e).unwrap();
    let second: Vec<f32> = e.read(y).unwrap();
    let same = first.iter().zip(&second).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "two runs differ");
    first
}

pub fn plan(e: &Engine, build: impl Fn(&mut PlanBuilder<'_>) -> Result<()>) -> Plan {
    let mut b = PlanBuilder::new(e);
    build(&mut b).unwrap();
    b.finish()
}

/// An op's output with each of its tensors stored as f32 or f16 in turn, the output as input `like` is where that is given. Inputs that f16
/// holds are the same numbers in both, so the output as f16 is that as f32, rounded; what is below f16's normal numbers may become 0. A
/// device without f16 must say so.
pub fn stored_either_way(
    inputs: &[(&[usize], &[f32])],
    output: &[usize],
    like: Option<usize>,
    build: impl Fn(&mut PlanBuilder<'_>, &[Tensor], &Tensor) -> Result<()>,
) {
    let ([e, baseline], _lock) = engines();
    let store = |e: &Engine, shape: &[usize], data: &[f32], half: bool| match half {
        true => up_f16(e, shape, data).0,
        false => up(e, shape, data),
    };
    let run = |e: &Engine, bits: usize| -> Result<Vec<f32>> {
        let half = |i: usize| bits >> i & 1 == 1;
        let given: Vec<Tensor> = inputs.iter().enumerate().map(|(i, (shape, data))| store(e, shape, data, half(i))).collect();
        let y = store(e, output, &vec![-777.0; output.iter().product()], half(inputs.len()));
        let mut p = PlanBuilder::new(e);
        build(&mut p, &given, &y)?;
        p.finish().submit(e)?;
        match y.dtype() {
            DType::F16 => Ok(e.read::<f16>(&y)?.iter().map(|v| v.to_f32()).collect()),
            _ => e.read(&y),
        }
    };
    let exact = run(e, 0).unwrap();
    for bits in 1..2usize << inputs.len() {
        if like.is_some_and(|i| (bits >> i ^ bits >> inputs.len()) & 1 == 1) {
            continue;
        }
        says(run(baseline, bits), "no f16 in shaders");
        if !e.caps().f16 {
            continue;
        }
        let got = run(e, bits).unwrap();
        match bits >> inputs.len() {
            // The same numbers in the same order, but a compiler may fuse others of them; and round to f16 upwards or downwards.
            0 => close(&got, &f64s(&exact), 1e-5, 1e-5),
            _ => close(&got, &f64s(&exact), 6.2e-5, 2f64.powi(-10) + 1e-5),
        }
    }
}

/// |got - want| <= abs + rel * |want|, elementwise; the worst offender is named.
#[track_caller]
pub fn close(got: &[f32], want: &[f64], abs: f64, rel: f64) {
    assert_eq!(got.len(), want.len(), "lengths");
    let worst = got
        .iter()
        .zip(want)
        .enumerate()
        .map(|(i, (g, w))| ((f64::from(*g) - w).abs() - abs - rel * w.abs(), i))
        .fold((f64::NEG_INFINITY, 0), |a, b| if b.0 > a.0 || b.0.is_nan() { b } else { a });
    let i = worst.1;
    assert!(worst.0 <= 0.0, "element {i}: got {}, want {}, bound {abs:e} + {rel:e} * |want|", got[i], want[i]);
}

/// A refusal whose text names the reason.
#[track_caller]
pub fn says<T: std::fmt::Debug>(r: Result<T>, words: &str) {
    let text = r.unwrap_err().to_string();
    assert!(text.contains(words), "{text}, not {words}");
}

/// <a, b> in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// Unit round-off of f32.
pub const EPS: f64 = 5.96e-8;
