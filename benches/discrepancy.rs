use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::discrepancy::{Measure, backward, forward, parts_shape};

pub fn run(e: &Engine) {
    for (name, measure) in [("mmd", Measure::Mmd { bandwidths: [0.25, 0.5, 1.0, 2.0, 4.0] }), ("coral", Measure::Coral { dim: 256 })] {
        for n in [64, 512] {
            let [ab, aa, bb, dab, daa, dbb] = [0; 6].map(|_| tensor(e, &[n, n]));
            let (parts, loss) = (tensor(e, &parts_shape(n, n)), tensor(e, &[1]));
            time(e, &format!("discrepancy {name} {n}"), |p| forward(p, measure, [&ab, &aa, &bb], &parts, &loss));
            let gradients = [Some(&dab), Some(&daa), Some(&dbb)];
            time(e, &format!("discrepancy {name} backward {n}"), |p| backward(p, measure, [&ab, &aa, &bb], &loss, gradients));
        }
    }
}
