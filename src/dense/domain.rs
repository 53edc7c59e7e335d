//! How like the images are to those that a calibration was fitted on: probabilities that were fitted on one kind of map and radar
//! say too much of another.
//!
//! An image is standardised, brought to feature pixels and measured in small windows by seven numbers: contrast, strength and
//! concentration of its edges, correlation of neighbours one and four pixels apart, skewness, and the least correlation between its bands. They are the usual first
//! and second order statistics of texture; each is compared in units of its spread over the windows of the reference.

use super::fix::Calibration;
use super::matcher::Matcher;
use crate::scene::{Image, ScenePair};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Side of a window, feature pixels: less than the smallest patch that is worth a search.
const SIDE: usize = 32;
/// Windows measured at most.
const WINDOWS: usize = 64;
/// Windows read at most, in search of those with data.
const READ: usize = 1024;
/// Share of a window that has data.
const VALID: f64 = 0.97;
/// Numbers a window.
const NUMBERS: usize = 7;
/// What they are called in a warning.
const NAMES: [&str; NUMBERS] = ["contrast", "edges", "evenness of edges", "smoothness", "coarseness", "skewness", "colours"];
/// A spread below this is no narrower: windows of one scene differ by as little by chance.
const LEAST_SPREAD: f64 = 0.02;
/// One number counts at most so much: what lies so far off is of another kind, however far.
const MOST: f64 = 6.0;
/// Up to this distance images are of the reference's kind: of the training scenes' region none is over 0.3 off, of other kinds none
/// under 1.
const NEAR: f64 = 0.7;
/// From this distance on they are of another.
const FAR: f64 = 1.0;
/// A threshold raised by less is not worth a word.
const TELLING: f64 = 0.05;
/// Windows side by side are alike: so many tell as much as one by itself.
const ALIKE: f64 = 9.0;

/// Statistics of an image's windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Mean over windows of each number.
    pub mean: [f64; NUMBERS],
    /// Standard deviation over windows.
    pub spread: [f64; NUMBERS],
    /// How many windows.
    pub windows: usize,
}

impl Statistics {
    /// Measures an image at `step` of its pixels a feature pixel; nothing where no window has enough data.
    ///
    /// # Errors
    /// Reading; a step that is no number above 0.
    pub fn measure(image: &Image, step: f64) -> Result<Option<Self>> {
        if !(step.is_finite() && step > 0.0) {
            return Err(Error::invalid(format!("{step} pixels a feature pixel; a number above 0 is needed")));
        }
        let raster = &image.raster;
        let side = (SIDE as f64 * step).ceil().max(2.0) as u32;
        let (across, down) = (raster.width() / side, raster.height() / side);
        if across == 0 || down == 0 {
            return Ok(None);
        }
        let mut order: Vec<u64> = (0..u64::from(across) * u64::from(down)).collect();
        // Scattered over the image, the same ones each time.
        order.sort_by_key(|i| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        let (mut all, mut read) = (Vec::new(), 0);
        for i in order {
            let [x, y] = [i % u64::from(across), i / u64::from(across)].map(|v| v as u32 * side);
            if !raster.stored(i64::from(x), i64::from(y), side, side) {
                continue;
            }
            if read == READ {
                break;
            }
            read += 1;
            let window = raster.read_window(i64::from(x), i64::from(y), side, side)?;
            let valid = window.valid.iter().filter(|v| **v != 0).count();
            if (valid as f64) < VALID * window.valid.len() as f64 {
                continue;
            }
            let values = image.standardisation.apply(&window);
            let bands = image.standardisation.median.len();
            let planes: Vec<Vec<f64>> = (0..bands.min(3))
                .map(|b| shrink(&values.iter().skip(b).step_by(bands).map(|v| f64::from(*v)).collect::<Vec<_>>(), side as usize, step))
                .collect();
            all.push(numbers(&planes));
            if all.len() == WINDOWS {
                break;
            }
        }
        Ok(Self::of(&all))
    }

    fn of(all: &[[f64; NUMBERS]]) -> Option<Self> {
        let n = all.len() as f64;
        let mean: [f64; NUMBERS] = std::array::from_fn(|i| all.iter().map(|v| v[i]).sum::<f64>() / n);
        let spread = std::array::from_fn(|i| (all.iter().map(|v| (v[i] - mean[i]).powi(2)).sum::<f64>() / n).sqrt());
        (!all.is_empty()).then_some(Self { mean, spread, windows: all.len() })
    }

    /// Of several images together, each counting alike; nothing of none.
    pub fn pooled(all: &[Self]) -> Option<Self> {
        let n = all.len() as f64;
        let mean: [f64; NUMBERS] = std::array::from_fn(|i| all.iter().map(|s| s.mean[i]).sum::<f64>() / n);
        let spread =
            std::array::from_fn(|i| (all.iter().map(|s| s.spread[i].powi(2) + (s.mean[i] - mean[i]).powi(2)).sum::<f64>() / n).sqrt());
        (!all.is_empty()).then(|| Self { mean, spread, windows: all.iter().map(|s| s.windows).sum() })
    }

    /// How far other statistics lie from these, each number in units of its spread here.
    fn apart(&self, other: &Self) -> [f64; NUMBERS] {
        std::array::from_fn(|i| ((other.mean[i] - self.mean[i]) / self.spread[i].max(LEAST_SPREAD)).clamp(-MOST, MOST))
    }
}

/// What a calibration was fitted on, or the features trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Maps.
    pub map: Statistics,
    /// SAR images.
    pub sar: Statistics,
}

