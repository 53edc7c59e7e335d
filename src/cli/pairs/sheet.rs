//! Contact sheets of the crops that were left out.

use crate::Result;
use crate::pairs::build::{Crop, Reason};
use crate::report::figures::{self, Contact, contact_sheet};
use crate::report::pictures;
use crate::scene::{Image, Window};
use std::path::{Path, PathBuf};

/// Crops on a sheet.
const ON_A_SHEET: usize = 40;

/// Sheets, each written when it is full.
pub(super) struct Sheets<'a> {
    images: [&'a Image; 2],
    folder: &'a Path,
    waiting: Vec<Contact>,
    pub(super) written: Vec<PathBuf>,
}

impl<'a> Sheets<'a> {
    /// Of crops of the SAR image and of the optical one.
    pub(super) fn new(images: [&'a Image; 2], folder: &'a Path) -> Self {
        Self { images, folder, waiting: Vec::new(), written: Vec::new() }
    }

    /// Adds a crop.
    pub(super) fn add(&mut self, crop: &Crop, why: &[Reason], windows: &[Window; 2]) -> Result<()> {
        let m = &crop.measures;
        let fit = match m.misfit {
            Some(f) => format!("{:.1} px off, probability {:.2}", f.px, f.probability),
            None => "fit not measured".into(),
        };
        let lines = vec![
            why.iter().map(|r| r.name()).collect::<Vec<_>>().join(", "),
            format!("at {}, {}; missing {:.1} %", crop.at[0], crop.at[1], 100.0 * m.missing),
            format!("texture SAR {:.2}, optical {:.2}", m.texture[0], m.texture[1]),
            format!("saturated {:.1} %, {:.1} %", 100.0 * m.saturated[0], 100.0 * m.saturated[1]),
            fit,
        ];
        let [sar, optical] = [0, 1].map(|i| pictures::window(self.images[i], &windows[i]));
        self.waiting.push(Contact { pictures: [sar?, optical?], lines });
        if self.waiting.len() == ON_A_SHEET { self.flush() } else { Ok(()) }
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let number = self.written.len() + 1;
        let path = self.folder.join(format!("dropped-{number}.svg"));
        let title = format!("Crops that were left out, sheet {number}");
        figures::write(
            &path,
            &contact_sheet(&title, "SAR and optical crop, the limits that they fail, and what was measured", &self.waiting)?,
        )?;
        self.waiting.clear();
        self.written.push(path);
        Ok(())
    }
}
