//! Where an image has data, at a coarse scale: answers "what share of this window is missing?" at once.

use rayon::prelude::*;

use super::{Raster, Result};

/// Shares of valid pixels in square blocks, summed from the upper left corner.
#[derive(Debug, Clone)]
pub struct ValidityMask {
    block: u32,
    columns: usize,
    rows: usize,
    /// `(rows + 1) x (columns + 1)`: valid pixels above and left, in blocks.
    sums: Vec<f64>,
}

/// Blocks kept at most: 8 bytes each.
const MAX_BLOCKS: u64 = 8 << 20;

impl ValidityMask {
    /// Reads a raster once, by strips.
    ///
    /// # Errors
    /// Errors of reading.
    pub fn new(raster: &Raster) -> Result<Self> {
        let (w, h) = (raster.width(), raster.height());
        let mut block = 8;
        while u64::from(w.div_ceil(block)) * u64::from(h.div_ceil(block)) > MAX_BLOCKS {
            block *= 2;
        }
        let (columns, rows) = (w.div_ceil(block) as usize, h.div_ceil(block) as usize);
        let mut sums = vec![0.0; (columns + 1) * (rows + 1)];
        // Whole chunks of the file at a time where they are small, so that each is decoded once.
        let (_, chunk) = raster.chunk_size();
        let strip = block * chunk.min(512).div_ceil(block).max(1);
        let segment = block * (2048 / block).max(1);
        // A strip's rows of blocks are its own, so strips are counted side by side.
        let per_strip = (strip / block) as usize * (columns + 1);
        sums[columns + 1..].par_chunks_mut(per_strip).enumerate().try_for_each(|(i, sums)| -> Result<()> {
            let y0 = i as u32 * strip;
            let lines = strip.min(h - y0);
            for x0 in (0..w).step_by(segment as usize) {
                let width = segment.min(w - x0);
                if !raster.stored(i64::from(x0), i64::from(y0), width, lines) {
                    continue;
                }
                let window = raster.read_window(i64::from(x0), i64::from(y0), width, lines)?;
                for (y, line) in window.valid.chunks_exact(width as usize).enumerate() {
                    let row = &mut sums[y / block as usize * (columns + 1) + 1..][..columns];
                    let row = &mut row[(x0 / block) as usize..];
                    for (sum, part) in row.iter_mut().zip(line.chunks(block as usize)) {
                        *sum += part.iter().map(|v| u32::from(*v)).sum::<u32>() as f64;
                    }
                }
            }
            Ok(())
        })?;
        for row in 1..=rows {
            let mut left = 0.0;
            for column in 1..=columns {
                let at = row * (columns + 1) + column;
                left += sums[at];
                sums[at] = left + sums[at - columns - 1];
            }
        }
        Ok(Self { block, columns, rows, sums })
    }

    /// Share of the window's pixels that have data, 0..=1, to the accuracy of a block along its border; what lies outside the
    /// image has none.
    pub fn share(&self, x0: f64, y0: f64, width: f64, height: f64) -> f64 {
        let at = |x: f64, y: f64| {
            let b = f64::from(self.block);
            let (x, y) = ((x / b).clamp(0.0, self.columns as f64), (y / b).clamp(0.0, self.rows as f64));
            let (i, j) = ((x as usize).min(self.columns.saturating_sub(1)), (y as usize).min(self.rows.saturating_sub(1)));
            let (u, v) = (x - i as f64, y - j as f64);
            let s = |i: usize, j: usize| self.sums[j * (self.columns + 1) + i];
            s(i, j) * (1.0 - u) * (1.0 - v) + s(i + 1, j) * u * (1.0 - v) + s(i, j + 1) * (1.0 - u) * v + s(i + 1, j + 1) * u * v
        };
        let (x1, y1) = (x0 + width, y0 + height);
        ((at(x1, y1) - at(x0, y1) - at(x1, y0) + at(x0, y0)) / (width * height)).clamp(0.0, 1.0)
    }
}
