//! From file values to network input: SAR in decibels, robust standardisation by scene and band.

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::raster::{Raster, SampleType};
use super::window::Window;

/// Pixels sampled at most for the statistics of a scene.
const MAX_SAMPLES: usize = 1 << 20;
/// Edge of the blocks sampled, px.
const BLOCK: u32 = 256;
/// Blocks with data sampled at most.
const MAX_BLOCKS: usize = 1024;
/// Blocks that are put in an order at most.
const LISTED_BLOCKS: u64 = 1 << 20;
/// Standardised values are clipped to this many scales either side.
pub const CLIP: f32 = 4.0;
/// Interquartile range of a normal distribution over its standard deviation.
const IQR_OVER_SIGMA: f32 = 1.349;
/// Added to 8-bit SAR before the logarithm, so that 0 and 1 stay apart by a finite step.
const OFFSET_8_BIT: f32 = 1.0;

/// What the values of a SAR image measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SarUnit {
    /// Magnitude: 20 log10 gives decibels.
    Amplitude,
    /// Power, as sigma nought: 10 log10 gives decibels.
    Intensity,
    /// Decibels already.
    Decibel,
}

impl SarUnit {
    /// Guesses from the sample type and, for signed and floating point files, the values.
    ///
    /// Unsigned integers are amplitude. Where more than 1 % of the values lie below 0 it is
    /// decibels. Else floating point values with a median below 1 or above 20,000 are intensity
    /// (sigma nought, or squared digital numbers), the others amplitude. Taking amplitude for
    /// intensity only doubles every decibel, which the standardisation divides out again: what
    /// matters is the choice between decibels and the two others.
    ///
    /// # Errors
    /// [`Error::AllNoData`] and errors of reading.
    pub fn guess(raster: &Raster) -> Result<Self> {
        if matches!(raster.sample_type(), SampleType::U8 | SampleType::U16 | SampleType::U32) {
            return Ok(Self::Amplitude);
        }
        let mut values = sample(raster)?.swap_remove(0);
        let below = values.iter().filter(|v| **v < 0.0).count();
        if below * 100 > values.len() {
            return Ok(Self::Decibel);
        }
        let median = quantile(&mut values, 0.5);
        let intensity = raster.sample_type().is_float() && !(1.0..=20_000.0).contains(&median);
        Ok(if intensity { Self::Intensity } else { Self::Amplitude })
    }
}

/// How file values become the scale on which they are standardised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Radiometry {
    /// Values as they are.
    Optical,
    /// `factor * log10(value + offset)` decibels, or the values as they are for [`SarUnit::Decibel`].
    Sar {
        /// What the values measure.
        unit: SarUnit,
        /// Added before the logarithm (1 for 8-bit products, else 0).
        offset: f32,
    },
}

impl Radiometry {
    /// SAR radiometry of a raster, its unit given or guessed ([`SarUnit::guess`]).
    ///
    /// # Errors
    /// Those of [`SarUnit::guess`].
    pub fn sar(raster: &Raster, unit: Option<SarUnit>) -> Result<Self> {
        let unit = match unit {
            Some(unit) => unit,
            None => SarUnit::guess(raster)?,
        };
        let eight_bit = matches!(raster.sample_type(), SampleType::U8 | SampleType::I8);
        let offset = if eight_bit && unit != SarUnit::Decibel { OFFSET_8_BIT } else { 0.0 };
        Ok(Self::Sar { unit, offset })
    }

    /// Factor before the logarithm: 20 for amplitude, 10 for intensity, 0 where no logarithm is taken.
    pub fn log_factor(&self) -> f32 {
        match self {
            Self::Sar { unit: SarUnit::Amplitude, .. } => 20.0,
            Self::Sar { unit: SarUnit::Intensity, .. } => 10.0,
            _ => 0.0,
        }
    }

    /// Added before the logarithm.
    pub fn offset(&self) -> f32 {
        match *self {
            Self::Sar { offset, .. } => offset,
            Self::Optical => 0.0,
        }
    }

    /// One value on the scale of standardisation; logarithms of less than the smallest normal
    /// `f32` (zero, negative values) are those of that number.
    pub fn scale(&self, value: f32) -> f32 {
        match self.log_factor() {
            0.0 => value,
            factor => factor * (value + self.offset()).max(f32::MIN_POSITIVE).log10(),
        }
    }
}

/// Robust statistics of a scene, stored with a model: `(scale(v) - median) / scale`, clipped to ±4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardisation {
    /// Step before standardisation.
    pub radiometry: Radiometry,
    /// Median a band, on the scale of `radiometry`.
    pub median: Vec<f32>,
    /// Interquartile range / 1.349 a band: the standard deviation were it normal; 1 for a constant band.
    pub scale: Vec<f32>,
    /// Valid pixels the statistics were taken from.
    pub samples: u64,
}

impl Standardisation {
    /// Whether a raster's values, under this radiometry, are of the kind that was measured.
    pub fn is_for(&self, raster: &Raster, radiometry: Radiometry) -> bool {
        self.radiometry == radiometry && self.median.len() == raster.bands() as usize
    }

