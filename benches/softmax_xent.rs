use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::softmax_xent::{Target, backward, forward};

pub fn run(e: &Engine) {
    for (n, k) in [(64, 10), (256, 1024)] {
        let (x, dx, stats) = (tensor(e, &[n, k]), tensor(e, &[n, k]), tensor(e, &[n, 4]));
        let (share, loss, dloss) = (tensor(e, &[1]), tensor(e, &[1]), tensor(e, &[1]));
        let labels = e.upload("labels", &[n], DType::U32, &vec![1u32; n]).unwrap();
        let target = Target::Labels(&labels);
        time(e, &format!("softmax_xent {n}x{k}"), |p| forward(p, &x, target, 0.1, &stats, &share, &loss));
        time(e, &format!("softmax_xent backward {n}x{k}"), |p| backward(p, &x, target, 0.1, &stats, &share, &dloss, &dx));
    }
}
