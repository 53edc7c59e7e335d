use super::common::Bench;
use crate::Result;
use crate::kernels::optim::{AdamW, Sgd, Step, adamw, grad_norm, mean, partials_len, sgd};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let n = 1_000_000;
    let (g, w, m, v) = (bench.tensor(&[n])?, bench.tensor(&[n])?, bench.tensor(&[n])?, bench.engine.upload_f32("v", &[n], &vec![1.0; n])?);
    let step = bench.engine.upload_f32("step", &[8], &Step { lr: 1e-6, t: 1, grad_scale: 1.0, share: 0.0 }.tensor_values(0.9, 0.999))?;
    let (partials, clip) = (bench.tensor(&[partials_len(&[&g])])?, bench.tensor(&[4])?);
    bench.time("gradient norm 1M", |p| grad_norm(p, &[&g], &step, 1.0, &partials, &clip, None))?;
    bench.time("adamw 1M", |p| adamw(p, AdamW::default(), &g, &step, None, &w, &m, &v))?;
    bench.time("adamw clipped 1M", |p| adamw(p, AdamW::default(), &g, &step, Some(&clip), &w, &m, &v))?;
    let hyper = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
    bench.time("sgd nesterov 1M", |p| sgd(p, hyper, &g, &step, None, &w, &m))?;
    bench.time("running mean 1M", |p| mean(p, &w, &step, &m))?;
    Ok(())
}
