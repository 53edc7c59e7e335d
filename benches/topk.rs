use crate::common::{noise, tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::matmul::{Op, matmul};
use echogrid::kernels::topk::{Scratch, TopK, clear, score_block, select_block};
use half::f16;

pub fn run(e: &Engine) {
    let (n, d) = (100_000, 256);
    let half: Vec<f16> = noise(n * d).iter().map(|v| f16::from_f32(*v)).collect();
    let x = e.upload("x", &[n, d], DType::F16, &half).unwrap();
    for (nq, rows) in [(1, n), (8, n), (128, 16_384)] {
        let (q, scores) = (e.upload_f32("q", &[nq, d], &noise(nq * d)).unwrap(), tensor(e, &[nq, rows]));
        time(e, &format!("topk score {nq} x {rows} x {d} f16"), |p| score_block(p, &q, &x, 0, nq, 0, rows, &scores));
        for k in if nq == 1 { vec![10, 100, 1000] } else { vec![10, 100] } {
            let (ls, li) = (tensor(e, &[nq, k]), e.tensor("ids", &[nq, k], DType::U32).unwrap());
            let scratch = Scratch::new(e, nq, rows, k).unwrap();
            time(e, &format!("topk select {nq} x {rows} k={k}"), |p| {
                clear(p, &ls, &li)?;
                select_block(p, &scores, nq, rows, 0, 0, &ls, &li, &scratch)
            });
        }
    }
    // What there would be without selection: a product, and a sort of its scores (the best 65,536 of them, in runs of as many).
    let (nq, rows) = (16, 100_000);
    let (q, x32) = (e.upload_f32("q", &[nq, d], &noise(nq * d)).unwrap(), e.upload_f32("x", &[n, d], &noise(n * d)).unwrap());
    let scores = tensor(e, &[nq, rows]);
    let (ls, li) = (tensor(e, &[nq, 65_536]), e.tensor("ids", &[nq, 65_536], DType::U32).unwrap());
    let scratch = Scratch::new(e, nq, rows, 65_536).unwrap();
    time(e, &format!("topk by product and sort {nq} queries x {rows} x {d}"), |p| {
        matmul(p, &q, Op::Plain, &x32, Op::Transposed, &scores)?;
        clear(p, &ls, &li)?;
        select_block(p, &scores, nq, rows, 0, 0, &ls, &li, &scratch)
    });
    for (nq, k) in [(1, 10), (1, 100), (1, 50_000), (1000, 10), (1000, 100)] {
        let q = e.upload_f32("q", &[nq, d], &noise(nq * d)).unwrap();
        let top = TopK::new(e, nq, k, n).unwrap();
        time(e, &format!("topk {nq} queries x {n} x {d} f16 k={k}"), |p| {
            top.begin(p)?;
            top.add_shard(p, &q, &x, 0, n)
        });
    }
}
