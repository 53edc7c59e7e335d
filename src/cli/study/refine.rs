//! `echogrid study refine`: what decides best among an index's candidates?

use super::{command, distinct, interval, percent, write};
use crate::cli::common::{Global, Unit, interrupt_flag};
use crate::eval::metrics::{Estimate, QueryResult, Summary, calibration_error};
use crate::eval::{Protocol, Query, judge, paired_difference, strips};
use crate::gpu::Engine;
use crate::index::{CellHit, Database, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::refine::{DEPTH, Method, Position, Refiner, Request, Slider, Strip, refine};
use crate::report::figures::{self, Bar, BeforeAfter};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{PageCache, ScenePair};
use crate::train::{Event, Outcome, RefineTrainConfig, checkpoint_path, train_refiner};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Ways to refine candidates: the re-ranking methods of image retrieval, voting, and graph networks with their parts taken away one by one,
/// each trained with several seeds and all judged on the same queries of a scene never trained on
///
/// Writes FOLDER/refine.md (the table, with paired bootstrap intervals), refine.json, refine.svg and refine-strips.svg (candidates before and
/// after); models and the outcome of each run go to FOLDER/refine-runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A map and a SAR image to train on; may be given several times
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required = true, action = clap::ArgAction::Append)]
    scene: Vec<PathBuf>,
    /// A map and a SAR image to judge on; never trained on
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required = true)]
    val: Vec<PathBuf>,
    /// Encoder that the candidates come from [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Where everything goes
    #[arg(long, value_name = "FOLDER", default_value = "studies")]
    out: PathBuf,
    /// Ways to compare; `none` is always there [default: all]
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(WAYS.map(|w| w.name)))]
    ways: Vec<String>,
    /// Seeds of training
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 2, 3])]
    seeds: Vec<u64>,
    /// Settings of training in TOML, as `train --refine` takes them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Queries to judge on, in whole strips
    #[arg(long, value_name = "N", default_value_t = 500)]
    queries: usize,
    /// What the SAR values measure [default: guessed]
    #[arg(long, value_enum)]
    sar_unit: Option<Unit>,
    /// Stop after this many minutes; the same command goes on from there
    #[arg(long, value_name = "MIN")]
    minutes: Option<f64>,
}

/// How a way comes to its order.
#[derive(Clone, Copy)]
enum How {
    /// Without training; with the candidates slid first or not.
    Plain(Method, bool),
    /// By a graph network of these settings.
    Graph(fn(&mut RefineTrainConfig)),
}

/// One way of the comparison.
struct Way {
    name: &'static str,
    what: &'static str,
    how: How,
}

const WAYS: [Way; 19] = [
    Way { name: "none", what: "the search alone", how: How::Plain(Method::None, false) },
    Way { name: "aqe", what: "alpha query expansion", how: How::Plain(Method::Aqe, false) },
    Way { name: "krnn", what: "k-reciprocal neighbours", how: How::Plain(Method::Krnn, false) },
    Way { name: "gnnrr", what: "graph propagation without training", how: How::Plain(Method::Gnnrr, false) },
    Way { name: "superglobal", what: "SuperGlobal", how: How::Plain(Method::Superglobal, false) },
    Way { name: "vote", what: "geometric voting", how: How::Plain(Method::Vote, false) },
    Way { name: "slide", what: "candidates slid, no more", how: How::Plain(Method::None, true) },
    Way { name: "slide-vote", what: "candidates slid, then voting", how: How::Plain(Method::Vote, true) },
    Way { name: "graph", what: "graph network", how: How::Graph(|_| {}) },
    Way { name: "unslid", what: "its candidates where the search found them", how: How::Graph(|c| c.refiner.slide = 0) },
    Way { name: "no-position", what: "no positions on its edges", how: How::Graph(|c| c.refiner.position = Position::None) },
    Way { name: "bearing", what: "bearings alone on its edges", how: How::Graph(|c| c.refiner.position = Position::Bearing) },
    Way { name: "top-10", what: "10 candidates", how: How::Graph(|c| c.refiner.top = 10) },
    Way { name: "top-50", what: "50 candidates", how: How::Graph(|c| c.refiner.top = 50) },
    Way { name: "near-2", what: "edges to the 2 nearest", how: How::Graph(|c| c.refiner.near = 2) },
    Way { name: "near-10", what: "edges to the 10 nearest", how: How::Graph(|c| c.refiner.near = 10) },
    Way { name: "layers-1", what: "one layer", how: How::Graph(|c| c.refiner.layers = 1) },
    Way { name: "layers-3", what: "three layers", how: How::Graph(|c| c.refiner.layers = 3) },
    Way { name: "joint", what: "trained together with the encoder", how: How::Graph(|c| c.joint = true) },
];

