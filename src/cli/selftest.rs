//! A few kernels against their twins on the chosen adapter: drivers are known to lie.

mod boxes;

use crate::Result;
use crate::gpu::{DType, Engine, PAGE, PageArray, PageTable, PlanBuilder, Tensor, cut_page};
use crate::kernels::conv::Conv;
use crate::kernels::matmul::Op;
use crate::kernels::norm::{Norm, Running};
use crate::kernels::sampler::PatchRecord;
use crate::kernels::topk::TopK;
use crate::kernels::{conv, fft, matmul, norm, sampler, spectrum};
use crate::random::{signed as random, splitmix};
use crate::reference;
use half::f16;
use serde::Serialize;

/// What became of one check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// The kernel.
    pub(super) kernel: &'static str,
    /// Whether it agrees with its twin.
    pub(super) ok: bool,
    /// The largest difference, or what went wrong.
    pub(super) detail: String,
}

/// Unit round-off of f32.
const EPS: f64 = 5.96e-8;

fn f64s(v: &[f32]) -> Vec<f64> {
    v.iter().map(|x| f64::from(*x)).collect()
}

/// Largest difference, which must stay within a bound.
fn compare(engine: &Engine, got: &Tensor, want: &[f64], bound: f64) -> Result<(bool, String)> {
    let got: Vec<f32> = engine.read(got)?;
    let off = reference::furthest(&got, want);
    Ok((off <= bound, format!("off by {off:.1e} at most, {bound:.1e} allowed")))
}

