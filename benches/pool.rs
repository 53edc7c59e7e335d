use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::pool::{Pool, Window, backward, forward, generalised_mean, generalised_mean_backward, global_average};

pub fn run(e: &Engine) {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, dx) = (tensor(e, &shape), tensor(e, &shape));
        for (pool, window) in [(Pool::Max, Window::square(3, 2, 1)), (Pool::Average, Window::square(2, 2, 0))] {
            let y = tensor(e, &[shape[0], shape[1] / 2, shape[2] / 2, shape[3]]);
            time(e, &format!("{pool:?} pool {name}"), |p| forward(p, pool, &window, &x, &y));
            time(e, &format!("{pool:?} pool backward {name}"), |p| backward(p, pool, &window, &x, &y, &dx));
        }
        let (y, dy, p, dp) = (tensor(e, &[shape[0], shape[3]]), tensor(e, &[shape[0], shape[3]]), tensor(e, &[1]), tensor(e, &[1]));
        e.write(&p, &[3.0f32]).unwrap();
        time(e, &format!("global average {name}"), |b| global_average(b, &x, &y));
        time(e, &format!("generalised mean {name}"), |b| generalised_mean(b, &x, &p, 1e-6, &y));
        let back = |b: &mut echogrid::gpu::PlanBuilder<'_>| generalised_mean_backward(b, &x, &y, &p, 1e-6, &dy, &dx, &dp, false);
        time(e, &format!("generalised mean backward {name}"), back);
    }
}