/// What a way found: of the queries by themselves, and in their strips.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    results: Vec<QueryResult>,
    /// Probability of each query's first candidate; none where the way gives no probabilities.
    probabilities: Vec<f64>,
}

/// What became of one way with one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Run {
    way: String,
    seed: u64,
    config: RefineTrainConfig,
    queries: usize,
    adapter: String,
    single: Found,
    strips: Found,
    /// The search alone with this run's encoder, where it trained its own.
    coarse: Option<Vec<QueryResult>>,
}

/// Mean over each strip of whether its queries are right: queries of a strip hang together, so that strips are what intervals are drawn of.
fn right(results: &[QueryResult], strip: usize) -> Vec<f64> {
    let share = |s: &[QueryResult]| s.iter().filter(|q| q.right_rank == Some(1)).count() as f64 / s.len() as f64;
    results.chunks(strip).map(share).collect()
}

fn recall(results: &[QueryResult]) -> f64 {
    results.iter().filter(|q| q.right_rank == Some(1)).count() as f64 / results.len() as f64
}

/// What is said of a way, of queries by themselves or in strips.
#[derive(Debug, Serialize)]
struct Side {
    /// R@1 of each seed.
    each: Vec<f64>,
    recall1: f64,
    median_error_m: f64,
    /// Difference of R@1 to `none`.
    gain: Option<Estimate>,
    /// R@1 of `graph` less this way's.
    graph_less_it: Option<Estimate>,
    calibration_error: Option<f64>,
}

/// What is said of a way.
#[derive(Debug, Serialize)]
struct Row {
    way: &'static str,
    what: &'static str,
    seeds: Vec<u64>,
    single: Side,
    strips: Side,
    /// R@1 of the search with the run's own encoder.
    coarse1: Option<f64>,
}

/// The queries and what the search finds for them with one encoder.
struct Seen {
    model: LoadedModel,
    database: Database,
    queries: Vec<Query>,
    strips: Vec<Strip>,
    vectors: Vec<f32>,
    hits: Vec<Vec<CellHit>>,
}

struct Study<'a> {
    global: &'a Global,
    args: &'a Args,
    base: RefineTrainConfig,
    scenes: Vec<ScenePair>,
    val: ScenePair,
    engine: Engine,
    stop: std::sync::Arc<AtomicBool>,
    runs: PathBuf,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let start = Instant::now();
    let mut base = args.config.as_deref().map_or_else(|| Ok(RefineTrainConfig::default()), RefineTrainConfig::load)?;
    // One small validation at the end: the study's own is what counts.
    (base.validate_every, base.validate_queries) = (base.epochs, base.strip);
    base.check()?;
    let unit = args.sar_unit.map(Into::into);
    let open = |pair: &[PathBuf]| ScenePair::open(&pair[0], &pair[1], unit);
    let scenes = args.scene.chunks(2).map(open).collect::<Result<Vec<_>, _>>()?;
    let val = open(&args.val)?;
    let runs = args.out.join("refine-runs");
    std::fs::create_dir_all(&runs).map_err(|e| Error::file(&runs, format!("cannot be made ({e}); name another --out")))?;
    let study = Study { global, args, base, scenes, val, engine: global.engine()?, stop: interrupt_flag()?, runs };
    let seen = study.see(LoadedModel::load(args.model.as_deref())?)?;

    let chosen: Vec<&Way> =
        WAYS.iter().filter(|w| args.ways.is_empty() || w.name == "none" || args.ways.iter().any(|n| n == w.name)).collect();
    let mut all = Vec::new();
    // Seed by seed: a study that is stopped early has compared every way.
    'all: for seed in distinct(&args.seeds) {
        for way in &chosen {
            if args.minutes.is_some_and(|m| start.elapsed().as_secs_f64() > 60.0 * m) {
                global.say(format_args!("the time is up; the same command goes on from here"));
                break 'all;
            }
            all.push(study.one(way, seed, &seen)?);
        }
    }
    study.report(&chosen, &all, &seen)
}