fn submit(engine: &Engine, build: impl FnOnce(&mut PlanBuilder<'_>) -> crate::gpu::Result<()>) -> Result<()> {
    let mut plan = PlanBuilder::new(engine);
    build(&mut plan)?;
    Ok(plan.finish().submit(engine)?)
}

/// A sum of n products of numbers below 1, each rounded: see kernels-tests/conv.rs.
fn product_bound(n: usize) -> f64 {
    4.0 * EPS * (n as f64).powf(1.5)
}

fn convolution(e: &Engine, pass: usize) -> Result<(bool, String)> {
    let conv = Conv::square(3, 1, 1);
    let (xs, co) = ([2, 16, 17, 32], 36);
    let s = reference::conv::Sizes::new(&conv, xs, co)?;
    let ws = conv.weights(xs[3], co);
    let (x, w, dy) = (random(xs.iter().product(), 1), random(ws.iter().product(), 2), random(s.y.iter().product(), 3));
    let (tx, tw, tdy) = (e.upload_f32("x", &xs, &x)?, e.upload_f32("w", &ws, &w)?, e.upload_f32("dy", &s.y, &dy)?);
    let (x, w, dy) = (f64s(&x), f64s(&w), f64s(&dy));
    match pass {
        0 => {
            let y = e.tensor("y", &s.y, DType::F32)?;
            submit(e, |p| conv::forward(p, &conv, &tx, &tw, None, false, &y))?;
            compare(e, &y, &reference::conv::forward(&conv, s, &x, &w, None), product_bound(ws[0] * ws[1]))
        }
        1 => {
            let dx = e.tensor("dx", &xs, DType::F32)?;
            submit(e, |p| conv::backward_input(p, &conv, &tdy, &tw, &dx))?;
            compare(e, &dx, &reference::conv::backward_input(&conv, s, &dy, &w), product_bound(ws[0] * co))
        }
        _ => {
            let dw = e.tensor("dw", &ws, DType::F32)?;
            submit(e, |p| conv::backward_weights(p, &conv, &tx, &tdy, &dw))?;
            compare(e, &dw, &reference::conv::backward_weights(&conv, s, &x, &dy), product_bound(s.y[0] * s.y[1] * s.y[2]))
        }
    }
}

fn product(e: &Engine) -> Result<(bool, String)> {
    let (m, k, n) = (65, 127, 68);
    let (a, b) = (random(m * k, 4), random(k * n, 5));
    let (ta, tb, c) = (e.upload_f32("a", &[m, k], &a)?, e.upload_f32("b", &[k, n], &b)?, e.tensor("c", &[m, n], DType::F32)?);
    submit(e, |p| matmul::matmul(p, &ta, Op::Plain, &tb, Op::Plain, &c))?;
    compare(e, &c, &reference::matmul::matmul(&f64s(&a), &f64s(&b), m, k, n), product_bound(k))
}

fn search(e: &Engine) -> Result<(bool, String)> {
    let (queries, rows, d, k) = (5, 300, 64, 9);
    // Eighths: products and sums are exact, so equal scores are equal and the order is certain.
    let eighths = |n, seed| random(n, seed).iter().map(|v| (v * 8.0).round() / 8.0).collect::<Vec<f32>>();
    let (q, x) = (eighths(queries * d, 6), eighths(rows * d, 7));
    let half: Vec<f16> = x.iter().map(|v| f16::from_f32(*v)).collect();
    let (tq, tx) = (e.upload_f32("queries", &[queries, d], &q)?, e.upload("rows", &[rows, d], DType::F16, &half)?);
    let top = TopK::new(e, queries, k, rows)?;
    submit(e, |p| {
        top.begin(p)?;
        top.add_shard(p, &tq, &tx, 0, rows)
    })?;
    let got: Vec<u32> = e.read(top.ids())?;
    let scores: Vec<f32> = reference::score::scores(&f64s(&q), &f64s(&x), d).iter().map(|v| *v as f32).collect();
    let want: Vec<u32> = scores.chunks(rows).flat_map(|s| reference::topk::best(s, k)).collect();
    let wrong = got.iter().zip(&want).filter(|(a, b)| a != b).count();
    Ok((wrong == 0 && got.len() == want.len(), format!("{wrong} of {} places differ", want.len())))
}

fn normalisation(e: &Engine) -> Result<(bool, String)> {
    let (shape, c, eps) = ([2, 31, 33, 12], 12, 1e-3f32);
    let x = random(shape.iter().product(), 8);
    let (gamma, beta) = (random(c, 9), random(c, 10));
    let up = |v: &[f32]| e.upload_f32("channels", &[c], v);
    let (tg, tb, mean, var) = (up(&gamma)?, up(&beta)?, up(&vec![0.0; c])?, up(&vec![1.0; c])?);
    let (tx, y, saved) = (e.upload_f32("x", &shape, &x)?, e.tensor("y", &shape, DType::F32)?, e.tensor("saved", &[2, c], DType::F32)?);
    let op = Norm { gamma: &tg, beta: &tb, eps, relu: false };
    submit(e, |p| norm::forward_batch(p, &op, &Running { mean: &mean, var: &var }, 0.1, &tx, &y, &saved))?;
    let x = f64s(&x);
    let (mean, var) = reference::norm::statistics(&x, c);
    // 100 roundings of values below 1, over a deviation of 0.577; gamma is below 1 and the result below 2: see kernels-tests/norm.rs.
    compare(e, &y, &reference::norm::apply(&x, &mean, &var, f64::from(eps), &f64s(&gamma), &f64s(&beta), false), 1000.0 * EPS)
}

fn sampling(e: &Engine) -> Result<(bool, String)> {
    let size = [700u32, 600];
    let texel = |x: u32, y: u32| {
        let h = splitmix(u64::from(y) << 32 | u64::from(x));
        if h >> 61 == 0 {
            [0.0; 4]
        } else {
            [(h & 511) as f32 / 64.0 - 4.0, (h >> 9 & 511) as f32 / 64.0 - 4.0, (h >> 18 & 511) as f32 / 64.0 - 4.0, 1.0]
        }
    };
    let pages = PageArray::new(e, 4)?;
    let mut table = PageTable::new(e, &pages, &[size])?;
    let [across, down] = table.pages(0);
    for (layer, page) in (0..across * down).map(|p| [p % across, p / across]).enumerate() {
        pages.write_page(e, layer as u32, &cut_page(size, page, texel))?;
        table.set(0, page, Some(layer as u32))?;
    }
    table.flush(e)?;
    let side = 32;
    let records = [
        PatchRecord::new(0, [PAGE as f64 + 0.3, 300.7], 2.3, 0.4, false, side)?,
        PatchRecord::new(0, [20.1, 580.9], 2.3, -1.1, true, side)?,
    ];
    let taps = sampler::taps_for(2.3);
    let t = sampler::records(e, records.len())?;
    e.write(&t, &records)?;
    let y = e.tensor("patches", &[records.len(), side, side, 4], DType::F32)?;
    submit(e, |p| sampler::forward(p, &pages, &table, &t, taps, false, &y))?;
    let inside = |x: i32, y: i32| x >= 0 && y >= 0 && (x as u32) < size[0] && (y as u32) < size[1];
    let twin = |_: u32, x: i32, y: i32| if inside(x, y) { texel(x as u32, y as u32) } else { [0.0; 4] };
    // A mean of at most 9 values below 4: no more than 12 roundings of them.
    compare(e, &y, &reference::sampler::forward(twin, &records, taps, false, side), 12.0 * 4.0 * EPS)
}

fn correlation(e: &Engine) -> Result<(bool, String)> {
    let ([q, w, c], [h, wide], [sh, sw]) = ([3, 4, 6], [16, 32], [6, 9]);
    let (sa, sb) = ([q, sh, sw, c], [w, h, wide, c]);
    let (a, b) = (random(sa.iter().product(), 11), random(sb.iter().product(), 12));
    let (ta, tb) = (e.upload_f32("a", &sa, &a)?, e.upload_f32("b", &sb, &b)?);
    let spectrum = |n, c| e.tensor("spectrum", &fft::half_shape(n, [h, wide], c), DType::F32);
    let (fa, fb, fs) = (spectrum(q, c)?, spectrum(w, c)?, spectrum(q, w)?);
    let s = e.tensor("correlation", &[q, h - sh + 1, wide - sw + 1, w], DType::F32)?;
    submit(e, |p| {
        fft::forward(p, &ta, &fa, 1.0)?;
        fft::forward(p, &tb, &fb, 1.0)?;
        spectrum::correlate(p, &fa, &fb, &fs)?;
        fft::inverse(p, &fs, &s, 1.0 / (h * wide) as f32)
    })?;
    // 320 roundings of the product of the two norms: see kernels-tests/spectrum.rs.
    let bound = 320.0 * EPS * ((sh * sw * c) as f64 * (h * wide * c) as f64).sqrt();
    compare(e, &s, &reference::spectrum::correlate_images(&f64s(&a), sa, &f64s(&b), sb), bound)
}

/// One kernel on an engine: whether it agrees with its twin, and by how much it is off.
type Run<'a> = &'a dyn Fn(&Engine) -> Result<(bool, String)>;

/// Runs all checks; a kernel that cannot run has failed.
pub(super) fn run(engine: &Engine) -> Vec<Check> {
    let all: [(&'static str, Run<'_>); 10] = [
        ("convolution", &|e| convolution(e, 0)),
        ("convolution, gradient of the input", &|e| convolution(e, 1)),
        ("convolution, gradient of the weights", &|e| convolution(e, 2)),
        ("matrix product", &product),
        ("batch normalisation", &normalisation),
        ("patch sampler", &sampling),
        ("top-k search", &search),
        ("correlation by transforms", &correlation),
        ("non-maximum suppression", &boxes::suppression),
        ("features of regions", &boxes::regions),
    ];
    all.into_iter()
        .map(|(kernel, check)| {
            let (ok, detail) = check(engine).unwrap_or_else(|e| (false, e.to_string()));
            Check { kernel, ok, detail }
        })
        .collect()
}
