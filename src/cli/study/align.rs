//! `echogrid study align`: does it help to draw the modalities' embeddings together, and by which loss?

use super::runs::{Options, Runs};
use super::{command, interval, percent, write};
use crate::Result;
use crate::align::{Align, ClassBy, Sides};
use crate::cli::common::Global;
use crate::eval::metrics::{Estimate, QueryResult, Summary};
use crate::eval::{Protocol, evaluate, paired_difference, queries};
use crate::index::{Database, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::report::figures::{self, Bar};
use crate::train::{TrainConfig, train};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Ways to draw the modalities together: each trained with several seeds on the same budget, and evaluated on a scene never trained on
///
/// Writes FOLDER/align.md (the table, with paired bootstrap intervals), align.json and align.svg; models and the outcome of each run
/// go to FOLDER/align-runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Ways to compare [default: all of them]
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(WAYS.map(|w| w.name)))]
    ways: Vec<String>,
    /// Passes of each training [default: that of the configuration]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Positions a side at which each cell is encoded at the evaluation (odd)
    #[arg(long, value_name = "N", default_value_t = crate::index::DEFAULT_VIEWS, value_parser = crate::cli::index::odd)]
    views: u32,
}

/// One way of the comparison.
struct Way {
    name: &'static str,
    what: &'static str,
    set: fn(&mut TrainConfig),
}

const WAYS: [Way; 12] = [
    Way { name: "none", what: "InfoNCE alone", set: |_| {} },
    Way { name: "critic-gp", what: "Wasserstein critic, gradient penalty", set: |c| c.align.method = Align::CriticGp },
    Way {
        name: "critic-gp-sar",
        what: "the same, moving the SAR encoder alone",
        set: |c| (c.align.method, c.align.sides) = (Align::CriticGp, Sides::Sar),
    },
    Way { name: "critic-clip", what: "Wasserstein critic, clipped weights", set: |c| c.align.method = Align::CriticClip },
    Way { name: "class", what: "class adversary, gradient reversal", set: |c| c.align.method = Align::Class },
    Way {
        name: "class-flip",
        what: "class adversary, flipped labels",
        set: |c| (c.align.method, c.align.class_by) = (Align::Class, ClassBy::Flip),
    },
    Way { name: "sinkhorn", what: "Sinkhorn divergence", set: |c| c.align.method = Align::Sinkhorn },
    Way { name: "mmd", what: "maximum mean discrepancy", set: |c| c.align.method = Align::Mmd },
    Way { name: "coral", what: "distance of covariances", set: |c| c.align.method = Align::Coral },
    Way { name: "random-channel", what: "no loss: half of the maps show one random band", set: |c| c.augment.random_channel = 0.5 },
    Way { name: "recolour", what: "no loss: half of the maps in a random radiometry", set: |c| c.augment.recolour = 0.5 },
    Way {
        name: "mix-statistics",
        what: "no loss: half of the pairs mix their feature statistics",
        set: |c| c.augment.mix_statistics = 0.5,
    },
];

/// What became of one training.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Run {
    way: String,
    seed: u64,
    config: TrainConfig,
    adapter: String,
    /// Outcome of each query, anywhere and on the grid.
    arbitrary: Vec<QueryResult>,
    aligned: Vec<QueryResult>,
}

impl Run {
    fn right(&self) -> Vec<f64> {
        self.arbitrary.iter().map(|q| f64::from(u8::from(q.right_rank == Some(1)))).collect()
    }
}

/// What is said of a way.
#[derive(Debug, Serialize)]
struct Row {
    way: String,
    what: &'static str,
    seeds: Vec<u64>,
    /// R@1 of arbitrary queries, of each seed, and its mean.
    each: Vec<f64>,
    recall1: f64,
    aligned1: f64,
    median_error_m: f64,
    /// Difference of R@1 (arbitrary) to `none`.
    difference: Option<Estimate>,
}

