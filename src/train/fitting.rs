//! Settings that suit small images: those of pairs.

use super::config::TrainConfig;
use super::dense::DenseTrainConfig;
use super::refine::RefineTrainConfig;
use crate::{Error, Result};

/// A window may be this much longer than a pair: it still has data in three quarters of its ground.
const OVERHANG: f64 = 1.1;
/// Least side of a window, feature pixels: what the transform takes.
const LEAST_WINDOW: usize = 16;

/// The side of a patch that suits images whose shorter side has so many px: four fifths of it in whole eights, so that it can lie in many places.
pub fn suitable_patch(shortest: u32) -> u32 {
    (shortest / 5 * 4 + shortest % 5 * 4 / 5).max(8) / 8 * 8
}

/// Refuses a patch that no image holds.
///
/// # Errors
/// It is larger than `shortest`; the message, which calls it `what`, says what fits.
pub fn check_fits(what: &str, side: u32, shortest: u32) -> Result<()> {
    if side <= shortest {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} of {side} px is larger than the pairs, whose shortest side has {shortest} px: take {} or less",
        suitable_patch(shortest)
    )))
}

impl TrainConfig {
    /// Takes a patch that suits images whose shorter side has so many px, where its own is larger.
    #[must_use]
    pub fn suiting(mut self, shortest: u32) -> Self {
        self.patch = self.patch.min(suitable_patch(shortest));
        self
    }
}

impl RefineTrainConfig {
    /// As [`TrainConfig::suiting`].
    #[must_use]
    pub fn suiting(mut self, shortest: u32) -> Self {
        self.patch = self.patch.min(suitable_patch(shortest));
        self
    }
}

impl DenseTrainConfig {
    /// Map pixels a feature pixel, on maps with pixels of `pixel_m` metres.
    fn step(&self, pixel_m: f64) -> f64 {
        self.pixel_on(pixel_m) / pixel_m
    }

    /// Side on the map of a window of training, and of one of validation; map pixels.
    fn windows_px(&self, pixel_m: f64) -> [f64; 2] {
        let (a, step) = (&self.augment, self.step(pixel_m));
        let (sin, cos) = a.rotation_deg.min(45.0).to_radians().sin_cos();
        [self.window as f64 * step * (1.0 + a.scale) * (sin + cos), self.validate_window as f64 * step]
    }

    /// Takes windows, and patches in them, that suit images whose shorter side has so many px of `pixel_m` metres, where its own are larger.
    #[must_use]
    pub fn suiting(mut self, shortest: u32, pixel_m: f64) -> Self {
        let most = OVERHANG * f64::from(shortest);
        let multiple = self.encoder.multiple().max(1);
        // As far as the default's patch fills the default's window.
        let patch = |own: usize, window: usize| own.min((window * 5 / 16 / multiple).max(1) * multiple);
        while self.windows_px(pixel_m)[0] > most && self.window > LEAST_WINDOW {
            self.window /= 2;
            self.patch = patch(self.patch, self.window);
        }
        while self.windows_px(pixel_m)[1] > most && self.validate_window > LEAST_WINDOW {
            self.validate_window /= 2;
            self.validate_patch = patch(self.validate_patch, self.validate_window);
        }
        self
    }

    /// Refuses windows that no image holds, of a shorter side of so many px of `pixel_m` metres.
    ///
    /// # Errors
    /// The field, and what suits.
    pub fn check_suits(&self, shortest: u32, pixel_m: f64) -> Result<()> {
        let suited = self.clone().suiting(shortest, pixel_m);
        let fields = [("window", self.window, suited.window), ("validate_window", self.validate_window, suited.validate_window)];
        for ((name, own, suits), px) in fields.into_iter().zip(self.windows_px(pixel_m)) {
            if px > OVERHANG * f64::from(shortest) {
                return Err(Error::invalid(format!(
                    "training configuration: {name} = {own} feature pixels takes {px:.0} px of the map, and the pairs' shortest side has {shortest} px: take {name} = {suits}, or a smaller pixel_m"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_suit_the_images() {
        assert_eq!([256, 176, 128, 9].map(suitable_patch), [200, 136, 96, 8]);
        assert_eq!((TrainConfig::default().suiting(176).patch, TrainConfig::default().suiting(2500).patch), (136, 200));
        assert!(check_fits("a patch", 176, 176).is_ok());
        let text = check_fits("a patch", 200, 176).unwrap_err().to_string();
        assert!(text.contains("200 px") && text.contains("176 px") && text.contains("take 136"), "{text}");
    }

    #[test]
    fn windows_suit_the_images() {
        let plain = DenseTrainConfig::default();
        for (shortest, windows) in [(1733, [128, 256]), (256, [128, 128]), (176, [64, 64]), (64, [32, 32]), (40, [16, 16])] {
            let suited = plain.clone().suiting(shortest, 10.0);
            assert_eq!([suited.window, suited.validate_window], windows, "{shortest}");
            suited.check().unwrap();
            suited.check_suits(shortest, 10.0).unwrap();
            assert!(suited.patch < suited.window && suited.validate_patch <= suited.validate_window);
        }
        let text = plain.check_suits(176, 10.0).unwrap_err().to_string();
        assert!(text.contains("window = 128") && text.contains("take window = 64"), "{text}");
        assert_eq!(DenseTrainConfig { pixel_m: 10.0, ..plain }.suiting(176, 10.0).window, 128);
    }
}
