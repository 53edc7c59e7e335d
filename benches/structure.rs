use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::structure::{finish, grey, oriented};

pub fn run(e: &Engine) {
    let side = 413;
    let x = e.upload_f32("bench", &[1, side, side, 4], &vec![1.0; side * side * 4]).unwrap();
    let g = tensor(e, &[1, side, side, 1]);
    time(e, &format!("structure grey {side}x{side}"), |p| grey(p, &x, [0.3, 0.6, 0.1], &g));
    for k in [4, 8, 16] {
        let (f, out) = (tensor(e, &[1, side, side, k]), tensor(e, &[1, side, side, k]));
        for power in [1.0, 0.5, 0.7] {
            time(e, &format!("structure oriented {side}x{side}x{k} ^{power}"), |p| oriented(p, &g, &x, 0.5, power, &f));
        }
        let planes = tensor(e, &[1, side, side, 2]);
        time(e, &format!("structure finish {side}x{side}x{k}"), |p| finish(p, &f, &x, 0.5, &out, &planes));
    }
}
