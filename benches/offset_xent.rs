use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::offset_xent::{OffsetXent, backward, forward, parts_shape, stats_shape};

pub fn run(e: &Engine) {
    // Patches of 48 in 8 windows of 128, and a validation's 50 in 16 of 256.
    for shape in [[16, 81, 81, 8], [16, 207, 207, 16]] {
        let (s, ds, p) = (tensor(e, &shape), tensor(e, &shape), shape[0]);
        let target: Vec<f32> = (0..p).flat_map(|i| [(i * 5) as f32, (i * 3) as f32, (i % shape[3]) as f32, 0.0]).collect();
        let target = e.upload_f32("target", &[p, 4], &target).unwrap();
        let (t, parts, stats) = (tensor(e, &[1]), tensor(e, &parts_shape(&shape)), tensor(e, &stats_shape(p)));
        let (loss, acc, dloss, dt) = (tensor(e, &[1]), tensor(e, &[1]), tensor(e, &[1]), tensor(e, &[1]));
        let x = OffsetXent { scores: &s, target: &target, log_scale: &t, factor: 1.0, radius: 1.5, most: 100.0 };
        let name = shape.map(|v| v.to_string()).join("x");
        time(e, &format!("offset_xent {name}"), |b| forward(b, x, &parts, &stats, &loss, &acc));
        time(e, &format!("offset_xent backward {name}"), |b| backward(b, x, &stats, &dloss, &ds, &dt));
    }
}
