//! `echogrid bench`.

use super::common::{Global, check_output, print_json, written_once};
use crate::{Error, Result};
use benches::ALL;
use benches::common::Bench;
use benches::record::{Case, Comparison, Record};
use benches::roofline::Roofline;
use serde_json::json;
use std::path::PathBuf;

#[path = "../../benches/mod.rs"]
mod benches;

/// Time every kernel and whole jobs on the adapter, beside the limits it was measured to have
///
/// One line a case: the median of several runs by the wall clock, and its share of the roofline that the device's arithmetic and memory draw,
/// which are measured first. The whole takes some minutes; name families to time those alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Families of kernels to time, or `jobs` [default: all of them]
    #[arg(value_name = "FAMILY", value_parser = clap::builder::PossibleValuesParser::new(ALL.map(|(name, _)| name)), hide_possible_values = true)]
    families: Vec<String>,
    /// List the families
    #[arg(long)]
    list: bool,
    /// Keep the results in this file, with adapter, version and commit
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    /// Compare with the results in this file (of --out), and fail where a case got slower beyond the noise
    #[arg(long, value_name = "FILE.json")]
    baseline: Option<PathBuf>,
    /// Draw the results under the roofline
    #[arg(long, value_name = "FILE.svg")]
    figure: Option<PathBuf>,
    /// Print one JSON object on standard output (what is kept by --out)
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    if args.list {
        ALL.iter().for_each(|(name, _)| out!("{name}"));
        return Ok(());
    }
    // Before the minutes that follow.
    [&args.out, &args.figure].into_iter().flatten().try_for_each(|path| check_output(path))?;
    let baseline = args.baseline.as_deref().map(Record::read).transpose()?;
    let engine = global.engine()?;
    let roofline = Roofline::measure(&engine)?;
    let record = Record::begin(engine.adapter().to_string(), roofline);
    if let Some(baseline) = &baseline {
        // Of another adapter? Better told now than at the end.
        record.compare(baseline)?;
    }
    if !args.json {
        let matrices = roofline.matrix_gflops.map_or_else(String::new, |v| format!(", {v:.1} GFLOP/s by cooperative matrices in f16"));
        out!("limits: {:.1} GFLOP/s in f32{matrices}, {:.1} GB/s", roofline.gflops, roofline.gbytes);
    }
    let done = |case: &Case| {
        if !args.json {
            out!("{}", line(case))
        }
    };
    let mut bench = Bench { engine: &engine, record, done: &done };
    let mut failed = Vec::new();
    for (name, run) in ALL.iter().filter(|(name, _)| args.families.is_empty() || args.families.iter().any(|f| f == name)) {
        // A device too small for one family may well be measured with the others.
        if let Err(e) = run(&mut bench) {
            eprintln!("{name}: {e}");
            failed.push(*name);
        }
        // What was measured stays, whatever becomes of the rest.
        if let Some(path) = args.out.as_deref().filter(|p| !written_once(p)) {
            bench.record.write(path)?;
        }
    }
    let record = bench.record;
    if let Some(path) = args.out.as_deref().filter(|p| written_once(p)) {
        record.write(path)?;
    }
    // All else is said first.
    let drawn = args.figure.as_deref().map_or(Ok(()), |path| record.draw(path));
    let compared = baseline.as_ref().map(|b| record.compare(b)).transpose()?;
    if args.json {
        print_json(&json!({ "record": record, "stamps": record.stamps(), "compared": compared, "failed": failed }))?;
    } else {
        summary(&record, baseline.as_ref().zip(compared.as_deref()));
    }
    let slower: Vec<&str> = compared.iter().flatten().filter(|c| c.verdict > 0).map(|c| c.name.as_str()).collect();
    drawn?;
    match (failed.is_empty(), slower.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(Error::invalid(format!("not measured to the end: {}", failed.join(", ")))),
        (true, false) => Err(Error::invalid(format!("slower than the baseline: {}", slower.join("; ")))),
    }
}

fn line(case: &Case) -> String {
    let speed = match &case.rate {
        Some((per_s, what)) => format!("{per_s:>13.1} {what}"),
        None => format!("{:>8.2} GFLOP/s  {:>7.2} GB/s", case.gflops, case.gbytes),
    };
    let share = if case.share > 0.0 { format!("  {:>3.0} % of the limit", 100.0 * case.share) } else { String::new() };
    let spread = 100.0 * (case.quartiles_s[1] - case.quartiles_s[0]) / case.median_s;
    format!(
        "{:<56} {:>10.3} ms  {speed:<31}{share}  (middle half within {spread:.0} %, {} runs)",
        case.name,
        case.median_s * 1e3,
        case.runs
    )
}

fn summary(record: &Record, compared: Option<(&Record, &[Comparison])>) {
    match record.stamps() {
        Some((ratio, [apart, of])) => {
            out!(
                "\nthe device's stamps give {:.0} % of the wall clock (median); {apart} of {of} cases lie outside 80 to 105 %",
                100.0 * ratio
            );
        }
        None => out!("\nthe device's stamps cannot be trusted, or nothing took a millisecond: the wall clock alone counts"),
    }
    let Some((baseline, compared)) = compared else { return };
    let load = |r: &Record| r.load.map_or("unknown".to_string(), |l| format!("{l:.1}"));
    out!("\ntimes over those of {} (load of the machine {} then, {} now):", baseline.title(), load(baseline), load(record));
    for c in compared {
        out!("{:<64} {:>6.2}  {}", c.name, c.ratio, ["faster", "", "slower"][(c.verdict + 1) as usize]);
    }
}
