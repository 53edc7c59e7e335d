//! Options of refinement that `eval` and `locate` share.

use crate::gpu::Engine;
use crate::index::LoadedModel;
use crate::refine::{DEPTH, Method, Refiner, Slider};
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
    /// Lay the features of each query's first 50 candidates over its own, shifted by up to so many of the encoder's squares (1 where no number is
    /// given): the best shift gives the score, its peak the place between the views. Comes before --refine none and vote; graph has its own
    #[arg(long, value_name = "SQUARES", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Refinement")]
    pub(super) slide: Option<u32>,
}

/// What refines, ready to run.
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) top: usize,
    pub(super) slider: Option<Slider>,
    pub(super) refiner: Option<Refiner>,
}

impl Prepared {
    /// Whether candidates change at all.
    pub(super) fn is_none(&self) -> bool {
        self.method == Method::None && self.slider.is_none()
    }

    /// By how many squares candidates slide.
    pub(super) fn slide(&self) -> usize {
        let own = self.refiner.as_ref().and_then(Refiner::slider);
        own.or(self.slider.as_ref()).map_or(0, Slider::reach)
    }

    /// Candidates that a search must find for it.
    pub(super) fn depth(&self) -> usize {
        match (self.is_none(), self.slide()) {
            (true, _) => 0,
            (_, 0) => self.top,
            _ => self.top.max(DEPTH),
        }
    }
}

impl RefineArgs {
    /// Whether nothing is asked for.
    pub(super) fn is_none(&self) -> bool {
        self.refine == Method::None && self.refine_top.is_none() && self.slide.is_none()
    }

    /// Refuses options that make no sense together.
    pub(super) fn check(&self) -> Result<()> {
        if self.slide.is_some() && !matches!(self.refine, Method::None | Method::Vote) {
            return Err(Error::invalid(match self.refine {
                Method::Graph => "the graph network knows how far its candidates slide: leave --slide out, or train another network".into(),
                method => {
                    format!("--refine {} compares vectors as they are stored, and nothing can slide: leave --slide out", method.name())
                }
            }));
        }
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
        let slider = self.slide.map(|reach| Slider::new(engine, model.encoder(), reach as usize)).transpose()?;
        Ok(Prepared { method, top, slider, refiner })
    }
}
