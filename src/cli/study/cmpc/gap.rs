//! How each adversary moves the two modalities: measures of the gap over training, and the clouds behind it.

use super::outcome::Run;
use super::study::Study;
use super::ways::{BASE, way};
use crate::Result;
use crate::eval::gap::{embed, pairs, plane};
use crate::report::figures::{self, Moment, Series};

/// The ways that are watched.
const WATCHED: [&str; 5] = [BASE, "critic", "critic-light", "critic-gp", "class"];
/// What is measured, and what it is called.
const MEASURES: [(&str, &str, bool); 3] = [
    ("sinkhorn", "Sinkhorn divergence", false),
    ("critic", "distance by a critic of its own", false),
    ("class_accuracy", "accuracy of a classifier of the modality", true),
];
/// Places whose clouds are drawn.
const PLACES: usize = 200;

/// A measure over the steps of a run.
fn series(run: &Run) -> Vec<Series> {
    let points = |key: &str| -> Vec<(f64, f64)> {
        let at = |v: &serde_json::Value| Some((v["step"].as_f64()?, v["gap"][key].as_f64()?));
        run.gap.iter().filter_map(at).collect()
    };
    MEASURES.iter().map(|(key, name, share)| Series { name: (*name).into(), points: points(key), share: *share }).collect()
}

/// Draws them by the first seed; whether there was anything to draw.
pub(super) fn picture(study: &Study<'_>, all: &[Run]) -> Result<bool> {
    let Some(seed) = study.runs.ledger.seeds().first().copied() else { return Ok(false) };
    let watched: Vec<&Run> =
        WATCHED.iter().filter_map(|w| all.iter().find(|r| r.way == *w && r.seed == seed && !r.gap.is_empty())).collect();
    if watched.is_empty() {
        return Ok(false);
    }
    let lines: Vec<(&str, Vec<Series>)> = watched.iter().map(|r| (r.way.as_str(), series(r))).collect();
    let (engine, val) = (&study.runs.ledger.engine, &study.runs.val);
    let mut planes = Vec::new();
    for run in &watched {
        let way = way(&run.way);
        let model = study.encoder(way.name, seed)?;
        let embedder = model.embedder(engine, 64)?;
        let side = f64::from(study.recipe.train.patch);
        let clouds = embed(&embedder, val, &pairs(val, side, embedder.input(), PLACES, 7)?)?;
        planes.push((way, plane(&clouds[0], &clouds[1], embedder.dim())));
    }
    let titles: Vec<String> =
        planes.iter().map(|(way, _)| if way.name == BASE { "before: base".into() } else { format!("after: {}", way.name) }).collect();
    let moments: Vec<Moment<'_>> = planes.iter().zip(&titles).map(|((_, p), title)| Moment { title, map: &p.map, sar: &p.sar }).collect();
    let lines: Vec<figures::Run<'_>> = lines.iter().map(|(name, series)| (*name, series.as_slice())).collect();
    let line = format!("of {PLACES} places of the scene never trained on; seed {seed}");
    let caption = "first two principal components of each run's embeddings of the same places";
    let figure = figures::gap_figure("The gap between the modalities", &line, &lines, caption, &moments)?;
    figures::write(&study.runs.options.ledger.out.join("cmpc-gap.svg"), &figure)?;
    Ok(true)
}
