//! What is claimed of the parts, and what came of it.

use super::outcome::Run;
use super::rows::{paired, recall, right};
use crate::Result;
use crate::cli::study::words::interval;
use crate::eval::metrics::Estimate;
use crate::eval::{holm, paired_test};
use serde::Serialize;
use std::fmt::Write;

/// A claim: one way finds more first than another.
struct Claim {
    says: &'static str,
    more: &'static str,
    than: &'static str,
}

const fn claim(says: &'static str, more: &'static str, than: &'static str) -> Claim {
    Claim { says, more, than }
}

/// The published system's claims, then ours.
const CLAIMS: [Claim; 22] = [
    claim("A Wasserstein critic, as published, raises R@1 of a triplet-trained pooled vector", "critic", "base"),
    claim("... at a tenth of its weight", "critic-light", "base"),
    claim("... with a gradient penalty in place of clipping, at weight 1", "critic-gp", "base"),
    claim("... which is more than a class adversary does", "critic-gp", "class"),
    claim("... more than showing one random band", "critic-gp", "random-channel"),
    claim("... more than another radiometry", "critic-gp", "recolour"),
    claim("... more than mixing the modalities' statistics", "critic-gp", "mix-statistics"),
    claim("A projection of the pooled vector raises it", "base", "no-projection"),
    claim("Drop-out raises it", "dropout", "base"),
    claim("Batch-hard mining, its vectors normalised over the batch, raises it", "batch-hard", "base"),
    claim("A graph of the candidates raises it", "graph", "base"),
    claim("... by their positions", "graph", "graph-none"),
    claim("... and both ways to tell positions more than attention alone", "graph", "graph-attention"),
    claim("... or than embedding alone", "graph", "graph-embedding"),
    claim("20 candidates more than those of `graph`", "graph-20", "graph"),
    claim("Encoder and graph trained together more than one after the other", "joint", "graph"),
    claim("The whole system, as published, more than its base", "critic-graph", "base"),
    claim("... at a tenth of the critic's weight", "light-graph", "base"),
    claim("Ours: InfoNCE more than triplets, all else alike", "infonce", "base"),
    claim("Ours: a grid of vectors by InfoNCE more than the whole system", "grid", "light-graph"),
    claim("Ours: the same with its candidates slid", "grid-slide", "light-graph"),
    claim("Ours: correlation of structure, untrained, more than the whole system", "dense-structure", "light-graph"),
];

/// How a claim came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Holds,
    NotShown,
    Reverse,
}

/// A claim with what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    says: &'static str,
    more: &'static str,
    than: &'static str,
    /// Difference of R@1 anywhere on the scene never trained on.
    difference: Estimate,
    /// Holm-corrected over all claims that were judged.
    p: f64,
    /// The same on ground whose map was seen; its queries overlap too much for an interval.
    same_area: Option<f64>,
    outcome: Outcome,
}

/// Below it a difference is taken for one.
const ALPHA: f64 = 0.05;

/// Judges every claim whose ways were run.
pub(super) fn judge(all: &[Run]) -> Result<Vec<Judged>> {
    let mut judged = Vec::new();
    for c in &CLAIMS {
        let (than, more) = paired(all, c.than, c.more, |r| Some(right(&r.cross.arbitrary)));
        if than.is_empty() {
            continue;
        }
        let (difference, p) = paired_test(&than, &more, 7)?;
        let (than, more) = paired(all, c.than, c.more, |r| Some(recall(&r.same.as_ref()?.arbitrary, 1)));
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let same_area = (!than.is_empty()).then(|| mean(&more) - mean(&than));
        judged.push(Judged { says: c.says, more: c.more, than: c.than, difference, p, same_area, outcome: Outcome::NotShown });
    }
    let corrected = holm(&judged.iter().map(|j| j.p).collect::<Vec<_>>());
    for (j, p) in judged.iter_mut().zip(corrected) {
        j.p = p;
        j.outcome = match j.difference.value {
            _ if p >= ALPHA => Outcome::NotShown,
            d if d > 0.0 => Outcome::Holds,
            _ => Outcome::Reverse,
        };
    }
    Ok(judged)
}

/// The claims as Markdown.
pub(super) fn table(judged: &[Judged]) -> String {
    let mut text = String::from(
        "| claim | ways | difference of R@1, points | p (Holm) | came out | same-area, points |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for j in judged {
        let outcome = match j.outcome {
            Outcome::Holds => "**holds**",
            Outcome::NotShown => "not shown",
            Outcome::Reverse => "**the reverse**",
        };
        let same = j.same_area.map_or("-".into(), |d| format!("{:+.1}", 100.0 * d));
        let _ = writeln!(
            text,
            "| {} | `{}` less `{}` | {} | {:.3} | {outcome} | {same} |",
            j.says,
            j.more,
            j.than,
            interval(&j.difference),
            j.p
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::ways::way;
    use super::*;

    #[test]
    fn claims_are_of_ways() {
        for c in &CLAIMS {
            assert_ne!(way(c.more).name, way(c.than).name);
        }
    }
}
