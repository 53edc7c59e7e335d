//! `echogrid pairs check`.

use crate::cli::common::{Global, print_json};
use crate::pairs::{Faults, PairSet};
use crate::scene::OpenOptions;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Check sets of pairs: partners, sizes and types
///
/// Every fault is listed, one a line; the exit status is 1 where there are any.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of SAR images
    #[arg(value_name = "SAR", required_unless_present = "list", requires = "optical")]
    sar: Option<PathBuf>,
    /// Folder of optical images of equal names; the same folder again where it holds images N_sar and N_opt
    #[arg(value_name = "OPT")]
    optical: Option<PathBuf>,
    /// A table of pairs instead (CSV): columns `sar` and `optical`
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["sar", "optical"])]
    list: Option<PathBuf>,
    /// Decode every image too, not its header alone
    #[arg(long)]
    whole: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What is wrong with the pixels of a set's images.
fn undecoded(set: &PairSet, advance: impl Fn() + Sync) -> Vec<String> {
    let read = |path: &Path| {
        advance();
        let raster = OpenOptions::default().open(path)?;
        let lines = raster.chunk_size().1.max(1);
        (0..raster.height())
            .step_by(lines as usize)
            .try_for_each(|y| raster.read_window(0, i64::from(y), raster.width(), lines.min(raster.height() - y)).map(drop))
    };
    let images: Vec<&Path> = set.pairs().iter().flat_map(|p| [&p.sar, &p.optical]).map(PathBuf::as_path).collect();
    images.par_iter().filter_map(|p| read(p).err()).map(|e| e.to_string()).collect()
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let (set, Faults(faults)) = match (&args.list, &args.sar, &args.optical) {
        (Some(list), ..) => PairSet::examine_list(list)?,
        (None, Some(sar), Some(optical)) => PairSet::examine_folders(sar, optical)?,
        _ => return Err(Error::invalid("two folders, or --list FILE.csv, are missing")),
    };
    let mut faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    if args.whole {
        let bar = global.bar(2 * set.len() as u64, "decoding");
        faults.extend(undecoded(&set, || bar.inc(1)));
        bar.finish_and_clear();
    }
    let mut sizes: BTreeMap<[u32; 2], usize> = BTreeMap::new();
    set.pairs().iter().for_each(|p| *sizes.entry(p.size).or_default() += 1);
    if args.json {
        let sizes: Vec<_> = sizes.iter().map(|([w, h], n)| serde_json::json!({ "width": w, "height": h, "pairs": n })).collect();
        print_json(&serde_json::json!({ "pairs": set.len(), "sizes": sizes, "pixel_m": set.own_pixel_m()?, "faults": faults }))?;
    } else {
        out!("{} pairs", set.len());
        sizes.iter().for_each(|([w, h], n)| out!("{w}x{h} px    {n}"));
        faults.iter().for_each(|f| out!("fault: {f}"));
    }
    match faults.len() {
        0 => Ok(()),
        n => Err(Error::invalid(format!("{n} fault{} in these pairs", if n == 1 { "" } else { "s" }))),
    }
}
