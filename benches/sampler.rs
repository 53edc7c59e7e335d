use super::common::Bench;
use crate::Result;
use crate::gpu::{DType, PAGE, PageArray, PageTable, cut_page};
use crate::kernels::sampler::{PatchRecord, forward, records, taps_for};

/// 64 patches of 200 px, resampled to 64 px, anywhere and at any angle; a pair is two patches.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (n, side) = (64, 64);
    let size = [4 * PAGE as u32; 2];
    let pages = PageArray::new(bench.engine, 16)?;
    let mut table = PageTable::new(bench.engine, &pages, &[size])?;
    for layer in 0..16 {
        let page = [layer % 4, layer / 4];
        let texels = cut_page(size, page, |x, y| [(x % 17) as f32 / 17.0, (y % 13) as f32 / 13.0, ((x ^ y) % 11) as f32 / 11.0, 1.0]);
        pages.write_page(bench.engine, layer, &texels)?;
        table.set(0, page, Some(layer))?;
    }
    table.flush(bench.engine)?;
    let out = bench.engine.tensor("out", &[n, side, side, 4], DType::F32)?;
    let input = records(bench.engine, n)?;
    for (px, augment, name) in [
        (64.0, false, "64 px"),
        (200.0, false, "200 px"),
        (200.0, true, "200 px, noise"),
        (200.0, true, "200 px, 4 looks, noise"),
        (512.0, false, "512 px"),
    ] {
        let scale = px / side as f64;
        let record = |i: usize| {
            let centre = [(i * 997 % 1536 + 256) as f64 + 0.3, (i * 331 % 1536 + 256) as f64 + 0.6];
            let r = PatchRecord::new(0, centre, scale, i as f64, i.is_multiple_of(2), side)?.with_rng(1, i as u32).with_noise(0.1);
            Ok(if name.contains("looks") { r.with_speckle(4, 5.0) } else { r })
        };
        let all = (0..n).map(record).collect::<Result<Vec<_>>>()?;
        bench.engine.write(&input, &all)?;
        let name = format!("sampler {n} x {name} to {side}");
        bench.time_items(&name, n, "patches", |p| forward(p, &pages, &table, &input, taps_for(scale), augment, &out))?;
    }
    Ok(())
}