/// How far a map and a SAR image lie from a [`Domain`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distance {
    /// Root mean square of the map's numbers, in spreads of the reference; 0 where nothing is known of it.
    pub map: f64,
    /// The same of the SAR image.
    pub sar: f64,
    /// The map's number that lies farthest off.
    map_most: usize,
    /// The SAR image's.
    sar_most: usize,
}

impl Distance {
    /// No difference known.
    pub const NONE: Self = Self { map: 0.0, sar: 0.0, map_most: 0, sar_most: 0 };

    /// The larger of both.
    pub fn largest(&self) -> f64 {
        self.map.max(self.sar)
    }

    /// 0 where both images are of the reference's kind, 1 where one of them is of another, and between.
    pub fn foreign(&self) -> f64 {
        ((self.largest() - NEAR) / (FAR - NEAR)).clamp(0.0, 1.0)
    }

    /// What a user should be told; nothing of images of the reference's kind.
    pub fn warning(&self, calibration: &Calibration) -> Option<String> {
        let one = |what: &str, far: f64, most: usize| {
            (far > NEAR).then(|| format!("{what} ({far:.1} spreads off, most by its {}; up to {NEAR} is usual)", NAMES[most]))
        };
        let parts: Vec<String> =
            [one("this map's", self.map, self.map_most), one("this SAR image's", self.sar, self.sar_most)].into_iter().flatten().collect();
        // What is hardly off asks for hardly more.
        let needed = calibration.at(self).threshold;
        (!parts.is_empty() && needed >= calibration.threshold + TELLING).then(|| {
            format!(
                "{} statistics lie far from those the features were trained or calibrated on: probabilities are less certain, and a fix needs one of {needed:.2} instead of {:.2} unless a threshold is given; try --features structure, or train or calibrate on your own pairs, see `echogrid train --dense` and `echogrid calibrate`",
                parts.join(" and "),
                calibration.threshold
            )
        })
    }
}

impl Domain {
    /// Measures pairs of map and SAR image at `metres` a feature pixel, each pair counting alike; nothing where one has no window with data.
    ///
    /// # Errors
    /// Reading; an image without a place.
    pub fn of(pairs: &[&ScenePair], metres: f64) -> Result<Option<Self>> {
        let measure = |image: &Image| {
            let (x, y) = image.raster.ground_pixel_size()?;
            Statistics::measure(image, metres / (x * y).sqrt())
        };
        let (mut maps, mut sars) = (Vec::new(), Vec::new());
        for pair in pairs {
            maps.extend(measure(&pair.map)?);
            sars.extend(measure(&pair.sar)?);
        }
        Ok(Statistics::pooled(&maps).zip(Statistics::pooled(&sars)).map(|(map, sar)| Self { map, sar }))
    }

    /// How far a map and a SAR image lie off; what is not known counts as like.
    pub fn distance(&self, map: Option<&Statistics>, sar: Option<&Statistics>) -> Distance {
        let one = |here: &Statistics, other: Option<&Statistics>| match other {
            Some(other) => {
                let z = here.apart(other);
                let most = (0..NUMBERS).max_by(|a, b| z[*a].abs().total_cmp(&z[*b].abs())).unwrap_or(0);
                // A few windows differ from the mean of many as windows do: as much as that, twice over, says nothing.
                let chance = 2.0 * (ALIKE / other.windows.max(1) as f64).min(1.0);
                ((z.iter().map(|v| v * v).sum::<f64>() / NUMBERS as f64 - chance).max(0.0).sqrt(), most)
            }
            None => (0.0, 0),
        };
        let ((map, map_most), (sar, sar_most)) = (one(&self.map, map), one(&self.sar, sar));
        Distance { map, sar, map_most, sar_most }
    }
}

