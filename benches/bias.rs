use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::bias::{Backward, backward, forward};

pub fn run(e: &Engine) {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, y, dy, dx) = (tensor(e, &shape), tensor(e, &shape), tensor(e, &shape), tensor(e, &shape));
        let c = &shape[3..];
        let (s, b, ds, db) = (tensor(e, c), tensor(e, c), tensor(e, c), tensor(e, c));
        time(e, &format!("bias relu {name}"), |p| forward(p, &x, None, &b, true, &y));
        time(e, &format!("scale bias relu {name}"), |p| forward(p, &x, Some(&s), &b, true, &y));
        let plain = Backward { x: None, y: Some(&y), scale: None, dy: &dy, dx: Some(&dx), dscale: None, dbias: &db, accumulate: false };
        time(e, &format!("bias relu backward {name}"), |p| backward(p, &plain));
        let scaled = Backward { x: Some(&x), scale: Some(&s), dscale: Some(&ds), ..plain };
        time(e, &format!("scale bias relu backward {name}"), |p| backward(p, &scaled));
    }
}
