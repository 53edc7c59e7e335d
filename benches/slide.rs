use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::slide::{Slide, common, common_backward_c, common_backward_q, correlate};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (rows, dim, slide) = (32 * 20, 1024, Slide { side: 8, reach: 2 });
    let (q, c, scores) = (bench.tensor(&[32, dim])?, bench.tensor(&[rows, dim])?, bench.tensor(&[rows, slide.shifts()])?);
    let owners = bench.engine.upload("owners", &[rows], DType::U32, &(0..rows as u32).map(|r| r / 20).collect::<Vec<_>>())?;
    bench.time("slide 32 queries x 20 grids 8 x 8 x 16, 25 shifts", |p| correlate(p, slide, &q, &c, &owners, &scores))?;
    let shifts = bench.engine.upload("shifts", &[rows], DType::U32, &(0..rows as u32).map(|r| r % 25).collect::<Vec<_>>())?;
    let y = bench.tensor(&[32 * 21, dim])?;
    bench.time("common 32 queries x 20 grids 8 x 8 x 16", |p| common(p, slide, &q, &c, &shifts, &y))?;
    let (dq, dc) = (bench.tensor(&[32, dim])?, bench.tensor(&[rows, dim])?);
    bench.time("common backward 32 queries x 20 grids 8 x 8 x 16", |p| {
        common_backward_q(p, slide, &c, &y, &shifts, &dq)?;
        common_backward_c(p, slide, &q, &y, &shifts, &dc)
    })?;
    Ok(())
}
