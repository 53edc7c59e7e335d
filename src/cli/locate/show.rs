//! What `echogrid locate` says in words.

use super::args::Args;
use crate::cli::common::Global;
use crate::locate::{Located, Locator, Session, Variant, Verdict};
use crate::report::Outcome;
use std::collections::BTreeMap;
use std::path::Path;

/// A run and what became of it.
pub(super) struct Run<'a> {
    pub(super) global: &'a Global,
    pub(super) args: &'a Args,
    pub(super) locator: &'a Locator<'a>,
    pub(super) session: &'a Session<'a>,
    pub(super) images: &'a [Outcome<'a>],
    pub(super) adapter: String,
}

/// The middle of some values.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| if n % 2 == 1 { values[n / 2] } else { f64::midpoint(values[n / 2 - 1], values[n / 2]) })
}

impl Run<'_> {
    pub(super) fn located(&self) -> impl Iterator<Item = &Located> {
        self.images.iter().filter_map(|i| i.as_ref().ok().copied())
    }

    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.located().filter(|l| l.verdict == verdict).count()
    }

    /// Patches, those found, those that are right, and the median distance from the truth.
    pub(super) fn patches(&self) -> (usize, usize, usize, Option<f64>) {
        let fixes = || self.located().flat_map(|l| &l.fixes);
        let right = fixes().filter(|f| f.right() == Some(true)).count();
        (fixes().count(), fixes().filter(|f| f.found()).count(), right, median(fixes().filter_map(|f| f.error_m()).collect()))
    }

    pub(super) fn seconds(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::from([("open".to_string(), self.locator.seconds()), ("upload".into(), self.session.seconds())]);
        for (name, s) in self.located().flat_map(|l| &l.seconds) {
            *all.entry(name.clone()).or_default() += s;
        }
        all
    }

    pub(super) fn print(&self, seconds: f64, outputs: &[&Path]) {
        for image in self.images {
            match image {
                Ok(image) => out!("{}", line(image)),
                Err(failed) => out!("{}: failed", failed.file),
            }
        }
        let (patches, found, right, median_m) = self.patches();
        if self.images.len() > 1 {
            out_raw!(
                "{} images: {} here, {} to check, {} not on this map; ",
                self.images.len(),
                self.count(Verdict::Here),
                self.count(Verdict::Check),
                self.count(Verdict::NotHere)
            );
        }
        let parts: Vec<String> = self.seconds().iter().map(|(name, s)| format!("{name} {s:.2} s")).collect();
        // Cells are always found, if not the right ones.
        let said = if self.locator.threshold().is_some() { "located" } else { "looked up" };
        out!("{found} of {patches} patches {said}; {seconds:.1} s ({})", parts.join(", "));
        if let (true, Some(m)) = (self.args.truth, median_m) {
            out!("held against the images' own georeference: {right} of {found} right, median distance {m:.0} m");
        }
        outputs.iter().for_each(|p| out!("wrote {}", p.display()));
    }
}

/// An image in a line.
fn line(image: &Located) -> String {
    let mut text = format!("{}: {}", image.file, image.verdict.words());
    if let Some(p) = &image.place {
        text += &format!(", {:.5} {:.5}", p.lonlat[0], p.lonlat[1]);
        if let Some(e) = &p.ellipse {
            text += &format!(" ± {:.0} m", e.major_m);
        }
    }
    if let Some(p) = image.probability {
        text += &format!(", probability {p:.3}");
    }
    if image.variant != Variant::PLAIN && image.place.is_some() {
        text += &format!(", turned {:.1}° clockwise, scale {:.3}", image.variant.rotation_deg, image.variant.scale);
    }
    if let Some(n) = image.agreeing {
        text += &format!(", {n} of {} patches agree", image.fixes.len());
    }
    if let Some(d) = image.displaced {
        text += &format!(", {d}");
    }
    text
}
