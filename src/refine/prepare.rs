//! A way to refine that was chosen, ready to run.

use super::{DEPTH, Method, Refiner, Slider};
use crate::gpu::Engine;
use crate::index::LoadedModel;
use crate::{Error, Result};

/// Candidates that are refined where nothing else is asked for.
const TOP: usize = 20;

/// How candidates are to be put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choice {
    /// The method.
    pub method: Method,
    /// Candidates of each query that it puts in order; none takes 20, or what the graph network was made for.
    pub top: Option<usize>,
    /// Squares of the encoder by which candidates slide over their query.
    pub slide: Option<usize>,
}

impl Choice {
    /// Whether nothing is asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what makes no sense together.
    ///
    /// # Errors
    /// [`Error::Invalid`], with what to do.
    pub fn check(&self) -> Result<()> {
        if self.slide.is_some() && !matches!(self.method, Method::None | Method::Vote) {
            return Err(Error::invalid(match self.method {
                Method::Graph => "the graph network knows how far its candidates slide: leave --slide out, or train another network".into(),
                method => {
                    format!("--refine {} compares vectors as they are stored, and nothing can slide: leave --slide out", method.name())
                }
            }));
        }
        match (self.method, self.top) {
            (Method::None, Some(_)) => {
                Err(Error::invalid("--refine-top says how many candidates --refine puts in order: name a method with --refine"))
            }
            (Method::Graph, Some(_)) => Err(Error::invalid(
                "the graph network knows how many candidates it takes: leave --refine-top out, or train another network",
            )),
            _ => Ok(()),
        }
    }

    /// Makes it ready on a device.
    ///
    /// # Errors
    /// A model without a graph network where one is asked for; the device.
    pub fn prepare(&self, engine: &Engine, model: &LoadedModel) -> Result<Prepared> {
        let refiner = match self.method {
            Method::Graph => Some(Refiner::new(engine, &model.file, &model.path)?),
            _ => None,
        };
        let top = refiner.as_ref().map_or(self.top.unwrap_or(TOP), |r| r.config().top);
        let slider = self.slide.map(|reach| Slider::new(engine, model.encoder(), reach)).transpose()?;
        Ok(Prepared { method: self.method, top, slider, refiner })
    }
}

/// What refines, ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// The method.
    pub method: Method,
    /// Candidates of each query that it puts in order.
    pub top: usize,
    /// What slides candidates, where that was asked for.
    pub slider: Option<Slider>,
    /// The graph network, where that is the method.
    pub refiner: Option<Refiner>,
}

impl Prepared {
    /// Whether candidates change at all.
    pub fn is_none(&self) -> bool {
        self.method == Method::None && self.slider.is_none()
    }

    /// By how many squares candidates slide.
    pub fn slide(&self) -> usize {
        let own = self.refiner.as_ref().and_then(Refiner::slider);
        own.or(self.slider.as_ref()).map_or(0, Slider::reach)
    }

    /// Candidates that a search must find for it.
    pub fn depth(&self) -> usize {
        match (self.is_none(), self.slide()) {
            (true, _) => 0,
            (_, 0) => self.top,
            _ => self.top.max(DEPTH),
        }
    }
}
