//! What `echogrid locate` says: in words and as JSON.

use super::args::Args;
use crate::Result;
use crate::cli::common::{Global, command_line, print_json};
use crate::locate::{Located, Locator, Session, Variant, Verdict};
use crate::report::{Outcome, geojson};
use serde_json::{Value, json};
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

    fn count(&self, verdict: Verdict) -> usize {
        self.located().filter(|l| l.verdict == verdict).count()
    }

    /// Patches, those found, those that are right, and the median distance from the truth.
    fn patches(&self) -> (usize, usize, usize, Option<f64>) {
        let fixes = || self.located().flat_map(|l| &l.fixes);
        let right = fixes().filter(|f| f.right() == Some(true)).count();
        (fixes().count(), fixes().filter(|f| f.found()).count(), right, median(fixes().filter_map(|f| f.error_m()).collect()))
    }

    fn seconds(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::from([("open".to_string(), self.locator.seconds()), ("upload".into(), self.session.seconds())]);
        for (name, s) in self.located().flat_map(|l| &l.seconds) {
            *all.entry(name.clone()).or_default() += s;
        }
        all
    }

    pub(super) fn print_json(&self, seconds: f64) -> Result<()> {
        let args = self.args;
        let (patches, found, right, median_m) = self.patches();
        let images: Vec<Value> = self.images.iter().map(image_json).collect();
        let mut parts = self.seconds();
        parts.insert("all".into(), seconds);
        let (model, features) = (self.locator.index().map(|(_, m)| m.hash.clone()), self.locator.features());
        print_json(&json!({
            "schema": 1, "images": images, "method": self.locator.method().name(), "out": args.out,
            "here": self.count(Verdict::Here), "check": self.count(Verdict::Check), "not_here": self.count(Verdict::NotHere),
            "failed": self.images.iter().filter(|i| i.is_err()).count(),
            "patches": patches, "fixes": found, "not_found": patches - found,
            "threshold": self.locator.threshold(), "features": features.map(|m| m.name()),
            "truth": args.truth.then(|| json!({ "right": right, "of": found, "median_distance_m": median_m })),
            "refine": self.locator.options().refine.method, "seconds": parts,
            "model": features.map(|m| m.hash().to_string()).or(model), "precision": self.session.precision(),
            "adapter": self.adapter, "command": command_line(),
        }))
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
        out!("{found} of {patches} patches located; {seconds:.1} s ({})", parts.join(", "));
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

fn image_json(image: &Outcome<'_>) -> Value {
    match image {
        Err(failed) => json!({ "file": failed.file, "verdict": "failed", "problem": failed.problem }),
        Ok(image) => {
            let mut value = geojson::whole(image);
            value.remove("kind");
            let fixes: Vec<Value> = image
                .fixes
                .iter()
                .map(|f| {
                    let mut fix = geojson::patch(&image.file, f);
                    ["kind", "file", "candidates"].into_iter().for_each(|name| drop(fix.remove(name)));
                    Value::Object(fix)
                })
                .collect();
            value.insert("footprint".into(), json!(image.footprint));
            value.insert("variants".into(), json!(image.variants));
            value.insert("no_data".into(), json!(image.no_data));
            value.insert("outside_prior".into(), json!(image.outside));
            value.insert("patch".into(), json!(image.side_px));
            value.insert("step".into(), json!(image.step));
            value.insert("fixes".into(), json!(fixes));
            Value::Object(value)
        }
    }
}
