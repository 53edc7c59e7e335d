//! Windows of a raster: chunks pasted together, without what is no data.

use std::sync::Arc;

use rayon::prelude::*;

use super::cache::ChunkCache;
use super::chunk::{Chunk, Marker, Samples};
use super::error::{Error, Result};
use super::nodata::{self, SOLID};
use super::raster::Raster;

/// A rectangle of pixels in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Width, px.
    pub width: u32,
    /// Height, px.
    pub height: u32,
    /// Bands a pixel.
    pub bands: u32,
    /// Samples in the file's own units, `[height, width, bands]`; 0 where the pixel is not valid.
    pub data: Vec<f32>,
    /// `[height, width]`: 1 where the pixel holds data, 0 where it is no-data or outside the raster.
    pub valid: Vec<u8>,
}

impl Window {
    /// Share of pixels without data, 0..=1.
    pub fn missing_share(&self) -> f32 {
        let valid: u64 = self.valid.iter().map(|&v| u64::from(v)).sum();
        1.0 - valid as f32 / self.valid.len().max(1) as f32
    }
}

impl Raster {
    /// Whether any tile that a rectangle touches is stored; what is not holds no data.
    pub fn stored(&self, x0: i64, y0: i64, width: u32, height: u32) -> bool {
        let Some(([left, right], [top, bottom])) = self.clip(x0, y0, width, height) else { return false };
        let l = &self.header.layout;
        let planes = self.planes();
        (top / l.chunk_height..=(bottom - 1) / l.chunk_height).any(|row| {
            (left / l.chunk_width..=(right - 1) / l.chunk_width)
                .any(|column| planes.iter().all(|plane| self.source.stored(l.index(*plane, row, column))))
        })
    }

    /// The columns and rows of a rectangle that lie in the image, if any.
    fn clip(&self, x0: i64, y0: i64, width: u32, height: u32) -> Option<([u32; 2], [u32; 2])> {
        let clip = |a: i64, n: u32, size: u32| {
            let end = a.saturating_add(i64::from(n)).clamp(0, i64::from(size));
            [a.clamp(0, i64::from(size)) as u32, end as u32]
        };
        let (x, y) = (clip(x0, width, self.width()), clip(y0, height, self.height()));
        (x[0] < x[1] && y[0] < y[1]).then_some((x, y))
    }

    /// The planes that hold what is read.
    pub(super) fn planes(&self) -> Vec<u32> {
        if self.header.layout.planes == 1 {
            return vec![0];
        }
        self.bands.iter().copied().chain(self.header.alpha).collect()
    }

    /// Reads the rectangle of `width` x `height` px whose upper left pixel is (`x0`, `y0`).
    ///
    /// It may lie partly or wholly outside the raster: what lies outside is not valid, with data 0.
    /// Samples of 32-bit integers and 64-bit floats are rounded to `f32`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unsupported`] or [`Error::Read`] from the tiles touched.
    pub fn read_window(&self, x0: i64, y0: i64, width: u32, height: u32) -> Result<Window> {
        let mut window = self.read_named(x0, y0, width, height)?;
        if !self.fills.is_empty() {
            self.clear_fill(&mut window, x0, y0)?;
        }
        Ok(window)
    }

