use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::optim::{AdamW, Sgd, Step, adamw, grad_norm, partials_len, sgd};

pub fn run(e: &Engine) {
    let n = 1_000_000;
    let (g, w, m, v) = (tensor(e, &[n]), tensor(e, &[n]), tensor(e, &[n]), e.upload_f32("v", &[n], &vec![1.0; n]).unwrap());
    let step = e.upload_f32("step", &[8], &Step { lr: 1e-6, t: 1, grad_scale: 1.0 }.tensor_values(0.9, 0.999)).unwrap();
    let (partials, clip) = (tensor(e, &[partials_len(&[&g])]), tensor(e, &[4]));
    time(e, "gradient norm 1M", |p| grad_norm(p, &[&g], &step, 1.0, &partials, &clip));
    time(e, "adamw 1M", |p| adamw(p, AdamW::default(), &g, &step, None, &w, &m, &v));
    time(e, "adamw clipped 1M", |p| adamw(p, AdamW::default(), &g, &step, Some(&clip), &w, &m, &v));
    let hyper = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
    time(e, "sgd nesterov 1M", |p| sgd(p, hyper, &g, &step, None, &w, &m));
}
