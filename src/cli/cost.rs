//! What a command is about to take: told where it is much, refused where there is no room for it.

use super::common::{Global, warn};
use crate::atomic::folder_of;
use crate::dense::{DenseModel, Layout};
use crate::index::IndexConfig;
use crate::scene::{Cell, Grid, Image, ValidityMask};
use crate::{Error, Result};
use std::path::Path;

/// From so many bytes on, a command says what it will take.
const SAID: u128 = 256 << 20;

/// From so many bytes on, it warns.
const MUCH: u128 = 8 << 30;

/// What no machine has.
const ABSURD: u128 = 1 << 50;

/// Where bytes go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room<'a> {
    /// The machine's memory.
    Memory,
    /// The disk of a file, or that of temporary files.
    Disk(Option<&'a Path>),
}

impl Room<'_> {
    fn free(self) -> Option<u128> {
        match self {
            Self::Memory => memory().map(u128::from),
            Self::Disk(Some(path)) => fs4::available_space(folder_of(path)).ok().map(u128::from),
            Self::Disk(None) => fs4::available_space(std::env::temp_dir()).ok().map(u128::from),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Memory => "memory".into(),
            Self::Disk(Some(path)) => format!("the disk of {}", path.display()),
            Self::Disk(None) => format!("the disk of {} (TMPDIR names another)", std::env::temp_dir().display()),
        }
    }
}

/// Memory that programs may yet take, bytes, where the system says.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Bytes as people say them.
fn in_words(bytes: u128) -> String {
    let scaled = bytes as f64;
    match bytes {
        0..1_000_000_000 => format!("{:.0} MB", scaled / 1e6),
        1_000_000_000..1_000_000_000_000 => format!("{:.1} GB", scaled / 1e9),
        _ => format!("{:.1} TB", scaled / 1e12),
    }
}

/// What to do about so many bytes.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Said,
    Much,
    TooMuch,
}

fn judge(bytes: u128, free: Option<u128>) -> Verdict {
    match bytes {
        b if b > free.unwrap_or(ABSURD) => Verdict::TooMuch,
        b if b >= MUCH => Verdict::Much,
        b if b >= SAID => Verdict::Said,
        _ => Verdict::Fine,
    }
}

/// Holds what will be taken against the room there is. `what` names it with the options that made it so large, `advice` says what makes it smaller.
///
/// # Errors
/// There is less room.
pub(super) fn weigh(global: &Global, bytes: u128, room: Room<'_>, what: &str, advice: &str) -> Result<()> {
    let free = room.free();
    let take = format!("{what}: up to {} of {}", in_words(bytes), room.name());
    match judge(bytes, free) {
        Verdict::Fine => {}
        Verdict::Said => global.say(format_args!("{take}")),
        Verdict::Much => warn(format_args!("{take}; {advice}")),
        Verdict::TooMuch => {
            let free = free.map_or_else(|| "which no machine has".into(), |f| format!("where {} are free", in_words(f)));
            return Err(Error::invalid(format!("{take}, {free}; {advice}")));
        }
    }
    Ok(())
}

