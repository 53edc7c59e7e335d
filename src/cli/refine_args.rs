//! Options of refinement that `eval` and `locate` share.

use crate::refine::{Choice, Method};

#[derive(Debug, clap::Args)]
pub(super) struct RefineArgs {
    /// Put each query's candidates in a new order by what they have to do with each other
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = Method::None, help_heading = "Refinement")]
    refine: Method,
    /// Candidates of each query that --refine puts in a new order; with aqe, those the query leans to [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Refinement")]
    refine_top: Option<u32>,
    /// Lay the features of each query's first 50 candidates over its own, shifted by up to so many of the encoder's squares (1 where no number is
    /// given): the best shift gives the score, its peak the place between the views. Comes before --refine none and vote; graph has its own
    #[arg(long, value_name = "SQUARES", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Refinement")]
    slide: Option<u32>,
}

impl RefineArgs {
    pub(super) fn choice(&self) -> Choice {
        Choice { method: self.refine, top: self.refine_top.map(|n| n as usize), slide: self.slide.map(|n| n as usize) }
    }
}
