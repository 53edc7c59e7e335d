//! What `echogrid locate` says: in words, as JSON, as a page.

use super::args::Args;
use crate::Result;
use crate::cli::common::{Global, name_of};
use crate::cli::present::{features_name, meta, model_name, overview, pictured};
use crate::locate::{Located, Locator, Method, Session, Variant, Verdict};
use crate::report::pictures::Subject;
use crate::report::{Outcome, html::Page};
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
    fn located(&self) -> impl Iterator<Item = &Located> {
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

    /// Rows of the page about the run.
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let one = match self.images {
            [Ok(one)] => Some(*one),
            _ => None,
        };
        if let Some(l) = one {
            rows.push(("Patches".into(), format!("{} of {:.0} map pixels, every {}", l.fixes.len(), l.side_px, l.step)));
            rows.push(("SAR pixel".into(), format!("{:.2} m{}", l.frame.pixel_m, if l.frame.flipped { ", mirrored" } else { "" })));
            if l.variants > 1 {
                rows.push(("Turns and scales".into(), format!("{} tried of each patch", l.variants)));
            }
            if l.no_data > 0 {
                rows.push(("Left out".into(), format!("{} patches without data in half of their pixels", l.no_data)));
            }
        }
        if let Some(d) = self.locator.dense() {
            let layout = &d.manifest.layout;
            rows.push(("Searched".into(), format!("{} blocks of {} x {} feature pixels", d.len(), layout.side, layout.side)));
        }
        if let Some(t) = self.locator.threshold() {
            rows.push(("Threshold".into(), format!("not found below a probability of {t}")));
        }
        rows
    }

    pub(super) fn write_page(&self, path: &Path) -> Result<()> {
        let (map, info) = (self.locator.map_image()?, self.locator.map());
        let several = self.images.len() > 1;
        let (mut fixes, mut subjects) = (Vec::new(), Vec::new());
        for l in self.located() {
            for (i, fix) in l.fixes.iter().enumerate() {
                let mut fix = fix.clone();
                if several {
                    fix.id = format!("{} {}", name_of(Path::new(&l.file)), fix.id);
                }
                fixes.push(fix);
                subjects.push(Subject {
                    sar: &l.image,
                    matrix: l.frame.matrix_at(l.fixes[i].sar_px),
                    side: l.side_px,
                    map: map.as_deref(),
                    surface: l.matches.get(i).zip(self.locator.dense()),
                });
            }
        }
        let pictures = pictured(self.global, &fixes, &subjects)?;
        let model = match (self.locator.features(), self.locator.index()) {
            (Some(f), Some((_, m))) if self.locator.method() == Method::Both => format!("{}; cells by {}", features_name(f), model_name(m)),
            (Some(f), _) => features_name(f),
            (None, Some((_, m))) => model_name(m),
            (None, None) => String::new(),
        };
        let sar = match self.images {
            [Ok(one)] => name_of(Path::new(&one.file)),
            all => format!("{} images", all.len()),
        };
        let mut rows = self.rows();
        rows.push((
            "Pictures of".into(),
            match &map {
                Some(m) => name_of(m.raster.path()),
                None => format!("SAR patches only: the map {} was not found beside the database; name it with --map", info.name),
            },
        ));
        let meta = meta(&format!("Where {sar} was taken"), &info.name, &sar, model, &self.adapter, rows);
        let overview = map.as_ref().map(|m| overview(self.global, m)).transpose()?;
        let page = Page { images: self.images, pictures: &pictures, overview: overview.as_ref(), ..Page::new(&meta, &fixes) };
        Ok(page.write(path)?)
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
