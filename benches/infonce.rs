use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::infonce::{InfoNce, backward, forward, stats_shape};

pub fn run(e: &Engine) {
    for b in [64, 256] {
        let (s, ds, w) = (tensor(e, &[b, b]), tensor(e, &[b, b]), e.upload_f32("w", &[b, b], &vec![1.0 / b as f32; b * b]).unwrap());
        let (t, stats, loss, acc) = (tensor(e, &[1]), tensor(e, &stats_shape(b)), tensor(e, &[1]), tensor(e, &[1]));
        let (dloss, partial, dt) = (tensor(e, &[1]), tensor(e, &[b]), tensor(e, &[1]));
        for weights in [None, Some(&w)] {
            let x = InfoNce { similarity: &s, log_scale: &t, weights, smoothing: 0.1 };
            let name = if weights.is_some() { "weighted " } else { "" };
            time(e, &format!("infonce {name}B={b}"), |p| forward(p, x, &stats, &loss, &acc));
            time(e, &format!("infonce backward {name}B={b}"), |p| backward(p, x, &stats, &dloss, &ds, &partial, &dt));
        }
    }
}
