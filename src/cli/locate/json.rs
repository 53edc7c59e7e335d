//! What `echogrid locate --json` prints.

use super::show::Run;
use crate::Result;
use crate::cli::common::{command_line, print_json};
use crate::locate::Verdict;
use crate::report::{Outcome, geojson};
use serde_json::{Value, json};

impl Run<'_> {
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
}

/// An image as JSON.
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
            value.insert("threshold".into(), json!(image.threshold));
            value.insert("no_data".into(), json!(image.no_data));
            value.insert("outside_prior".into(), json!(image.outside));
            value.insert("patch".into(), json!(image.side_px));
            value.insert("step".into(), json!(image.step));
            value.insert("warnings".into(), json!(image.warnings));
            value.insert("fixes".into(), json!(fixes));
            Value::Object(value)
        }
    }
}
