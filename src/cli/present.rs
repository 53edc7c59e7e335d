//! What pages say and show of a run, with progress.

use super::common::{Global, command_line};
use crate::Result;
use crate::dense::DenseModel;
use crate::index::LoadedModel;
use crate::locate::{Fix, Located};
use crate::report::pictures::{self, PICTURED_FIXES, Subject, pictures};
use crate::report::{MapOverview, Pictures, ReportMeta, utc};
use crate::scene::Image;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) use pictures::Averaged;

/// Pictures of the first fixes of each image, each from its subject; `counts` says how many fixes each image has.
pub(super) fn pictured(global: &Global, fixes: &[Fix], subjects: &[Subject<'_>], counts: &[usize]) -> Result<Vec<Pictures>> {
    let share = (PICTURED_FIXES / counts.len().max(1)).max(1);
    let mut chosen: Vec<bool> = counts.iter().flat_map(|n| (0..*n).map(|i| i < share)).collect();
    chosen.resize(fixes.len(), false);
    let mut left = PICTURED_FIXES;
    let bar = global.bar(chosen.iter().filter(|c| **c).count().min(left) as u64, "pictures");
    let all = fixes.iter().zip(subjects).zip(chosen).map(|((f, s), chosen)| {
        if !chosen || left == 0 {
            return Ok(Pictures::default());
        }
        left -= 1;
        let one = pictures(f, s);
        bar.inc(1);
        one
    });
    let all = all.collect::<Result<_>>()?;
    bar.finish_and_clear();
    Ok(all)
}

/// A part of an image, averaged down.
pub(super) fn averaged(global: &Global, image: &Image, from: [i64; 2], size: [u32; 2], longest: u32) -> Result<Averaged> {
    let bar = global.bar(u64::from(size[1]), "overview");
    let all = pictures::averaged(&mut |done, _| bar.set_position(done), image, from, size, longest)?;
    bar.finish_and_clear();
    Ok(all)
}

/// The whole map, averaged down.
pub(super) fn overview(global: &Global, map: &Image) -> Result<MapOverview> {
    let bar = global.bar(u64::from(map.raster.height()), "overview");
    let all = pictures::overview(&mut |done, _| bar.set_position(done), map)?;
    bar.finish_and_clear();
    Ok(all)
}

/// The whole map, averaged down, with the images that were placed on it.
pub(super) fn overview_with(global: &Global, map: &Image, images: &[&Located]) -> Result<MapOverview> {
    let mut all = overview(global, map)?;
    pictures::overlays(&mut all, map, images)?;
    Ok(all)
}

/// A model in a few words, and how it multiplied.
pub(super) fn model_name(model: &LoadedModel) -> String {
    format!("{} ({}), {}", model.path.display(), model.hash.get(..12).unwrap_or_default(), model.precision())
}

/// Features in a few words, and how their networks multiplied, if they have any.
pub(super) fn features_name(model: &DenseModel) -> String {
    let name = format!("{} features ({})", model.name(), model.hash().get(..12).unwrap_or_default());
    if model.file().is_some() { format!("{name}, {}", model.precision()) } else { name }
}

/// The time, to the minute.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    let text = utc(seconds);
    format!("{} {} UTC", &text[..10], &text[11..16])
}

/// What a page says about its run.
pub(super) fn meta(title: &str, map: &str, sar: &str, model: String, adapter: &str, rows: Vec<(String, String)>) -> ReportMeta {
    ReportMeta {
        title: title.into(),
        command: command_line(),
        map: map.into(),
        sar: sar.into(),
        model,
        adapter: adapter.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        date: now(),
        rows,
    }
}
