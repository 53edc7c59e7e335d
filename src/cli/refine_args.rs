//! Options of refinement that `eval` and `locate` share.

use crate::gpu::Engine;
use crate::index::LoadedModel;
use crate::refine::{Method, Refiner};
use crate::{Error, Result};

/// Candidates that are refined where nothing else is asked for.
const TOP: u32 = 20;

#[derive(Debug, clap::Args)]
pub(super) struct RefineArgs {
    /// Put each query's candidates in a new order by what they have to do with each other
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = Method::None, help_heading = "Refinement")]
    pub(super) refine: Method,
    /// Candidates of each query that --refine puts in a new order; with aqe, those the query leans to [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Refinement")]
    refine_top: Option<u32>,
}

/// What refines, ready to run.
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) top: usize,
    pub(super) refiner: Option<Refiner>,
}

impl RefineArgs {
    /// Whether nothing is asked for.
    pub(super) fn is_none(&self) -> bool {
        self.refine == Method::None && self.refine_top.is_none()
    }

    /// Refuses options that make no sense together.
    pub(super) fn check(&self) -> Result<()> {
        match (self.refine, self.refine_top) {
            (Method::None, Some(_)) => {
                Err(Error::invalid("--refine-top says how many candidates --refine puts in order: name a method with --refine"))
            }
            (Method::Graph, Some(_)) => Err(Error::invalid(
                "the graph network knows how many candidates it takes: leave --refine-top out, or train another network",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn prepare(&self, engine: &Engine, model: &LoadedModel) -> Result<Prepared> {
        let method = self.refine;
        let refiner = match method {
            Method::Graph => Some(Refiner::new(engine, &model.file, &model.path)?),
            _ => None,
        };
        let top = refiner.as_ref().map_or(self.refine_top.unwrap_or(TOP) as usize, |r| r.config().top);
        Ok(Prepared { method, top, refiner })
    }
}