struct Study<'a> {
    args: &'a Args,
    base: TrainConfig,
    runs: Runs<'a>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let mut base = args.options.config.as_deref().map_or_else(|| Ok(TrainConfig::default()), TrainConfig::load)?;
    base.epochs = args.epochs.unwrap_or(base.epochs);
    // One small validation at the end: the study's own evaluation is what counts.
    (base.validate_every, base.validate_queries, base.validate_views) = (base.epochs, 50, 1);
    base.check()?;
    let study = Study { args, base, runs: Runs::open(global, &args.options, "align-runs")? };
    let chosen: Vec<&Way> = WAYS.iter().filter(|w| args.ways.is_empty() || args.ways.iter().any(|n| n == w.name)).collect();
    let all = study.runs.all(&chosen, |way, seed| study.one(way, seed))?;
    study.report(&chosen, &all)
}

impl Study<'_> {
    /// Trains and evaluates one way with one seed, or reads what an earlier call has found.
    fn one(&self, way: &Way, seed: u64) -> Result<Run> {
        let mut config = TrainConfig { seed, ..self.base.clone() };
        (way.set)(&mut config);
        config.check()?;
        let name = format!("{}-{seed}", way.name);
        self.runs.kept(&name, |run: &Run| run.config == config, || self.found(way, &name, &config))
    }

    fn found(&self, way: &Way, name: &str, config: &TrainConfig) -> Result<Run> {
        let Runs { engine, scenes, val, .. } = &self.runs;
        let model = self
            .runs
            .train(name, config.total_steps(), |out, resume, stop, on| train(engine, config, scenes, val, out, resume, stop, on))?;
        let model = LoadedModel::load(Some(&model))?;
        let embedder = model.embedder(engine, config.batch)?;
        let grid = IndexConfig { cell: config.patch, stride: config.patch, views: self.args.views, ..IndexConfig::default() };
        let database = build(&embedder, &model, &val.map, &grid, Database::in_memory(), |_, _| {})?;
        let searcher = Searcher::new(engine, &database, RESIDENT_BYTES)?;
        let found = |protocol| -> Result<Vec<QueryResult>> {
            let queries = queries(val, &database, protocol, self.args.options.queries, embedder.input(), 7)?;
            Ok(evaluate(&embedder, val, &database, &searcher, queries)?.results)
        };
        let run = Run {
            way: way.name.into(),
            seed: config.seed,
            config: config.clone(),
            adapter: engine.adapter().to_string(),
            arbitrary: found(Protocol::Arbitrary)?,
            aligned: found(Protocol::Aligned)?,
        };
        let right = run.right();
        self.runs.global.say(format_args!("{name}: R@1 {:.1} %", 100.0 * right.iter().sum::<f64>() / right.len() as f64));
        Ok(run)
    }

    fn rows(&self, chosen: &[&Way], all: &[Run]) -> Result<Vec<Row>> {
        let of = |name: &str| -> Vec<&Run> { all.iter().filter(|r| r.way == name).collect() };
        let none = of("none");
        let mut rows = Vec::new();
        for way in chosen {
            let runs = of(way.name);
            if runs.is_empty() {
                continue;
            }
            let summaries = runs.iter().map(|r| Ok(Summary::new(&r.arbitrary, 7)?)).collect::<Result<Vec<_>>>()?;
            let aligned = runs.iter().map(|r| Ok(Summary::new(&r.aligned, 7)?.recall[&1].value)).collect::<Result<Vec<_>>>()?;
            let each: Vec<f64> = summaries.iter().map(|s| s.recall[&1].value).collect();
            let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            let paired: (Vec<_>, Vec<_>) =
                runs.iter().filter_map(|r| none.iter().find(|n| n.seed == r.seed).map(|n| (n.right(), r.right()))).unzip();
            let difference = match way.name != "none" && !paired.0.is_empty() {
                true => Some(paired_difference(&paired.0, &paired.1, 7)?),
                false => None,
            };
            let errors: Vec<f64> = summaries.iter().filter_map(|s| Some(s.median_error_m?.value)).collect();
            rows.push(Row {
                way: way.name.into(),
                what: way.what,
                seeds: runs.iter().map(|r| r.seed).collect(),
                recall1: mean(&each),
                each,
                aligned1: mean(&aligned),
                median_error_m: mean(&errors),
                difference,
            });
        }
        Ok(rows)
    }

    fn report(&self, chosen: &[&Way], all: &[Run]) -> Result<()> {
        let rows = self.rows(chosen, all)?;
        let mut text = String::new();
        let queries = all.first().map_or(0, |r| r.arbitrary.len());
        let _ = writeln!(
            text,
            "# Drawing the modalities together\n\nWritten by `echogrid {}`.\n\nAdapter: {}. {} steps of {} pairs each; judged on {queries} \
             queries anywhere on a scene never trained on. R@1 in per cent, means over the seeds. Differences to `none` with 95 % intervals from a \
             two-level bootstrap (seeds, then queries, paired); an interval that holds 0 shows no difference.\n",
            command(),
            self.runs.engine.adapter(),
            self.base.total_steps(),
            self.base.batch
        );
        text.push_str(&table(&rows));
        let of = |name: &str| -> Vec<Vec<f64>> { all.iter().filter(|r| r.way == name).map(Run::right).collect() };
        let (critic, class) = (of("critic-gp"), of("class"));
        if !critic.is_empty() && critic.len() == class.len() {
            let d = paired_difference(&class, &critic, 7)?;
            let _ = writeln!(text, "\nWasserstein critic (`critic-gp`) less class adversary (`class`): {} points of R@1.", interval(&d));
        }
        let _ = writeln!(text, "\n![R@1 of each way](align.svg)");
        out_raw!("{text}");
        write(&self.args.options.out.join("align.md"), &text)?;
        let json = serde_json::json!({ "adapter": self.runs.engine.adapter().to_string(), "config": self.base, "rows": rows });
        write(&self.args.options.out.join("align.json"), &format!("{json:#}\n"))?;
        let none = rows.iter().find(|r| r.way == "none").map_or(0.0, |r| r.recall1);
        let bars: Vec<Bar> = rows
            .iter()
            .map(|r| Bar {
                name: r.way.clone(),
                value: r.recall1,
                interval: r.difference.as_ref().map(|d| [none + d.ci95[0], none + d.ci95[1]]),
                points: r.each.clone(),
            })
            .collect();
        let line = "share of queries anywhere that are found first; bars: 95 % of the difference to `none`; dots: seeds";
        Ok(figures::write(&self.args.options.out.join("align.svg"), &figures::bars("Recall at 1", line, &bars)?)?)
    }
}

