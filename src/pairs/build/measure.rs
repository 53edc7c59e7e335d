//! What makes a crop worth learning from, as numbers.

use serde::{Deserialize, Serialize};

use super::Sources;
use crate::scene::{Image, SampleType, Window};
use crate::{Error, Result};

/// Side of the blocks over which texture is averaged first, px: speckle is no texture.
const BLOCK: usize = 8;

/// How far the transform is off at a crop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Misfit {
    /// Distance between where the SAR crop correlates best and where the transform puts it, px of the grid.
    pub px: f64,
    /// The probability that it lies where it correlates best.
    pub probability: f64,
}

/// What is measured on a crop; of two numbers the first is that of the SAR image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Share of the pixels where one of the images has no data.
    pub missing: f64,
    /// Standard deviation of the means of blocks of 8 x 8 px, in standard deviations of the whole image (SAR in decibels).
    pub texture: [f64; 2],
    /// Share of the pixels whose samples all lie at an end of what their type holds; 0 of floating point numbers.
    pub saturated: [f64; 2],
    /// How far the transform is off, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub misfit: Option<Misfit>,
}

impl Measures {
    pub(super) fn of(sources: &Sources<'_>, sar: &Window, optical: &Window) -> Self {
        let present = sar.valid.iter().zip(&optical.valid).filter(|(a, b)| **a != 0 && **b != 0).count();
        let both = [(sources.sar, sar), (sources.optical, optical)];
        Self {
            missing: 1.0 - present as f64 / sar.valid.len().max(1) as f64,
            texture: both.map(|(image, window)| texture(image, window)),
            saturated: both.map(|(image, window)| saturated(image.raster.sample_type(), window)),
            misfit: None,
        }
    }
}

/// The grey of an image's pixels, standardised; `[height, width]`.
pub fn grey(image: &Image, window: &Window) -> Vec<f32> {
    let bands = window.bands as usize;
    image.standardisation.apply(window).chunks_exact(bands).map(|p| p.iter().sum::<f32>() / bands as f32).collect()
}

fn texture(image: &Image, window: &Window) -> f64 {
    let (width, height) = (window.width as usize, window.height as usize);
    let grey = grey(image, window);
    let mut means = Vec::new();
    for (y, x) in (0..height / BLOCK).flat_map(|y| (0..width / BLOCK).map(move |x| (y, x))) {
        let pixels = || (0..BLOCK * BLOCK).map(|i| (y * BLOCK + i / BLOCK) * width + x * BLOCK + i % BLOCK);
        let n = pixels().filter(|p| window.valid[*p] != 0).count();
        if 2 * n > BLOCK * BLOCK {
            // What is not valid is 0 and adds nothing.
            means.push(pixels().map(|p| f64::from(grey[p])).sum::<f64>() / n as f64);
        }
    }
    let n = means.len().max(1) as f64;
    let mean = means.iter().sum::<f64>() / n;
    (means.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}

fn saturated(kind: SampleType, window: &Window) -> f64 {
    let ends = match kind {
        SampleType::U8 => [0.0, 255.0],
        SampleType::I8 => [-128.0, 127.0],
        SampleType::U16 => [0.0, 65_535.0],
        SampleType::I16 => [-32_768.0, 32_767.0],
        SampleType::U32 => [0.0, u32::MAX as f32],
        SampleType::I32 => [i32::MIN as f32, i32::MAX as f32],
        SampleType::F16 | SampleType::F32 | SampleType::F64 => return 0.0,
    };
    let pixels = window.data.chunks_exact(window.bands as usize).zip(&window.valid).filter(|(_, v)| **v != 0);
    // Where pixels were resampled an end is met but for half a step.
    let at = |p: &[f32], end: f32| p.iter().all(|v| (v - end).abs() < 0.5);
    let (mut all, mut hit) = (0usize, 0usize);
    for (p, _) in pixels {
        all += 1;
        hit += usize::from(ends.iter().any(|end| at(p, *end)));
    }
    hit as f64 / all.max(1) as f64
}

/// What a crop must fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Most of [`Measures::missing`].
    pub missing: f64,
    /// Least of [`Measures::texture`] of either image.
    pub texture: f64,
    /// Most of [`Measures::saturated`] of either image.
    pub saturated: f64,
    /// Most of [`Misfit::px`]; none leaves that measure out.
    pub misfit_px: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { missing: 0.01, texture: 0.15, saturated: 0.2, misfit_px: Some(8.0) }
    }
}

/// A limit that a crop fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Too many pixels without data.
    Missing,
    /// Too little texture.
    Texture,
    /// Too many pixels at an end of their range.
    Saturated,
    /// The images do not fit there.
    Misfit,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Texture, Self::Saturated, Self::Misfit];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Texture => "texture",
            Self::Saturated => "saturated",
            Self::Misfit => "misfit",
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |what: &str, may: &str, v: f64| Err(Error::invalid(format!("{what} must be {may}, not {v}")));
        match *self {
            Self { missing: v, .. } if !(0.0..1.0).contains(&v) => refuse("the most that may be missing", "a share below 1", v),
            Self { texture: v, .. } if !(v >= 0.0 && v.is_finite()) => refuse("the least texture", "0 or above", v),
            Self { saturated: v, .. } if !(0.0..=1.0).contains(&v) => refuse("the most that may be saturated", "a share", v),
            Self { misfit_px: Some(v), .. } if !(v > 0.0 && v.is_finite()) => refuse("the largest misfit", "above 0", v),
            _ => Ok(()),
        }
    }

    /// The limits that a crop fails.
    pub fn failed(&self, m: &Measures) -> Vec<Reason> {
        let fails = |reason: Reason| match reason {
            Reason::Missing => m.missing > self.missing,
            Reason::Texture => m.texture.iter().any(|t| *t < self.texture),
            Reason::Saturated => m.saturated.iter().any(|s| *s > self.saturated),
            Reason::Misfit => m.misfit.zip(self.misfit_px).is_some_and(|(f, most)| f.px > most),
        };
        Reason::ALL.into_iter().filter(|r| fails(*r)).collect()
    }
}