/// Weighs a retrieval database of a map, of rows of `dim` values; without a file it stays in memory.
///
/// # Errors
/// There is no room, or there are more rows than a database counts.
pub(super) fn weigh_index(global: &Global, map: &Image, config: &IndexConfig, dim: usize, file: Option<&Path>) -> Result<()> {
    let IndexConfig { cell, stride, views, .. } = *config;
    let (w, h) = (map.raster.width(), map.raster.height());
    let all = Grid::new(w, h, cell, stride)?.len();
    let advice = "take a larger --stride or --cell, or fewer --views";
    let weigh_share = |share: f64| -> Result<()> {
        let cells = (all as f64 * share) as u128;
        let rows = cells * u128::from(config.views_a_cell());
        let what = format!("--cell {cell}, --stride {stride} and --views {views} make {cells} cells of {} rows", config.views_a_cell());
        if rows > u128::from(u32::MAX) {
            return Err(Error::invalid(format!("{what}, more than a database counts; {advice}")));
        }
        // In memory while it is made: the cells, where they lie, and the number of each row. On disk: rows of f16, once apart and once in the file.
        let held = cells * (size_of::<Cell>() as u128 + 32) + 8 * rows;
        let bytes = rows * (2 * dim as u128 + 4);
        match file {
            Some(path) => weigh(global, 2 * bytes, Room::Disk(Some(path)), &what, advice)?,
            None => weigh(global, bytes, Room::Disk(None), &what, advice)?,
        }
        weigh(global, held + if file.is_none() { bytes } else { 0 }, Room::Memory, &what, advice)
    };
    // A mosaic may be empty for the most part, which only reading it tells.
    weigh_share(1.0).or_else(|_| weigh_share(ValidityMask::new(&map.raster)?.share(0.0, 0.0, f64::from(w), f64::from(h))))
}

/// Weighs a dense database of a map, in a file or a temporary one.
///
/// # Errors
/// There is no room.
pub(super) fn weigh_dense(global: &Global, map: &Image, layout: &Layout, model: &DenseModel, file: Option<&Path>) -> Result<()> {
    let size = [map.raster.width(), map.raster.height()];
    let weigh_blocks = |blocks: usize| {
        let n = layout.side as u128;
        // Complex f16 of the features, and of energy and validity; once apart and once in the file.
        let bytes = 2 * blocks as u128 * (n / 2 + 1) * n * (model.channels() as u128 + 2) * 4;
        let what = format!("the spectra of {blocks} blocks of {n} x {n} feature pixels, {:.2} map pixels each", layout.step);
        weigh(global, bytes, Room::Disk(file), &what, "take a larger --scale or a smaller --patch")
    };
    weigh_blocks(layout.blocks(size)).or_else(|_| weigh_blocks(layout.origins(size, &ValidityMask::new(&map.raster)?).len()))
}

/// Weighs a synthetic city: what is held of a pixel while it is made, and its three files.
///
/// # Errors
/// There is no room.
pub(super) fn weigh_city(global: &Global, size: u32, folder: &Path) -> Result<()> {
    let pixels = u128::from(size).pow(2);
    let what = format!("--size {size} makes {:.0} million pixels", pixels as f64 / 1e6);
    weigh(global, 48 * pixels, Room::Memory, &what, "take a smaller --size")?;
    weigh(global, 6 * pixels, Room::Disk(Some(&folder.join("optical.tif"))), &what, "take a smaller --size, or another --out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_told_by_how_much_it_is_and_what_does_not_is_refused() {
        let gb = |n: u128| n * 1_000_000_000;
        assert_eq!([1000, gb(1), gb(20)].map(|b| judge(b, Some(gb(100)))), [Verdict::Fine, Verdict::Said, Verdict::Much]);
        assert_eq!(
            [judge(gb(3), Some(gb(2))), judge(gb(3), None), judge(u128::MAX, None)],
            [Verdict::TooMuch, Verdict::Said, Verdict::TooMuch]
        );
        let global = Global { adapter: None, verbose: 0, no_tune: true, quiet: true };
        let e = weigh(&global, u128::MAX, Room::Disk(None), "--stride 1 makes 9 rows", "take a larger --stride").unwrap_err().to_string();
        assert!(e.starts_with("--stride 1 makes 9 rows: ") && e.ends_with("take a larger --stride") && e.contains("free"), "{e}");
        weigh(&global, 12, Room::Memory, "little", "").unwrap();
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!([2_400_000, 12_340_000_000, 65_000_000_000_000].map(in_words), ["2 MB", "12.3 GB", "65.0 TB"]);
        assert!(Room::Disk(None).free().is_some_and(|f| f > 0));
        assert!(!cfg!(target_os = "linux") || memory().is_some_and(|m| m > 1 << 20));
    }
}
