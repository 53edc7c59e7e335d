//! What a study of detectors has to say: the table, the figure.

use super::study::Study;
use super::ways::{Run, Start, Way};
use crate::Result;
use crate::cli::detect::Head;
use crate::cli::study::words::{command, interval, percent, percents, seeds, write};
use crate::detect::{Detection, Fusion, MAX_DETECTIONS, ap};
use crate::eval::metrics::Estimate;
use crate::report::figures::{self, Bar};
use serde::Serialize;
use std::fmt::Write;

/// Of the table.
const AP50: ap::Measure = ap::Measure::AllPoints(0.5);
const SEED: u64 = 7;

/// What each run of a way found, seed by seed.
struct Found {
    /// None of detectors fused.
    head: Option<Head>,
    start: Start,
    seeds: Vec<u64>,
    each: Vec<Vec<Vec<Detection>>>,
}

/// What is said of a way.
#[derive(Debug, Serialize)]
struct Row {
    way: String,
    start: &'static str,
    seeds: Vec<u64>,
    /// AP50 (all points) of each seed, and its mean.
    each: Vec<f64>,
    ap50: f64,
    /// COCO's, means.
    ap: f64,
    ap75: f64,
    /// Difference of AP50 to the same detector from random values.
    to_random: Option<Estimate>,
    /// Of detectors fused: to each alone, from the same start.
    to_alone: Vec<(&'static str, Estimate)>,
}

/// The ways that were run, and both detectors fused of each start and seed that both have.
fn found(ways: &[Way], all: &[Run]) -> Result<Vec<Found>> {
    let of = |way: &Way| {
        let runs: Vec<&Run> = all.iter().filter(|r| (r.head, r.start) == (way.head, way.start)).collect();
        let (seeds, each) = (runs.iter().map(|r| r.seed).collect(), runs.iter().map(|r| r.found.clone()).collect());
        Found { head: Some(way.head), start: way.start, seeds, each }
    };
    let mut every: Vec<Found> = ways.iter().map(of).collect();
    for start in [Start::Random, Start::Osm, Start::Imagenet] {
        let run = |head: Head, seed: u64| all.iter().find(|r| (r.head, r.start, r.seed) == (head, start, seed));
        let both: Vec<(u64, [&Run; 2])> = all
            .iter()
            .filter(|r| (r.head, r.start) == (Head::Yolo3, start))
            .filter_map(|r| Some((r.seed, [r, run(Head::FasterRcnn, r.seed)?])))
            .collect();
        let fused = |(_, [a, b]): &(u64, [&Run; 2])| {
            let images = a.found.iter().zip(&b.found);
            images.map(|(a, b)| Fusion::new(2).fuse(&[a, b])).collect::<Result<Vec<_>>>()
        };
        let each = both.iter().map(fused).collect::<Result<Vec<_>>>()?;
        every.push(Found { head: None, start, seeds: both.iter().map(|(s, _)| *s).collect(), each });
    }
    every.retain(|f| !f.each.is_empty());
    Ok(every)
}

fn rows(study: &Study<'_>, ways: &[Way], all: &[Run]) -> Result<Vec<Row>> {
    let (dataset, every) = (&study.val.dataset, found(ways, all)?);
    // Of the seeds that both have.
    let difference = |a: &Found, b: &Found| -> Result<Option<Estimate>> {
        let pairs: (Vec<_>, Vec<_>) = a
            .seeds
            .iter()
            .zip(&a.each)
            .filter_map(|(s, x)| Some((x.clone(), b.each[b.seeds.iter().position(|o| o == s)?].clone())))
            .unzip();
        match pairs.0.is_empty() {
            true => Ok(None),
            // Of one group there is none.
            false => Ok(ap::paired_interval(dataset, [&pairs.0, &pairs.1], AP50, MAX_DETECTIONS, SEED).ok()),
        }
    };
    let one = |f: &Found| -> Result<Row> {
        let figures = f.each.iter().map(|d| ap::coco(dataset, d, MAX_DETECTIONS)).collect::<Result<Vec<_>>>()?;
        let each =
            f.each.iter().map(|d| Ok(ap::all_points(dataset, d, 0.5, MAX_DETECTIONS)?.unwrap_or(0.0))).collect::<Result<Vec<_>>>()?;
        let mean = |v: Vec<f64>| v.iter().sum::<f64>() / v.len() as f64;
        let random = every.iter().find(|o| o.head == f.head && o.start == Start::Random && f.start != Start::Random);
        let alone = every.iter().filter(|o| f.head.is_none() && o.head.is_some() && o.start == f.start);
        let to_alone = alone.filter_map(|o| {
            let head = o.head?;
            difference(o, f).transpose().map(|d| Ok((head.words(), d?)))
        });
        Ok(Row {
            way: f.head.map_or("both, fused", Head::words).into(),
            start: f.start.words(),
            seeds: f.seeds.clone(),
            ap50: mean(each.clone()),
            each,
            ap: mean(figures.iter().filter_map(|c| c.ap).collect()),
            ap75: mean(figures.iter().filter_map(|c| c.ap75).collect()),
            to_random: random.map(|o| difference(o, f)).transpose()?.flatten(),
            to_alone: to_alone.collect::<Result<_>>()?,
        })
    };
    every.iter().map(one).collect()
}

/// Writes the table and the figure.
pub(super) fn report(study: &Study<'_>, ways: &[Way], all: &[Run]) -> Result<()> {
    let (rows, out) = (rows(study, ways, all)?, &study.ledger.args.out);
    let data = &study.data;
    let budget = |head: Head| {
        let c = head.of(&study.recipe);
        let steps = c.epochs * c.steps_of(data.images.len());
        format!("{}: {steps} steps of {} inputs of {} px", head.words(), c.batch, c.detector.input)
    };
    let run = Head::ALL.into_iter().filter(|h| ways.iter().any(|w| w.head == *h));
    let budgets = run.map(budget).collect::<Vec<_>>().join("; ");
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# Ships, from nothing and from matching\n\nWritten by `echogrid {}`.\n\nAdapter: {}. {budgets}, on {} images with {} boxes; judged on {} images with {} boxes. AP50 in per cent \
         (all points), means over the seeds. Differences in points, with 95 % intervals from a two-level bootstrap (seeds, then groups of images that share pixels, paired); an interval that holds 0 shows no difference.\n",
        command(),
        study.ledger.engine.adapter(),
        data.images.len(),
        data.dataset.boxes(),
        study.val.images.len(),
        study.val.dataset.boxes(),
    );
    text.push_str(&table(&rows));
    let _ = writeln!(text, "\n![AP50 of each way](ships.svg)");
    out_raw!("{text}");
    write(&out.join("ships.md"), &text)?;
    let json = serde_json::json!({ "adapter": study.ledger.engine.adapter().to_string(), "yolo3": study.recipe.yolo3, "faster_rcnn": study.recipe.faster_rcnn, "rows": rows });
    write(&out.join("ships.json"), &format!("{json:#}\n"))?;
    let bar = |r: &Row| {
        let random = rows.iter().find(|o| o.way == r.way && o.to_random.is_none()).map_or(0.0, |o| o.ap50);
        let ends = r.to_random.map(|d| d.ci95.map(|v| random + v));
        Bar { name: format!("{}, {}", r.way, r.start), value: r.ap50, interval: ends, points: r.each.clone() }
    };
    let line = "average precision at IoU 0.5; bars: 95 % of the difference to random values; dots: seeds";
    Ok(figures::write(&out.join("ships.svg"), &figures::bars("Ships found", line, &rows.iter().map(bar).collect::<Vec<_>>())?)?)
}