/// The rows as Markdown.
fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| way | what | seeds | R@1 anywhere | of each seed | difference | R@1 on the grid | median error, m |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {:.0} |",
            r.way,
            r.what,
            r.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
            percent(r.recall1),
            r.each.iter().map(|v| percent(*v)).collect::<Vec<_>>().join(" "),
            r.difference.as_ref().map_or("-".into(), interval),
            percent(r.aligned1),
            r.median_error_m,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::runs::read;
    use super::*;

    fn outcome() -> Run {
        let config = TrainConfig { seed: 5, ..TrainConfig::default() };
        let (arbitrary, aligned) = (Vec::new(), Vec::new());
        Run { way: "none".into(), seed: 5, config, adapter: "some".into(), arbitrary, aligned }
    }

    #[test]
    fn settings_that_a_file_is_too_old_for_have_their_defaults() {
        let run = outcome();
        let mut value = serde_json::to_value(&run).unwrap();
        let old = value["config"].as_object_mut().unwrap();
        assert!(old.remove("smoothing").is_some() && old["augment"].as_object_mut().unwrap().remove("recolour").is_some());
        let text = value.to_string();
        assert!(read(&text, |r: &Run| r.config == run.config).is_ok());
        let mut other = run.config.clone();
        other.augment.recolour = 0.5;
        assert!(read(&text, |r: &Run| r.config == other).unwrap_err().contains("other settings"));
        assert!(read("{}", |r: &Run| r.config == run.config).unwrap_err().contains("delete it"));
    }

    #[test]
    fn a_row_says_all_of_a_way() {
        let row = Row {
            way: "none".into(),
            what: "nothing",
            seeds: vec![1, 2],
            each: vec![0.5, 0.25],
            recall1: 0.375,
            aligned1: 0.5,
            median_error_m: 20.0,
            difference: None,
        };
        let text = table(&[row]);
        assert_eq!(text.lines().last(), Some("| `none` | nothing | 1 2 | 37.5 | 50.0 25.0 | - | 50.0 | 20 |"), "{text}");
    }
}