    /// A window without what the file names as no data: by value, mask or alpha.
    fn read_named(&self, x0: i64, y0: i64, width: u32, height: u32) -> Result<Window> {
        let (pixels, bands) = (width as usize * height as usize, self.bands.len());
        let total = pixels.checked_mul(bands).filter(|n| *n < isize::MAX as usize / 4);
        let total = total.ok_or_else(|| Error::argument("window", format!("{width}x{height} px in {bands} bands exceed memory")))?;
        let mut window = Window { width, height, bands: bands as u32, data: vec![0.0; total], valid: vec![0; pixels] };
        let Some(([left, right], [top, bottom])) = self.clip(x0, y0, width, height) else {
            return Ok(window);
        };
        for y in top..bottom {
            let at = (i64::from(y) - y0) as usize * width as usize;
            window.valid[at..][(i64::from(left) - x0) as usize..(i64::from(right) - x0) as usize].fill(1);
        }
        let l = &self.header.layout;
        let columns = left / l.chunk_width..=(right - 1) / l.chunk_width;
        let rows = top / l.chunk_height..=(bottom - 1) / l.chunk_height;
        let planes = self.planes();
        // Few enough at a time that decoded chunks beyond the cache stay a small number.
        let batch = rayon::current_num_threads().clamp(1, 16) * 2;
        let places: Vec<(u32, u32, u32)> =
            rows.flat_map(|r| columns.clone().map(move |c| (r, c))).flat_map(|(r, c)| planes.iter().map(move |p| (*p, r, c))).collect();
        let marker = self.header.nodata.map(Marker::new);
        let mut hits = vec![0u16; if marker.is_some() { pixels } else { 0 }];
        let area = [i64::from(left), i64::from(top), i64::from(right), i64::from(bottom)];
        for group in places.chunks(batch) {
            for (place, chunk) in group.iter().zip(self.chunks(group)?) {
                self.paste(&chunk, *place, (x0, y0), area, &mut window, marker, &mut hits);
            }
        }
        if let Some(mask) = &self.mask {
            let mask = mask.read_named(x0, y0, width, height)?;
            let bands = mask.bands as usize;
            for ((v, seen), m) in window.valid.iter_mut().zip(&mask.valid).zip(mask.data.chunks_exact(bands)) {
                *v &= u8::from(*seen != 0 && m.iter().any(|m| *m != 0.0));
            }
        }
        clear(&mut window, &hits);
        Ok(window)
    }

    /// Clears pixels of fill values that lie in whole squares of such.
    fn clear_fill(&self, window: &mut Window, x0: i64, y0: i64) -> Result<()> {
        let bands = window.bands as usize;
        let values: Vec<f32> = self.fills.iter().map(|f| f.value as f32).collect();
        let filled = |w: &Window, p: usize| {
            let pixel = &w.data[p * bands..(p + 1) * bands];
            w.valid[p] != 0 && values.contains(&pixel[0]) && pixel.iter().all(|v| *v == pixel[0])
        };
        let (width, height) = (window.width as usize, window.height as usize);
        let mut suspects: Vec<usize> = (0..window.valid.len()).filter(|p| filled(window, *p)).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        // What holds no data anyhow completes a square; beyond the image its edge goes on, so that fill may taper off there.
        let (right, bottom) = (i64::from(self.width()) - 1, i64::from(self.height()) - 1);
        let solid = |w: &Window, x0: i64, y0: i64| {
            let across = i64::from(w.width);
            let mark = |p: i64| {
                let (x, y) = (x0 + p % across, y0 + p / across);
                let (u, v) = (x.clamp(0, right), y.clamp(0, bottom));
                if x != u && y != v {
                    return 0;
                }
                let p = ((v - y0) * across + u - x0) as usize;
                u8::from(w.valid[p] == 0 || filled(w, p))
            };
            let mut marks: Vec<u8> = (0..w.valid.len() as i64).map(mark).collect();
            nodata::keep_solid(&mut marks, w.width as usize);
            marks
        };
        let inside = solid(window, x0, y0);
        let clear = |p: usize, window: &mut Window| {
            window.valid[p] = 0;
            window.data[p * bands..(p + 1) * bands].fill(0.0);
        };
        suspects.retain(|p| {
            let found = inside[*p] != 0;
            if found {
                clear(*p, window);
            }
            !found
        });
        // A square may reach over the window's edge.
        let margin = SOLID - 1;
        let near = |p: &usize| {
            let (x, y) = (p % width, p / width);
            x < margin || y < margin || x + margin >= width || y + margin >= height
        };
        suspects.retain(near);
        if suspects.is_empty() {
            return Ok(());
        }
        let m = margin as u32;
        let around = self.read_named(x0 - i64::from(m), y0 - i64::from(m), window.width + 2 * m, window.height + 2 * m)?;
        let marks = solid(&around, x0 - i64::from(m), y0 - i64::from(m));
        for p in suspects {
            if marks[(p / width + margin) * around.width as usize + p % width + margin] != 0 {
                clear(p, window);
            }
        }
        Ok(())
    }