    /// Measures a raster on a fixed subset of at most about a million valid pixels.
    ///
    /// The subset depends on nothing but the raster: a lattice in up to 1024 blocks of 256x256 px,
    /// taken in a fixed scattered order.
    ///
    /// # Errors
    /// [`Error::AllNoData`] and errors of reading.
    pub fn measure(raster: &Raster, radiometry: Radiometry) -> Result<Self> {
        let mut bands = sample(raster)?;
        let samples = bands[0].len() as u64;
        let (mut median, mut scale) = (Vec::new(), Vec::new());
        for values in &mut bands {
            for v in values.iter_mut() {
                *v = radiometry.scale(*v);
            }
            median.push(quantile(values, 0.5));
            let iqr = quantile(values, 0.75) - quantile(values, 0.25);
            scale.push(if iqr > 0.0 { iqr / IQR_OVER_SIGMA } else { spread(values) });
        }
        Ok(Self { radiometry, median, scale, samples })
    }

    /// Standardises a window: `[height, width, bands]`, clipped to ±[`CLIP`], 0 where not valid.
    ///
    /// # Panics
    /// If the window's bands are not those measured.
    pub fn apply(&self, window: &Window) -> Vec<f32> {
        let bands = self.median.len();
        assert_eq!(window.bands as usize, bands, "a window of another raster");
        let mut out = vec![0.0; window.data.len()];
        let pixels = out.chunks_exact_mut(bands).zip(window.data.chunks_exact(bands));
        for ((to, from), _) in pixels.zip(&window.valid).filter(|(_, v)| **v != 0) {
            for b in 0..bands {
                let v = (self.radiometry.scale(from[b]) - self.median[b]) / self.scale[b];
                to[b] = v.clamp(-CLIP, CLIP);
            }
        }
        out
    }
}

/// Standard deviation where the quartiles coincide, 1 for a constant.
fn spread(values: &[f32]) -> f32 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let var = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    if var > 0.0 { var.sqrt() as f32 } else { 1.0 }
}

/// The value of rank `q * (n - 1)`, rounded down; reorders the values.
fn quantile(values: &mut [f32], q: f64) -> f32 {
    let rank = (q * (values.len() - 1) as f64) as usize;
    *values.select_nth_unstable_by(rank, f32::total_cmp).1
}

/// Valid pixels of a fixed subset, one vector a band, none of them empty.
fn sample(raster: &Raster) -> Result<Vec<Vec<f32>>> {
    let (across, down) = (raster.width().div_ceil(BLOCK), raster.height().div_ceil(BLOCK));
    let blocks = u64::from(across) * u64::from(down);
    // All blocks of a small raster in order, so that each tile is decoded once; a scattered
    // selection of a large one; of a huge one, which may be all but empty, a selection of what is stored.
    let order: Vec<[u32; 2]> = if blocks <= LISTED_BLOCKS {
        let mut order: Vec<u32> = (0..blocks as u32).collect();
        if order.len() > MAX_BLOCKS {
            order.sort_by_key(|&i| scatter(i));
        }
        order.into_iter().map(|i| [i % across * BLOCK, i / across * BLOCK]).collect()
    } else {
        let mut stored = raster.stored_chunks(LISTED_BLOCKS as usize);
        stored.sort_by_key(|[x, y, ..]| scatter(x ^ y.rotate_left(16)));
        // Of each one of its blocks.
        let within = |from: u32, size: u32, key: u64| from + (key % u64::from(size.div_ceil(BLOCK))) as u32 * BLOCK;
        stored
            .into_iter()
            .map(|[x, y, w, h]| (x, y, w, h, scatter(y ^ x.rotate_left(16))))
            .map(|(x, y, w, h, key)| [within(x, w, key), within(y, h, key >> 32)])
            .collect()
    };
    let area = u64::from(raster.width()).saturating_mul(u64::from(raster.height()));
    let sampled = area.min(u64::from(BLOCK * BLOCK) * MAX_BLOCKS as u64);
    let step = (sampled as f64 / MAX_SAMPLES as f64).sqrt().ceil().max(1.0) as u32;
    let bands = raster.bands() as usize;
    let mut out = vec![Vec::new(); bands];
    let mut taken = 0;
    for [bx, by] in order {
        let (w, h) = (BLOCK.min(raster.width() - bx), BLOCK.min(raster.height() - by));
        if !raster.stored(i64::from(bx), i64::from(by), w, h) {
            continue;
        }
        let window = raster.read_window(i64::from(bx), i64::from(by), w, h)?;
        let before = out[0].len();
        // The lattice runs through the whole raster, not anew in each block.
        let first = |b: u32| (step - b % step) % step;
        for y in (first(by)..h).step_by(step as usize) {
            for x in (first(bx)..w).step_by(step as usize) {
                let p = (y * w + x) as usize;
                if window.valid[p] != 0 {
                    for (band, &v) in out.iter_mut().zip(&window.data[p * bands..]) {
                        band.push(v);
                    }
                }
            }
        }
        taken += usize::from(out[0].len() > before);
        if taken == MAX_BLOCKS {
            break;
        }
    }
    if out[0].is_empty() {
        return Err(Error::AllNoData { path: raster.path().into() });
    }
    Ok(out)
}

/// A fixed permutation-like hash of a block's number (SplitMix64's finaliser).
fn scatter(i: u32) -> u64 {
    let mut z = (u64::from(i) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
