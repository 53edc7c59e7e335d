//! `echogrid info`.

use super::common::tuning::{self, Known, Origin};
use super::common::{Global, print_json, warn, warn_of};
use super::selftest;
use crate::gpu::{AdapterSummary, Caps, Engine, list_adapters};
use crate::index::LoadedModel;
use crate::report::describe::{describe_raster, describe_tensors};
use crate::scene::{Bands, NoData, OpenOptions};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Show the adapters and the shipped model, or what a file says about itself
///
/// FILE is a model, a checkpoint, a database, or an image.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, checkpoint, database or image
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Band of an image to look at: its number, or a word of its description such as VV [default: all of them]
    #[arg(long, value_name = "BAND", requires = "file")]
    band: Option<String>,
    /// Value of an image that marks no data; `none`: every value is data [default: the file's own, and fill that it does not name]
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, hide_default_value = true, default_value = "auto", requires = "file")]
    no_data: NoData,
    /// Run some kernels on the chosen adapter and compare with the processor's results
    #[arg(long, conflicts_with = "file")]
    self_test: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    match &args.file {
        Some(path) => file(path, args),
        None => machine(global, args),
    }
}

fn machine(global: &Global, args: &Args) -> Result<()> {
    let adapters = pollster::block_on(list_adapters());
    let engine = pollster::block_on(Engine::new(&crate::gpu::AdapterChoice::from_option(global.adapter.as_deref())));
    let known = engine.map(|engine| tuning::known(global, engine));
    let model = LoadedModel::load(None);
    let checks = match (&known, args.self_test) {
        (Ok(known), true) => Some(selftest::run(&known.engine)),
        _ => None,
    };
    if args.json {
        let mut value = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "adapters": adapters,
            "chosen": known.as_ref().ok().map(|k| json!({ "adapter": k.engine.adapter(), "capabilities": k.engine.caps() })),
            "tuning": known.as_ref().ok().map(|k| json!({ "origin": k.origin, "path": k.path })),
            "model": model.as_ref().ok().map(|m| json!({ "hash": m.hash, "manifest": m.file.manifest })),
        });
        if let Some(checks) = &checks {
            value["self_test"] = json!(checks);
        }
        print_json(&value)?;
    } else {
        out!("echogrid {}\n", env!("CARGO_PKG_VERSION"));
        print_adapters(&adapters);
        if let Ok(Known { engine, origin, path }) = &known {
            let by = match (origin, path) {
                (Origin::Kept, Some(path)) => format!("measurements kept in {}", path.display()),
                (Origin::Shipped, _) => "shipped measurements of this adapter (`echogrid tune` makes your own)".into(),
                _ => "the kind of adapter (`echogrid tune` measures)".into(),
            };
            out!("\nchosen: {}\n{}\n  kernels go by            {by}", engine.adapter(), capabilities(engine.caps()));
        }
        match &model {
            Ok(m) => out!("\nshipped model: {}", in_short(m)),
            Err(e) => out!("\nshipped model: none ({e})"),
        }
        if let Some(checks) = &checks {
            out!("\nself-test, kernels against their twins on the processor");
            checks.iter().for_each(|c| out!("  {:<6} {} ({})", if c.ok { "ok" } else { "FAILED" }, c.kernel, c.detail));
        }
    }
    known?;
    match checks.map_or(0, |c| c.iter().filter(|c| !c.ok).count()) {
        0 => Ok(()),
        n => Err(Error::invalid(format!(
            "{n} kernels do not agree with their twins on this adapter: do not trust its results; update the driver, try ECHOGRID_DISABLE=f16,subgroup,coop, or choose another with --adapter"
        ))),
    }
}

fn print_adapters(adapters: &[AdapterSummary]) {
    out!("adapters (choose one with --adapter NUMBER or a part of its name)");
    if adapters.is_empty() {
        out!("  none");
    }
    for (i, a) in adapters.iter().enumerate() {
        out!("  {i}: {a}");
    }
}

fn capabilities(c: &Caps) -> String {
    let yes = |v: bool| if v { "yes" } else { "no" };
    let mib = |v: u64| if v >= 1 << 40 { "no limit".to_string() } else { format!("{} MiB", v >> 20) };
    let width =
        if c.subgroup_min == c.subgroup_max { c.subgroup_min.to_string() } else { format!("{} to {}", c.subgroup_min, c.subgroup_max) };
    format!(
        "  computes on the CPU      {}\n  subgroups                {} (width {width})\n  16-bit floats            {}\n  64-bit integers          {}\n  cooperative matrices     {}\n  timestamps               {}\n  largest binding, buffer  {}, {}\n  workgroup                {} invocations, {} KiB\n  layers of a texture      {}",
        yes(c.software),
        yes(c.subgroup),
        yes(c.f16),
        yes(c.int64),
        if c.cooperative > 0 { format!("{0} x {0}, 16-bit", c.cooperative) } else { "no".into() },
        yes(c.timestamp),
        mib(c.max_binding),
        mib(c.max_buffer),
        c.max_invocations,
        c.max_workgroup_bytes >> 10,
        c.max_texture_layers
    )
}

fn in_short(m: &LoadedModel) -> String {
    let f = &m.file.manifest;
    let values: usize = m.file.tensors.values().map(|t| t.1.len()).sum();
    format!(
        "{} ({values} values, patches of {:.0} m at {} px, {} scenes, step {}, made with {})",
        m.hash.get(..12).unwrap_or_default(),
        f.patch_m,
        f.encoder.input,
        f.scenes.len(),
        f.step,
        f.version
    )
}

fn file(path: &Path, args: &Args) -> Result<()> {
    let options = OpenOptions { bands: args.band.clone().map_or(Bands::All, Bands::Named), no_data: args.no_data, reader: None };
    let (value, doubts) = match options.open(path) {
        Ok(raster) => {
            warn_of(&raster);
            describe_raster(&raster)?
        }
        Err(crate::scene::Error::NotAnImage { .. }) => describe_tensors(path)?,
        Err(e) => return Err(e.into()),
    };
    doubts.into_iter().for_each(warn);
    if args.json {
        return print_json(&value);
    }
    out!("{}", path.display());
    print_value(&value, 1);
    Ok(())
}

/// A value for people: indented, one field a line, short lists on one.
fn print_value(value: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    let flat = |v: &Value| !v.is_object() && !v.as_array().is_some_and(|a| a.iter().any(|v| v.is_object()));
    let show = |v: &Value| match v {
        Value::String(s) => s.clone(),
        Value::Null => "none".into(),
        v => v.to_string().replace(',', ", "),
    };
    match value {
        Value::Object(fields) => {
            let width = fields.iter().filter(|(_, v)| flat(v)).map(|(k, _)| k.chars().count()).max().unwrap_or(0);
            for (key, v) in fields {
                if flat(v) {
                    out!("{pad}{key:<width$}  {}", show(v));
                } else {
                    out!("{pad}{key}");
                    print_value(v, depth + 1);
                }
            }
        }
        Value::Array(values) => {
            for (i, v) in values.iter().enumerate() {
                out!("{pad}{}.", i + 1);
                print_value(v, depth + 1);
            }
        }
        v => out!("{pad}{}", show(v)),
    }
}