    pub(super) fn lock_cache(&self) -> std::sync::MutexGuard<'_, ChunkCache> {
        self.cache.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The chunks at (plane, row, column), from the cache or decoded in parallel.
    fn chunks(&self, places: &[(u32, u32, u32)]) -> Result<Vec<Arc<Chunk>>> {
        let index = |&(plane, row, column): &(u32, u32, u32)| self.header.layout.index(plane, row, column);
        let mut found: Vec<Option<Arc<Chunk>>> = {
            let mut cache = self.lock_cache();
            places.iter().map(|p| cache.get(index(p))).collect()
        };
        let missing: Vec<usize> = (0..places.len()).filter(|&i| found[i].is_none()).collect();
        let decode = |&i: &usize| self.source.decode(index(&places[i])).map(|c| (i, c));
        let decoded: Vec<(usize, Arc<Chunk>)> = if missing.len() > 1 {
            missing.par_iter().map(decode).collect::<Result<_>>()?
        } else {
            missing.iter().map(decode).collect::<Result<_>>()?
        };
        let mut cache = self.lock_cache();
        for (i, chunk) in decoded {
            cache.insert(index(&places[i]), chunk.clone());
            found[i] = Some(chunk);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Copies the part of a chunk that lies in `area` (raster pixels) into the window, and counts bands that hold the marker.
    fn paste(
        &self,
        chunk: &Chunk,
        (plane, row, column): (u32, u32, u32),
        origin: (i64, i64),
        area: [i64; 4],
        window: &mut Window,
        marker: Option<Marker>,
        hits: &mut [u16],
    ) {
        let l = &self.header.layout;
        let (cx, cy) = (i64::from(column) * i64::from(l.chunk_width), i64::from(row) * i64::from(l.chunk_height));
        let (left, right) = (area[0].max(cx), area[2].min(cx + i64::from(chunk.width)));
        let (top, bottom) = (area[1].max(cy), area[3].min(cy + i64::from(chunk.height)));
        if left >= right {
            return;
        }
        let n = (right - left) as usize;
        let (bands, step) = (self.bands.len(), chunk.samples_per_pixel as usize);
        let missing = matches!(chunk.samples, Samples::Missing);
        // Where each sample that this chunk holds goes.
        let own: Vec<(usize, usize)> = match l.planes {
            1 => self.bands.iter().enumerate().map(|(to, from)| (*from as usize, to)).collect(),
            _ => self.bands.iter().enumerate().filter(|(_, b)| **b == plane).map(|(to, _)| (0, to)).collect(),
        };
        let whole = l.planes == 1 && step == bands && own.iter().all(|(from, to)| from == to);
        let alpha = match (l.planes, self.header.alpha) {
            (1, Some(a)) => Some(a as usize),
            (_, Some(a)) if a == plane => Some(0),
            _ => None,
        };
        let mut opacity = vec![1.0; if alpha.is_some() { n } else { 0 }];
        for y in top..bottom {
            let pixel = (y - cy) as usize * chunk.width as usize + (left - cx) as usize;
            let target = (y - origin.1) as usize * window.width as usize + (left - origin.0) as usize;
            let valid = &mut window.valid[target..target + n];
            if missing {
                valid.fill(0);
                continue;
            }
            let (source, data) = (pixel * step, &mut window.data[target * bands..(target + n) * bands]);
            if whole {
                chunk.samples.copy(source, 1, n * bands, data, 1);
            }
            for &(from, to) in &own {
                if !whole {
                    chunk.samples.copy(source + from, step, n, &mut data[to..], bands);
                }
                if let Some(marker) = marker {
                    chunk.samples.count(source + from, step, n, marker, &mut hits[target..target + n]);
                }
            }
            if let Some(stored) = &chunk.valid {
                valid.iter_mut().zip(&stored[pixel..]).for_each(|(v, s)| *v &= s);
            }
            if let Some(a) = alpha {
                chunk.samples.copy(source + a, step, n, &mut opacity, 1);
                valid.iter_mut().zip(&opacity).for_each(|(v, a)| *v &= u8::from(*a != 0.0));
            }
        }
    }
}

/// Clears what is not valid, not finite, or holds the marker in every band.
fn clear(window: &mut Window, hits: &[u16]) {
    const PART: usize = 1 << 14;
    let bands = window.bands as usize;
    let none = [0u16; PART];
    let parts = window.data.par_chunks_mut(bands * PART).zip(window.valid.par_chunks_mut(PART));
    parts.enumerate().for_each(|(i, (data, valid))| {
        let hits = if hits.is_empty() { &none[..] } else { &hits[i * PART..] };
        for ((pixel, valid), hits) in data.chunks_exact_mut(bands).zip(valid).zip(hits) {
            if *valid == 0 || usize::from(*hits) == bands || pixel.iter().any(|v| !v.is_finite()) {
                *valid = 0;
                pixel.fill(0.0);
            }
        }
    });
}
