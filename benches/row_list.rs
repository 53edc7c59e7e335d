use super::common::Bench;
use crate::Result;
use crate::kernels::row_list::{RowList, gather, scatter};
use crate::random::splitmix;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    // The boxes that count of eight images of 416 px, of YOLOv3's rows; and as many rows as a box head reads, of 256 values.
    for (rows, slots, f) in [(8 * 10_647, 1_024, 6), (16_000, 4_096, 256)] {
        let list = RowList::new(bench.engine, rows, slots)?;
        let picks: Vec<u32> = (0..slots).map(|i| (splitmix(i as u64) % rows as u64) as u32).collect();
        list.write(bench.engine, &picks)?;
        let (x, y) = (bench.tensor(&[rows, f])?, bench.tensor(&[slots, f])?);
        bench.time(&format!("row_list gather {slots} of {rows} x {f}"), |p| gather(p, &list, &x, &y))?;
        bench.time(&format!("row_list scatter {slots} to {rows} x {f}"), |p| scatter(p, &list, &y, &x))?;
    }
    Ok(())
}
