use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::sinkhorn_online::{Cloud, Ground, Problem, Settings, Side, gradient, points};

pub fn run(e: &Engine) {
    for (n, d) in [(1024, 64), (4096, 64), (4096, 2)] {
        let w = e.upload_f32("w", &[n], &vec![1.0 / n as f32; n]).unwrap();
        let (x, mean) = (tensor(e, &[n, d]), tensor(e, &[d]));
        let cloud = Cloud::new(e, Ground::SquaredEuclidean, n, d).unwrap();
        let name = format!("{n}x{n}, {d} dimensions");
        time(e, &format!("sinkhorn points {name}"), |p| points(p, &x, &w, Some([&mean, &mean]), &cloud));
        // Never met, so that no iteration leaves early.
        let settings = Settings { eps: 1.0, scaling: 0.25, tolerance: 0.0, most: u32::MAX };
        let pair = Problem::new(e, &cloud, Some(&cloud), settings).unwrap();
        let own = Problem::new(e, &cloud, None, settings).unwrap();
        time(e, &format!("sinkhorn start {name}"), |p| pair.start(p));
        time(e, &format!("sinkhorn iteration {name}"), |p| pair.iteration(p));
        time(e, &format!("sinkhorn iteration with itself {name}"), |p| own.iteration(p));
        let padded = cloud.rows.shape();
        let (u, v, dx) = (tensor(e, padded), tensor(e, padded), tensor(e, &[n, d]));
        time(e, &format!("sinkhorn barycentres {name}"), |p| pair.barycentres(p, Side::X, &u));
        time(e, &format!("sinkhorn gradient {name}"), |p| gradient(p, Ground::SquaredEuclidean, &x, &w, &u, &v, &dx));
    }
}
