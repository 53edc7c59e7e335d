//! The page of `echogrid locate`.

use super::show::Run;
use crate::Result;
use crate::cli::common::name_of;
use crate::cli::present::{features_name, meta, model_name, overview_with, pictured};
use crate::locate::{Located, Method};
use crate::report::html::Page;
use crate::report::pictures::Subject;
use std::path::Path;

impl Run<'_> {
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
        let located: Vec<&Located> = self.located().collect();
        let (mut fixes, mut subjects) = (Vec::new(), Vec::new());
        for l in &located {
            for (i, fix) in l.fixes.iter().enumerate() {
                fixes.push(fix.clone());
                subjects.push(Subject {
                    sar: l.image.as_deref(),
                    matrix: l.frame.matrix_at(fix.sar_px),
                    side: l.side_px,
                    map: map.as_deref(),
                    surface: l.matches.get(i).zip(self.locator.dense()),
                });
            }
        }
        let pictures = pictured(self.global, &fixes, &subjects, &located.iter().map(|l| l.fixes.len()).collect::<Vec<_>>())?;
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
        let were = if self.images.len() == 1 { "was" } else { "were" };
        let meta = meta(&format!("Where {sar} {were} taken"), &info.name, &sar, model, &self.adapter, rows);
        let overview = map.as_ref().map(|m| overview_with(self.global, m, &located)).transpose()?;
        let page = Page { images: self.images, pictures: &pictures, overview: overview.as_ref(), ..Page::new(&meta, &fixes) };
        Ok(page.write(path)?)
    }
}
