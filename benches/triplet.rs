use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::triplet::{Triplet, backward, forward, records_shape};

pub fn run(e: &Engine) {
    for b in [64, 256] {
        let (s, ds, loss, dloss) = (tensor(e, &[b, b]), tensor(e, &[b, b]), tensor(e, &[1]), tensor(e, &[1]));
        let records = e.tensor("records", &records_shape(b), DType::U32).unwrap();
        time(e, &format!("triplet B={b}"), |p| forward(p, Triplet::default(), &s, &records, &loss));
        time(e, &format!("triplet backward B={b}"), |p| backward(p, Triplet::default(), &records, &dloss, &ds));
    }
}
