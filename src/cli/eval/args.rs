//! Options of `echogrid eval`.

use crate::cli::common::{JudgedArgs, SarArgs};
use crate::cli::databases::GridArgs;
use crate::cli::dense_args::{DenseArgs, MatchArgs};
use crate::cli::refine_args::RefineArgs;
use crate::locate::Method;
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum ProtocolArg {
    /// Queries cut on the grid itself
    Aligned,
    /// Queries anywhere
    Arbitrary,
    /// Queries anywhere, correlated with the whole map to the metre
    Dense,
}

/// Measure how well SAR patches are found on a map, or with --match told from those of other ground
///
/// Both images must be georeferenced: that is the truth. Pairs need not be: they are laid side by side, with nothing between them. A candidate cell is right when its centre lies within half a cell of
/// the query's centre in both axes. Errors are distances on the ground from the best view of the first candidate.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) scene: JudgedArgs,
    /// Model [default: the shipped weights; with --match there are none]
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<PathBuf>,
    /// Measure how well a matching model tells pairs from others: --pairs, and as many that are none, drawn by --seed
    #[arg(long = "match", conflicts_with_all = ["protocol", "map", "sar", "report", "held_out", "queries", "absent", "absent_pairs", "method", "cells", "strip"])]
    pub(super) pairwise: bool,
    /// Draw the ROC curve, with --match
    #[arg(long, value_name = "FILE.svg", requires = "pairwise")]
    pub(super) figure: Option<PathBuf>,
    /// Where queries lie
    #[arg(long, value_enum, required = false, required_unless_present = "pairwise", default_value_if("pairwise", "true", "arbitrary"))]
    pub(super) protocol: ProtocolArg,
    /// Number of queries (aligned: at most one a cell)
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(super) queries: usize,
    /// Seed of the places and of the intervals
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) grid: GridArgs,
    #[command(flatten)]
    pub(super) reading: SarArgs,
    #[command(flatten)]
    pub(super) dense: DenseArgs,
    /// How to look (dense protocol): over the whole map, or around the best cells of a retrieval index only
    #[arg(long, value_enum, default_value_t = Method::Dense, help_heading = "Dense matching")]
    pub(super) method: Method,
    /// Cells looked into for each patch, with --method both
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Dense matching")]
    pub(super) cells: u32,
    /// Standard deviations of the surface that a cosine of 1 adds to a peak, with --method both
    #[arg(long, value_name = "F", default_value_t = 1.0, hide = true)]
    pub(super) index_credit: f64,
    #[command(flatten)]
    pub(super) matching: MatchArgs,
    /// Map and SAR image of another area, whose patches must not be found (dense protocol)
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"])]
    pub(super) absent: Option<Vec<PathBuf>>,
    /// Pairs of another area, whose patches must not be found (dense protocol)
    #[arg(long, num_args = 2, value_names = ["SAR", "OPT"], conflicts_with = "absent", help_heading = "Pairs")]
    pub(super) absent_pairs: Option<Vec<PathBuf>>,
    /// Write every query's result (dense protocol), or every distance (--match)
    #[arg(long, value_name = "FILE.json")]
    pub(super) dump: Option<PathBuf>,
    /// Only queries on the ground whose SAR image the model's training held out (`held_out` of its settings): a known map, new SAR
    #[arg(long, conflicts_with_all = ["pairs", "pairs_list"])]
    pub(super) held_out: bool,
    #[command(flatten)]
    pub(super) refinement: RefineArgs,
    /// Queries in strips of N, a cell apart along a random heading and refined together; --queries counts all of them (arbitrary protocol)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Refinement")]
    pub(super) strip: u32,
    /// A page with figures and pictures to look at
    #[arg(long, value_name = "FILE.html", value_parser = crate::cli::common::page)]
    pub(super) report: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}