impl Study<'_> {
    fn see(&self, model: LoadedModel) -> Result<Seen> {
        let embedder = model.embedder(&self.engine, 64)?;
        let grid = IndexConfig { cell: self.base.patch, stride: self.base.patch, views: self.base.views, ..IndexConfig::default() };
        let database = build(&embedder, &model, &self.val.map, &grid, Database::in_memory(), |_, _| {})?;
        let (queries, strips) = strips(&self.val, &database, Protocol::Arbitrary, self.args.queries, self.base.strip, embedder.input(), 7)?;
        let mut cache = PageCache::new(&self.engine, vec![self.val.sar.clone()], DEFAULT_PAGES)?;
        let records: Vec<PatchRecord> = queries.iter().map(|q| q.record).collect();
        let taps = sampler::taps_for(queries.first().map_or(1.0, |q| q.record.scale()));
        let vectors = embedder.embed_all(Modality::Sar, &mut cache, &records, taps)?;
        let hits = Searcher::new(&self.engine, &database, RESIDENT_BYTES)?.search(&self.engine, &vectors, DEPTH.min(database.cells()))?;
        Ok(Seen { model, database, queries, strips, vectors, hits })
    }

    /// Refines what the search found.
    fn refined(
        &self,
        seen: &Seen,
        method: Method,
        strips: &[Strip],
        slider: Option<&Slider>,
        refiner: Option<&Refiner>,
    ) -> Result<Refined> {
        let searcher = Searcher::new(&self.engine, &seen.database, RESIDENT_BYTES)?;
        let top = refiner.map_or(self.base.refiner.top, |r| r.config().top);
        let Seen { database, vectors, hits, .. } = seen;
        let request = Request { searcher: &searcher, database, queries: vectors, hits, strips, top, slider, refiner };
        refine(&self.engine, method, &request)
    }

    fn both(&self, seen: &Seen, method: Method, slider: Option<&Slider>, refiner: Option<&Refiner>) -> Result<[Found; 2]> {
        let one = |strips: &[Strip]| -> Result<Found> {
            let hits = self.refined(seen, method, strips, slider, refiner)?;
            let first = |h: &Vec<CellHit>| h.first().map_or(0.0, |h| f64::from(h.score));
            let probabilities = if method == Method::Graph { hits.iter().map(first).collect() } else { Vec::new() };
            Ok(Found { results: judge(&seen.database, &seen.queries, &hits)?, probabilities })
        };
        Ok([one(&Strip::singles(seen.queries.len()))?, one(&seen.strips)?])
    }

    fn model_of(&self, way: &str, seed: u64) -> PathBuf {
        self.runs.join(format!("{way}-{seed}.safetensors"))
    }

    /// Trains and judges one way with one seed, or reads what an earlier call has found.
    fn one(&self, way: &Way, seed: u64, seen: &Seen) -> Result<Run> {
        let mut config = RefineTrainConfig { seed, ..self.base.clone() };
        if let How::Graph(set) = way.how {
            set(&mut config);
        }
        config.check()?;
        let name = format!("{}-{seed}", way.name);
        let outcome = self.runs.join(format!("{name}.json"));
        if let Ok(text) = std::fs::read_to_string(&outcome) {
            let run: Run = serde_json::from_str(&text).map_err(|e| Error::file(&outcome, format!("{e}; delete it to run it anew")))?;
            return match run.config == config && run.queries == self.args.queries {
                true => Ok(run),
                false => Err(Error::file(&outcome, "is of other settings; name another --out, or delete it")),
            };
        }
        let (found, coarse) = match way.how {
            How::Plain(method, slides) => {
                let slider = match slides {
                    true => Some(Slider::new(&self.engine, seen.model.encoder(), config.refiner.slide.max(1))?),
                    false => None,
                };
                (self.both(seen, method, slider.as_ref(), None)?, None)
            }
            How::Graph(_) => {
                self.train(&name, &config, seen)?;
                let path = self.model_of(way.name, seed);
                let model = LoadedModel::load(Some(&path))?;
                let refiner = Refiner::new(&self.engine, &model.file, &path)?;
                match config.joint {
                    false => (self.both(seen, Method::Graph, None, Some(&refiner))?, None),
                    true => {
                        let own = self.see(model)?;
                        let coarse = judge(&own.database, &own.queries, &own.hits)?;
                        (self.both(&own, Method::Graph, None, Some(&refiner))?, Some(coarse))
                    }
                }
            }
        };
        let [single, strips] = found;
        let adapter = self.engine.adapter().to_string();
        let run = Run { way: way.name.into(), seed, config, queries: self.args.queries, adapter, single, strips, coarse };
        write(&outcome, &serde_json::to_string(&run).map_err(|e| Error::invalid(e.to_string()))?)?;
        let [single, strips] = [&run.single, &run.strips].map(|f| percent(recall(&f.results)));
        self.global.say(format_args!("{name}: R@1 {single} %, in strips {strips} %"));
        Ok(run)
    }

    /// Trains, unless an earlier call has done so and was stopped before it had judged.
    fn train(&self, name: &str, config: &RefineTrainConfig, seen: &Seen) -> Result<()> {
        let path = self.runs.join(format!("{name}.safetensors"));
        if path.exists() {
            return Ok(());
        }
        let resume = checkpoint_path(&path).exists();
        let bar = self.global.bar(config.total_steps() as u64, "training");
        let outcome = train_refiner(&self.engine, config, &seen.model, &self.scenes, &self.val, &path, resume, &self.stop, |event| {
            if let Event::Step { step, loss, .. } = event {
                bar.set_position(step as u64);
                bar.set_message(format!("{name}: loss {loss:.3}"));
            }
        })?;
        bar.finish_and_clear();
        match outcome {
            Outcome::Finished => Ok(()),
            Outcome::Stopped { step } => {
                Err(Error::Interrupted(format!("{name} stopped at step {step}; the same command goes on from there")))
            }
        }
    }

    fn side(&self, runs: &[&Run], all: &[Run], pick: fn(&Run) -> &Found) -> Result<Side> {
        let strip = self.base.strip;
        let of = |name: &str, seed: u64| all.iter().find(|r| r.way == name && r.seed == seed);
        // This way's outcomes and another's, seed by seed.
        let against = |name: &str| -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
            let pair = |r: &&&Run| of(name, r.seed).map(|o| (right(&pick(r).results, strip), right(&pick(o).results, strip)));
            runs.iter().filter_map(|r| pair(&r)).unzip()
        };
        let difference = |a: &[Vec<f64>], b: &[Vec<f64>]| match a.is_empty() {
            true => Ok(None),
            false => paired_difference(a, b, 7).map(Some),
        };
        let way = runs[0].way.as_str();
        let each: Vec<f64> = runs.iter().map(|r| recall(&pick(r).results)).collect();
        let medians = runs
            .iter()
            .map(|r| Ok(Summary::of_strips(&pick(r).results, strip, 7)?.median_error_m.map_or(f64::NAN, |e| e.value)))
            .collect::<Result<Vec<_>>>()?;
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let cases = |r: &&Run| -> Vec<(f64, bool)> {
            let found = pick(r);
            found.probabilities.iter().zip(&found.results).map(|(p, q)| (*p, q.right_rank == Some(1))).collect()
        };
        let errors: Vec<f64> = runs.iter().map(cases).filter(|c| !c.is_empty()).map(|c| calibration_error(&c)).collect();
        let ((own, none), (less, graph)) = (against("none"), against("graph"));
        Ok(Side {
            recall1: mean(&each),
            each,
            median_error_m: mean(&medians),
            gain: if way == "none" { None } else { difference(&none, &own)? },
            graph_less_it: if way == "graph" { None } else { difference(&less, &graph)? },
            calibration_error: (!errors.is_empty()).then(|| mean(&errors)),
        })
    }

    fn rows(&self, chosen: &[&Way], all: &[Run]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for way in chosen {
            let runs: Vec<&Run> = all.iter().filter(|r| r.way == way.name).collect();
            if runs.is_empty() {
                continue;
            }
            let coarse: Vec<f64> = runs.iter().filter_map(|r| Some(recall(r.coarse.as_ref()?))).collect();
            rows.push(Row {
                way: way.name,
                what: way.what,
                seeds: runs.iter().map(|r| r.seed).collect(),
                single: self.side(&runs, all, |r| &r.single)?,
                strips: self.side(&runs, all, |r| &r.strips)?,
                coarse1: (!coarse.is_empty()).then(|| coarse.iter().sum::<f64>() / coarse.len() as f64),
            });
        }
        Ok(rows)
    }

    fn report(&self, chosen: &[&Way], all: &[Run], seen: &Seen) -> Result<()> {
        let rows = self.rows(chosen, all)?;
        let Some(first) = all.first() else {
            return Err(Error::invalid("no way was judged in that time; give more --minutes, or none"));
        };
        let c = &self.base;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "# What decides among the candidates\n\nWritten by `echogrid {}`.\n\nAdapter: {}. {} queries anywhere on a scene never trained on, in \
             {} strips of {}, taken one by one and strip by strip; index of {v} x {v} views a cell. Graph networks: {} steps of {} queries. R@1 in per \
             cent, means over the seeds; differences in points of R@1 with 95 % intervals from a two-level bootstrap (seeds, then strips, \
             paired): an interval that holds 0 shows no difference. ECE: expected calibration error of the first candidate's probability.\n",
            command(),
            self.engine.adapter(),
            first.single.results.len(),
            first.single.results.len() / c.strip,
            c.strip,
            c.total_steps(),
            c.queries,
            v = c.views,
        );
        for (title, pick) in [("One by one", (|r| &r.single) as fn(&Row) -> &Side), ("In strips", |r| &r.strips)] {
            let _ = writeln!(text, "## {title}\n\n{}", table(&rows, pick));
        }
        for row in &rows {
            if let Some(coarse) = row.coarse1 {
                let _ = writeln!(text, "The search alone with the encoder of `{}`: R@1 {}.\n", row.way, percent(coarse));
            }
        }
        text.push_str("![R@1 in strips](refine.svg)\n");
        let strips = self.pictures(all, seen)?;
        if !strips.is_empty() {
            text.push_str("\n![Candidates before and after](refine-strips.svg)\n");
            let line = "dots: where candidates put the strip, sized by cosine, then by probability; cross: the truth";
            let figure = figures::before_after("Candidates of strips, before and after the graph network", line, &strips)?;
            figures::write(&self.args.out.join("refine-strips.svg"), &figure)?;
        }
        out_raw!("{text}");
        write(&self.args.out.join("refine.md"), &text)?;
        let json = serde_json::json!({ "adapter": self.engine.adapter().to_string(), "config": self.base, "rows": rows });
        write(&self.args.out.join("refine.json"), &format!("{json:#}\n"))?;
        let bars: Vec<Bar> = rows
            .iter()
            .map(|r| Bar { name: r.way.into(), value: r.strips.recall1, interval: None, points: r.strips.each.clone() })
            .collect();
        let line = "share of queries in strips whose right cell comes first; dots: seeds";
        Ok(figures::write(&self.args.out.join("refine.svg"), &figures::bars("Recall at 1 in strips", line, &bars)?)?)
    }

    /// The first strips that the graph network changes, by the first seed.
    fn pictures(&self, all: &[Run], seen: &Seen) -> Result<Vec<BeforeAfter>> {
        const SHOWN: usize = 4;
        let Some(run) = all.iter().find(|r| r.way == "graph") else { return Ok(Vec::new()) };
        let path = self.model_of("graph", run.seed);
        let refiner = Refiner::new(&self.engine, &LoadedModel::load(Some(&path))?.file, &path)?;
        let after = self.refined(seen, Method::Graph, &seen.strips, None, Some(&refiner))?;
        let top = refiner.config().top;
        let mut rows = Vec::new();
        for (i, strip) in seen.strips.iter().enumerate() {
            if rows.len() == SHOWN || strip.queries.clone().all(|q| after[q][0].cell == seen.hits[q][0].cell) {
                continue;
            }
            let side = |hits: &[Vec<CellHit>], weight: &dyn Fn(&[CellHit], usize) -> f64| -> Vec<([f64; 2], f64)> {
                let of = |q: usize| {
                    let truth = seen.database.metres(seen.queries[q].map_px);
                    let list = &hits[q][..hits[q].len().min(top)];
                    (0..list.len())
                        .map(|k| {
                            let at = seen.database.metres(list[k].centre_px);
                            ([at[0] - truth[0], at[1] - truth[1]], weight(list, k))
                        })
                        .collect::<Vec<_>>()
                };
                strip.queries.clone().flat_map(of).collect()
            };
            let cosine = |list: &[CellHit], k: usize| {
                let (most, least) = (list[0].score, list[list.len() - 1].score);
                f64::from((list[k].score - least) / (most - least).max(1e-6))
            };
            let before = side(&seen.hits, &cosine);
            let after = side(&after, &|list, k| f64::from(list[k].score));
            rows.push(BeforeAfter { name: format!("strip {}", i + 1), sides: [before, after] });
        }
        Ok(rows)
    }
}

