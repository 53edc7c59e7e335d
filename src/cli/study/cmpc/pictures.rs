//! The best candidates of some queries, way by way, as a page.

use super::judge::{Judged, Seen};
use super::outcome::Run;
use super::study::Study;
use super::ways::way;
use crate::Result;
use crate::cli::present::meta;
use crate::cli::study::words::command;
use crate::eval::{Ground, Protocol, judge};
use crate::report::pictures::cut;
use crate::report::retrieval::{Asked, Candidate, RetrievalPage, Row};
use crate::scene::MapInfo;
use crate::train::TrainConfig;
use std::collections::BTreeSet;
use std::path::Path;

/// The ways that stand under each other: before and after the graph, without and with the critic, ours.
const SHOWN: [&str; 5] = ["base", "graph", "critic-light", "light-graph", "grid-slide"];
/// Candidates a row.
const TOP: usize = 10;
/// Queries shown unless they are chosen.
const QUERIES: usize = 12;

/// Writes the page, by the first seed.
pub(super) fn write(study: &Study<'_>, all: &[Run], wanted: &[usize], path: &Path) -> Result<()> {
    let val = &study.runs.val;
    let seed = study.runs.ledger.seeds().first().copied().unwrap_or(1);
    let side = f64::from(study.recipe.train.patch);
    let info = MapInfo::of(&val.map)?;
    let metres = |p: [f64; 2]| [p[0] * info.pixel_m[0], p[1] * info.pixel_m[1]];
    let runs: Vec<&Run> = SHOWN.iter().filter_map(|w| all.iter().find(|r| r.way == *w && r.seed == seed)).collect();
    let chosen = chosen(wanted, &runs);
    let mut asked: Vec<Asked> = Vec::new();
    for run in &runs {
        let (model, behind) = study.trained(way(&run.way), seed, &run.settings)?;
        let config = TrainConfig::of(&model.file.manifest).unwrap_or_else(|| study.recipe.train.clone());
        let embedder = model.embedder(&study.runs.ledger.engine, 64)?;
        let seen = Seen::new(&embedder, &model, &config, Judged { pair: val, ground: Ground::All })?;
        let answers = seen.answers(&embedder, &behind, Protocol::Arbitrary, study.runs.options.queries)?;
        for (i, q) in chosen.iter().enumerate() {
            let query = &answers.queries[*q];
            if asked.len() == i {
                let link = val.link();
                let patch = cut(&val.sar, link.apply(query.map_px)?, link.jacobian(query.map_px)?, side)?;
                asked.push(Asked { number: q + 1, patch: Some(patch), truth_m: metres(query.map_px), rows: Vec::new() });
            }
            let candidate = |hit: &crate::index::CellHit| -> Result<Candidate> {
                let judged = judge(&seen.database, std::slice::from_ref(query), &[vec![*hit]])?;
                Ok(Candidate {
                    thumb: Some(cut(&val.map, hit.centre_px, [[1.0, 0.0], [0.0, 1.0]], side)?),
                    right: judged[0].right_rank == Some(1),
                    score: f64::from(hit.score),
                    distance_m: judged[0].error_m.unwrap_or(f64::NAN),
                    at_m: metres(hit.centre_px),
                })
            };
            let candidates = answers.hits[*q].iter().take(TOP).map(candidate).collect::<Result<Vec<_>>>()?;
            asked[i].rows.push(Row { way: run.way.clone(), candidates });
        }
    }
    let size = [f64::from(val.map.raster.width()), f64::from(val.map.raster.height())];
    let lead = match wanted.is_empty() {
        true => {
            "The ten best candidates of queries anywhere on the scene never trained on, way by way; queries on which the ways differ most, and some on which they agree."
        }
        false => "The ten best candidates of queries anywhere on the scene never trained on, way by way.",
    };
    let name = |p: &Path| p.file_name().map_or_else(|| p.display().to_string(), |n| n.to_string_lossy().into_owned());
    let (map, sar) = (name(val.map.raster.path()), name(val.sar.raster.path()));
    let adapter = study.runs.ledger.engine.adapter().to_string();
    let rows = vec![("Seed".to_string(), seed.to_string()), ("Command".to_string(), command())];
    let meta = meta("What each way finds", &map, &sar, "the study's own".into(), &adapter, rows);
    RetrievalPage::new(&meta, lead, metres(size), &asked).write(path)?;
    study.runs.ledger.global.say(format_args!("wrote {}", path.display()));
    Ok(())
}

/// The queries to show, from 0: those asked for by number, or those on which the ways differ, first those with most ways on either side,
/// and in the last quarter some that all or none find.
fn chosen(asked: &[usize], runs: &[&Run]) -> Vec<usize> {
    if !asked.is_empty() {
        let each: BTreeSet<usize> = asked.iter().map(|q| q - 1).collect();
        return each.into_iter().collect();
    }
    let right = |q: usize| runs.iter().filter(|r| r.cross.arbitrary[q].right_rank == Some(1)).count();
    let split = |q: &usize| right(*q).min(runs.len() - right(*q));
    let mut order: Vec<usize> = (0..runs.first().map_or(0, |r| r.cross.arbitrary.len())).collect();
    order.sort_by_key(|q| (std::cmp::Reverse(split(q)), *q));
    let differ: Vec<usize> = order.iter().copied().filter(|q| split(q) > 0).take(QUERIES * 3 / 4).collect();
    let agree = order.iter().copied().filter(|q| split(q) == 0).take(QUERIES - differ.len());
    differ.iter().copied().chain(agree).collect()
}