/// How far a matcher's map and a SAR image, of `step` pixels a feature pixel, lie from what the matcher's features were calibrated on.
///
/// # Errors
/// Reading.
pub fn distance(matcher: &Matcher<'_>, sar: &Image, step: f64) -> Result<Distance> {
    let calibration = matcher.model().calibration();
    // Nothing is read where nothing is known to compare with.
    if calibration.domains.is_empty() {
        return Ok(Distance::NONE);
    }
    Ok(calibration.distance(matcher.database().manifest.statistics.as_ref(), Statistics::measure(sar, step)?.as_ref()))
}

/// Brings a square of `side` pixels to [`SIDE`] feature pixels: each the mean of the area it covers.
fn shrink(values: &[f64], side: usize, step: f64) -> Vec<f64> {
    // Integral along one axis, read at fractions of a pixel.
    let line = |at: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let mut sums = vec![0.0; side + 1];
        (0..side).for_each(|i| sums[i + 1] = sums[i] + at(i));
        let read = |p: f64| {
            let i = (p as usize).min(side - 1);
            sums[i] + (p.min(side as f64) - i as f64) * (sums[i + 1] - sums[i])
        };
        (0..SIDE).map(|i| (read((i + 1) as f64 * step) - read(i as f64 * step)) / step).collect()
    };
    let rows: Vec<Vec<f64>> = (0..side).map(|y| line(&|x| values[y * side + x])).collect();
    let columns: Vec<Vec<f64>> = (0..SIDE).map(|x| line(&|y| rows[y][x])).collect();
    (0..SIDE * SIDE).map(|i| columns[i % SIDE][i / SIDE]).collect()
}