/// Refined candidates.
type Refined = Vec<Vec<CellHit>>;

/// The rows as Markdown.
fn table(rows: &[Row], pick: fn(&Row) -> &Side) -> String {
    let mut text = String::from(
        "| way | what | seeds | R@1 | of each seed | less `none` | `graph` less it | median error, m | ECE |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let side = pick(r);
        // Without training all seeds are one.
        let each = if side.each.windows(2).all(|w| w[0] == w[1]) { &side.each[..1] } else { &side.each[..] };
        let of = |e: &Option<Estimate>| e.as_ref().map_or("-".into(), interval);
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {:.0} | {} |",
            r.way,
            r.what,
            r.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
            percent(side.recall1),
            each.iter().map(|v| percent(*v)).collect::<Vec<_>>().join(" "),
            of(&side.gain),
            of(&side.graph_less_it),
            side.median_error_m,
            side.calibration_error.map_or("-".into(), |e| format!("{e:.3}")),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_the_unit_of_outcomes() {
        let results: Vec<QueryResult> =
            [Some(1), Some(2), Some(1), Some(1), None, None].map(|right_rank| QueryResult { right_rank, error_m: None }).to_vec();
        assert_eq!(right(&results, 2), [0.5, 1.0, 0.0]);
        assert_eq!(recall(&results), 0.5);
    }

    #[test]
    fn a_row_says_all_of_a_way() {
        let side = |each: Vec<f64>| Side {
            recall1: 0.375,
            each,
            median_error_m: 20.4,
            gain: Some(Estimate { value: 0.1, ci95: [-0.05, 0.2] }),
            graph_less_it: None,
            calibration_error: Some(0.0321),
        };
        let row =
            Row { way: "graph", what: "it", seeds: vec![1, 2], single: side(vec![0.5, 0.25]), strips: side(vec![0.375; 2]), coarse1: None };
        let line = |pick: fn(&Row) -> &Side| table(std::slice::from_ref(&row), pick).lines().last().unwrap().to_string();
        assert_eq!(line(|r| &r.single), "| `graph` | it | 1 2 | 37.5 | 50.0 25.0 | +10.0 [-5.0, +20.0] | - | 20 | 0.032 |");
        assert_eq!(line(|r| &r.strips), "| `graph` | it | 1 2 | 37.5 | 37.5 | +10.0 [-5.0, +20.0] | - | 20 | 0.032 |");
    }
}
