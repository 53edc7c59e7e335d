//! `echogrid eval --match`.

use super::args::Args;
use crate::Result;
use crate::cli::common::{Global, print_json, warn};
use crate::eval::{Distances, Verification};
use crate::matching::{MatchModel, Spots, distances};
use crate::pairs::PairScene;
use crate::report::{figures, write_atomically};
use serde_json::{Value, json};

/// Negatives of each pair.
const NEGATIVES: usize = 1;

/// Judges a matching model on pairs and as many that are none.
pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let model = MatchModel::load(args.model.as_deref())?;
    if model.threshold().is_none() {
        warn(format_args!("{}: has no threshold of its own, as of a run that is not over: 0.5 is taken", model.path.display()));
    }
    // As `match` standardises single files, which the threshold is for.
    let scene = args.scene.open_with_places(&args.reading)?.standardised_as(&model.standardisation()?);
    let network = model.network();
    let spots = Spots::new(&scene, network.patch, NEGATIVES, args.seed)?;
    let engine = global.engine()?;
    let batch = (args.grid.batch as usize).min(spots.spots.len());
    let embedder = model.embedder(&engine, batch, args.dense.what.precision)?;
    let values = distances(&embedder, network, &scene, &spots)?;
    let found = Distances::new(values.clone(), NEGATIVES)?;
    let summary = Verification::new(&found, &spots.pairs(), model.line(), args.seed)?;
    if let Some(path) = &args.dump {
        let text = format!("{}\n", dump(&values, &scene, &spots, model.line()));
        write_atomically(path, text.as_bytes())?;
        global.say(format_args!("wrote {}", path.display()));
    }
    if let Some(path) = &args.figure {
        let line = format!("{} pairs and as many others, area {:.4}", summary.pairs, summary.auc.value);
        figures::write(path, &figures::roc_curve(&[("", &found.roc())], &line)?)?;
        global.say(format_args!("wrote {}", path.display()));
    }
    if !args.json {
        out!("{} px patches, on {}, {}", network.patch, engine.adapter(), args.dense.what.precision);
        out!("{summary}");
        return Ok(());
    }
    let mut value = summary.to_json();
    for (name, told) in [
        ("patch", json!(network.patch)),
        ("seed", json!(args.seed)),
        ("model", json!(model.file.hash())),
        ("validated", json!(model.threshold())),
        ("adapter", json!(engine.adapter().to_string())),
        ("precision", json!(args.dense.what.precision)),
    ] {
        value[name] = told;
    }
    print_json(&value)
}

/// The distance of each patch's pair and of its negatives.
fn dump(values: &[f64], scene: &PairScene, spots: &Spots, threshold: f64) -> Value {
    let name = |i: usize| &scene.places[spots.spots[i].pair].name;
    let row = |(i, row): (usize, &[f64])| {
        let others = spots.negatives[i * NEGATIVES..][..NEGATIVES].iter().zip(&row[1..]);
        let negatives: Vec<Value> = others.map(|(j, d)| json!({ "name": name(*j as usize), "patch": j, "distance": d })).collect();
        json!({ "name": name(i), "map_px": spots.spots[i].map_px, "distance": row[0], "negatives": negatives })
    };
    json!({ "threshold": threshold, "pairs": values.chunks(1 + NEGATIVES).enumerate().map(row).collect::<Vec<_>>() })
}