/// The numbers of a window, one plane a band.
fn numbers(planes: &[Vec<f64>]) -> [f64; NUMBERS] {
    let n = (SIDE * SIDE) as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let grey: Vec<f64> = (0..SIDE * SIDE).map(|i| planes.iter().map(|p| p[i]).sum::<f64>() / planes.len() as f64).collect();
    let centre = mean(&grey);
    let grey: Vec<f64> = grey.iter().map(|v| v - centre).collect();
    let at = |x: usize, y: usize| grey[y * SIDE + x];
    let variance = grey.iter().map(|v| v * v).sum::<f64>() / n;
    let (mut sum, mut squares) = (0.0, 0.0);
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            let slope = (at(x + 1, y) - at(x - 1, y)).hypot(at(x, y + 1) - at(x, y - 1));
            (sum, squares) = (sum + slope, squares + slope * slope);
        }
    }
    let inner = ((SIDE - 2) * (SIDE - 2)) as f64;
    let (slope, root) = (sum / inner, (squares / inner).sqrt());
    let correlation = |lag: usize| {
        let (mut sum, mut count) = (0.0, 0.0);
        for y in 0..SIDE {
            for x in 0..SIDE - lag {
                sum += at(x, y) * at(x + lag, y) + at(y, x) * at(y, x + lag);
                count += 2.0;
            }
        }
        sum / count / (variance + 1e-3)
    };
    let skewness = grey.iter().map(|v| v.powi(3)).sum::<f64>() / n / (variance.sqrt() + 0.05).powi(3);
    let centred: Vec<Vec<f64>> = planes.iter().map(|p| p.iter().map(|v| v - mean(p)).collect()).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n;
    let mut colours = 1.0f64;
    for (i, a) in centred.iter().enumerate() {
        for b in &centred[..i] {
            colours = colours.min(product(a, b) / ((product(a, a) * product(b, b)).sqrt() + 1e-3));
        }
    }
    [(variance.sqrt() + 0.05).ln(), (slope + 0.02).ln(), slope / (root + 1e-3), correlation(1), correlation(4), skewness, colours]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::unit;
    use crate::scene::synth::{EPSG, SynthConfig, generate};
    use crate::scene::{GeoTransform, SampleData, write_geotiff};
    use std::path::Path;

    const SIZE: u32 = 320;

    fn images(folder: &Path, optical: &[u8], sar: &[u8]) -> ScenePair {
        let geo = GeoTransform::new([500_000.0, 10.0, 0.0, 5_000_000.0, 0.0, -10.0]);
        let (map, radar) = (folder.join("map.tif"), folder.join("sar.tif"));
        write_geotiff(&map, SIZE, SIZE, 3, SampleData::U8(optical), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
        write_geotiff(&radar, SIZE, SIZE, 1, SampleData::U8(sar), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
        ScenePair::open(&map, &radar, None).unwrap()
    }

    fn city(folder: &Path, seed: u64) -> ScenePair {
        let scene = generate(&SynthConfig { seed, size: SIZE, ..SynthConfig::default() });
        images(folder, &scene.optical, &scene.sar)
    }

    /// Soft blobs, of another pattern in each band.
    fn blobs(folder: &Path) -> ScenePair {
        let value = |x: usize, y: usize, band: u64| {
            let lattice = |i: usize, j: usize| unit((band << 32) | ((j as u64) << 16) | i as u64);
            let (i, j, u, v) = (x / 20, y / 20, (x % 20) as f64 / 20.0, (y % 20) as f64 / 20.0);
            let row = |j: usize| lattice(i, j) * (1.0 - u) + lattice(i + 1, j) * u;
            20 + (200.0 * (row(j) * (1.0 - v) + row(j + 1) * v)) as u8
        };
        let side = SIZE as usize;
        let optical: Vec<u8> = (0..side * side * 3).map(|k| value(k / 3 % side, k / 3 / side, k as u64 % 3)).collect();
        let sar: Vec<u8> = (0..side * side).map(|k| value(k % side, k / side, 3)).collect();
        images(folder, &optical, &sar)
    }

    #[test]
    fn scenes_of_the_kind_are_not_warned_of_and_another_kind_is() {
        let folders: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
        let known: Vec<ScenePair> = (0..3).map(|i| city(folders[i].path(), i as u64 + 1)).collect();
        let domain = Domain::of(&known.iter().collect::<Vec<_>>(), 10.0).unwrap().expect("all of it has data");
        let calibration = Calibration { domains: vec![domain], ..Calibration::default() };
        let distance = |pair: &ScenePair| {
            let [map, sar] = [&pair.map, &pair.sar].map(|i| Statistics::measure(i, 1.0).unwrap().expect("has data"));
            calibration.distance(Some(&map), Some(&sar))
        };
        let like = distance(&city(folders[3].path(), 9));
        assert!(like.warning(&calibration).is_none() && like.foreign() == 0.0, "{like:?}");
        assert!((calibration.at(&like).threshold - calibration.threshold).abs() < 1e-12);
        let other = distance(&blobs(folders[4].path()));
        let text = other.warning(&calibration).expect("another kind");
        assert!(text.contains("this map's") && text.contains("echogrid calibrate"), "{text}");
        assert!((other.foreign() - 1.0).abs() < 1e-12 && other.map > 2.0 * like.map && other.sar > like.sar, "{other:?} {like:?}");
        assert!((calibration.at(&other).threshold - calibration.foreign_threshold).abs() < 1e-12);
        // Beside a kind that is like it, it is not.
        let blobs = Domain::of(&[&blobs(folders[4].path())], 10.0).unwrap().expect("all of it has data");
        let both = Calibration { domains: vec![domain, blobs], ..Calibration::default() };
        let one = both.distance(Some(&blobs.map), Some(&blobs.sar));
        assert!(one.foreign() == 0.0 && one.largest() < like.largest().max(0.1), "{one:?}");
        let written = serde_json::to_string(&calibration).unwrap();
        assert_eq!(
            serde_json::from_str::<Calibration>(&written.replace("\"domains\":[", "\"domain\":").replacen("}}]", "}}", 1)).unwrap(),
            calibration
        );
        // What was never measured is not warned of.
        assert_eq!(calibration.distance(None, None).warning(&calibration), None);
        assert_eq!(Calibration::default().distance(Some(&domain.map), None), Distance::NONE);
    }

    #[test]
    fn an_image_without_a_whole_window_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pair = city(folder.path(), 4);
        assert_eq!(Statistics::measure(&pair.map, 11.0).unwrap(), None);
        assert!(Statistics::measure(&pair.map, 0.0).is_err() && Statistics::measure(&pair.map, f64::NAN).is_err());
        let whole = Statistics::measure(&pair.map, 1.0).unwrap().unwrap();
        assert!((32..=WINDOWS).contains(&whole.windows), "{whole:?}");
        assert_eq!(Statistics::measure(&pair.map, 1.0).unwrap(), Some(whole), "the same each time");
    }

    #[test]
    fn shrinking_keeps_means_and_places() {
        let side = (SIDE as f64 * 1.5).ceil() as usize;
        // A ramp: a feature pixel has the value at its middle.
        let ramp: Vec<f64> = (0..side * side).map(|i| (i % side) as f64).collect();
        for (i, v) in shrink(&ramp, side, 1.5).iter().enumerate() {
            assert!((v - (((i % SIDE) as f64 + 0.5) * 1.5 - 0.5)).abs() < 0.2, "{i}: {v}");
        }
    }
}
