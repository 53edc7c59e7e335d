//! Options of refinement that `eval` and `locate` share.

use crate::gpu::Engine;
use crate::index::LoadedModel;
use crate::refine::{Method, Refiner};
use crate::{Error, Result};

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RefineArg {
    /// As the search found them
    None,
    /// The graph network that the model carries
    Graph,
    /// Alpha query expansion: the query leans to its best candidates, and is searched anew
    Aqe,
    /// k-reciprocal re-ranking
    Krnn,
    /// Graph propagation without training
    Gnnrr,
    /// SuperGlobal re-ranking
    Superglobal,
    /// Candidates of a strip's queries that agree on the place vote for each other
    Vote,
}

impl From<RefineArg> for Method {
    fn from(r: RefineArg) -> Self {
        match r {
            RefineArg::None => Self::None,
            RefineArg::Graph => Self::Graph,
            RefineArg::Aqe => Self::Aqe,
            RefineArg::Krnn => Self::Krnn,
            RefineArg::Gnnrr => Self::Gnnrr,
            RefineArg::Superglobal => Self::Superglobal,
            RefineArg::Vote => Self::Vote,
        }
    }
}

/// Candidates that are refined where nothing else is asked for.
const TOP: u32 = 20;

#[derive(Debug, clap::Args)]
pub(super) struct RefineArgs {
    /// Put each query's candidates in a new order by what they have to do with each other
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = RefineArg::None, help_heading = "Refinement")]
    refine: RefineArg,
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
    pub(super) fn method(&self) -> Method {
        self.refine.into()
    }

    /// Whether nothing is asked for.
    pub(super) fn is_none(&self) -> bool {
        self.method() == Method::None && self.refine_top.is_none()
    }

    /// Refuses options that make no sense together.
    pub(super) fn check(&self) -> Result<()> {
        match (self.method(), self.refine_top) {
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
        let method = self.method();
        let refiner = match method {
            Method::Graph => Some(Refiner::new(engine, &model.file, &model.path)?),
            _ => None,
        };
        let top = refiner.as_ref().map_or(self.refine_top.unwrap_or(TOP) as usize, |r| r.config().top);
        Ok(Prepared { method, top, refiner })
    }
}