/// The rows as Markdown.
fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| detector | starts from | seeds | AP50 | of each seed | AP | AP75 | to random values | fused, to one alone |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let alone = r.to_alone.iter().map(|(head, d)| format!("{head} {}", interval(d))).collect::<Vec<_>>().join("; ");
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            r.way,
            r.start,
            seeds(&r.seeds),
            percent(r.ap50),
            percents(&r.each),
            percent(r.ap),
            percent(r.ap75),
            r.to_random.as_ref().map_or("-".into(), interval),
            if alone.is_empty() { "-" } else { &alone },
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_all_of_a_way() {
        let difference = Estimate { value: 0.02, ci95: [-0.01, 0.05] };
        let row = Row {
            way: "both, fused".into(),
            start: "random values",
            seeds: vec![1, 2],
            each: vec![0.5, 0.25],
            ap50: 0.375,
            ap: 0.2,
            ap75: 0.1,
            to_random: None,
            to_alone: vec![("YOLOv3", difference)],
        };
        let text = table(&[row]);
        let want = "| both, fused | random values | 1 2 | 37.5 | 50.0 25.0 | 20.0 | 10.0 | - | YOLOv3 +2.0 [-1.0, +5.0] |";
        assert_eq!(text.lines().last(), Some(want), "{text}");
    }
}
