use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::slide::{Slide, common, common_backward_c, common_backward_q, correlate};

pub fn run(e: &Engine) {
    let (rows, dim, slide) = (32 * 20, 1024, Slide { side: 8, reach: 2 });
    let (q, c, scores) = (tensor(e, &[32, dim]), tensor(e, &[rows, dim]), tensor(e, &[rows, slide.shifts()]));
    let owners = e.upload("owners", &[rows], DType::U32, &(0..rows as u32).map(|r| r / 20).collect::<Vec<_>>()).unwrap();
    time(e, "slide 32 queries x 20 grids 8 x 8 x 16, 25 shifts", |p| correlate(p, slide, &q, &c, &owners, &scores));
    let shifts = e.upload("shifts", &[rows], DType::U32, &(0..rows as u32).map(|r| r % 25).collect::<Vec<_>>()).unwrap();
    let y = tensor(e, &[32 * 21, dim]);
    time(e, "common 32 queries x 20 grids 8 x 8 x 16", |p| common(p, slide, &q, &c, &shifts, &y));
    let (dq, dc) = (tensor(e, &[32, dim]), tensor(e, &[rows, dim]));
    time(e, "common backward 32 queries x 20 grids 8 x 8 x 16", |p| {
        common_backward_q(p, slide, &c, &y, &shifts, &dq)?;
        common_backward_c(p, slide, &q, &y, &shifts, &dc)
    });
}
