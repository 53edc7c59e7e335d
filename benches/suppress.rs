use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::suppress::suppress;

pub fn run(e: &Engine) {
    let (nq, groups, views) = (128, 250, 49);
    let scores = tensor(e, &[nq, groups * views]);
    let words: Vec<u32> = (0..=groups as u32).map(|g| g * views as u32).collect();
    let starts = e.upload("starts", &[words.len()], DType::U32, &words).unwrap();
    time(e, "suppress 128 x 12,250 in groups of 49", |p| suppress(p, &starts, &scores, nq, groups * views));
}
