//! What a training run aligns by.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// By which loss the two modalities' embeddings are drawn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Align {
    /// Not at all.
    #[default]
    None,
    /// Wasserstein critic, its weights clipped (Arjovsky et al., "Wasserstein GAN", 2017).
    CriticClip,
    /// Wasserstein critic with gradient penalty (Gulrajani et al., "Improved training of Wasserstein GANs", 2017).
    CriticGp,
    /// Classifier of the modality (Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", 2015).
    Class,
    /// Sinkhorn divergence (Feydy et al., "Interpolating between optimal transport and MMD", 2019).
    Sinkhorn,
    /// Maximum mean discrepancy (Gretton et al., "A kernel two-sample test", 2012).
    Mmd,
    /// Distance of the covariances (Sun and Saenko, "Deep CORAL", 2016).
    Coral,
}

impl Align {
    /// Every way, in the order of the study's table.
    pub const ALL: [Self; 7] = [Self::None, Self::CriticClip, Self::CriticGp, Self::Class, Self::Sinkhorn, Self::Mmd, Self::Coral];

    /// As it is written in options and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CriticClip => "critic-clip",
            Self::CriticGp => "critic-gp",
            Self::Class => "class",
            Self::Sinkhorn => "sinkhorn",
            Self::Mmd => "mmd",
            Self::Coral => "coral",
        }
    }
}

/// Which modality's encoder the alignment loss moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sides {
    /// Both.
    #[default]
    Both,
    /// SAR alone: its embeddings are drawn to the map's.
    Sar,
}

/// How the encoder learns from the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassBy {
    /// Its gradient, reversed, by a factor that rises from 0 to 1 as 2 / (1 + exp(-10 p)) - 1 over the run's share p.
    #[default]
    Reversal,
    /// A loss of its own, with the labels flipped; the classifier learns in steps of its own.
    Flip,
}

/// Settings of alignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignConfig {
    /// The loss.
    pub method: Align,
    /// Its weight against the 1 of the loss of the pairs; where not given, the method's own.
    pub weight: Option<f64>,
    /// Whom it moves.
    pub sides: Sides,
    /// Widths of the hidden layers of critic or classifier (LeakyReLU 0.2 between them).
    pub hidden: Vec<usize>,
    /// Steps of the critic, or of the classifier of flipped labels, to one of the encoder.
    pub adversary_steps: usize,
    /// Learning rate of the critic or of the classifier of flipped labels.
    pub adversary_lr: f64,
    /// Weights of `critic-clip` stay within plus and minus this.
    pub clip: f32,
    /// Weight of the gradient penalty of `critic-gp`.
    pub penalty: f32,
    /// Slopes below 1 are not penalised.
    pub penalty_one_sided: bool,
    /// How `class` teaches the encoder.
    pub class_by: ClassBy,
    /// Entropic regularisation of `sinkhorn`, in units of 1 - cosine.
    pub eps: f32,
    /// Iterations of `sinkhorn` at most.
    pub iterations: u32,
    /// Bandwidths of `mmd`'s Gaussian kernels, in distances of unit vectors.
    pub bandwidths: [f32; 5],
}

impl Default for AlignConfig {
    fn default() -> Self {
        Self {
            method: Align::None,
            weight: None,
            sides: Sides::Both,
            hidden: vec![256, 256],
            adversary_steps: 5,
            adversary_lr: 1e-3,
            clip: 0.1,
            penalty: 10.0,
            penalty_one_sided: false,
            class_by: ClassBy::Reversal,
            eps: 0.05,
            iterations: 100,
            bandwidths: [0.25, 0.5, 0.75, 1.0, 1.5],
        }
    }
}

impl AlignConfig {
    /// The weight in force: the one given, or the method's own, one that cost no recall (`studies/align-weights.md`).
    pub fn weight(&self) -> f64 {
        self.weight.unwrap_or(match self.method {
            Align::None => 0.0,
            // A clipped critic's slope is far above 1.
            Align::CriticClip => 1e-3,
            Align::CriticGp | Align::Sinkhorn | Align::Mmd => 1.0,
            // A classifier of its own pulls harder than one whose gradient is reversed little by little.
            Align::Class if self.flips() => 0.01,
            Align::Class => 0.1,
            // A squared distance of covariances over 4 D^2 is small by construction.
            Align::Coral => 1e4,
        })
    }

    /// Whether a network of its own is trained beside the encoder.
    pub fn has_adversary(&self) -> bool {
        matches!(self.method, Align::CriticClip | Align::CriticGp) || self.flips()
    }

    /// Whether the encoder's step reads the factor of gradient reversal.
    pub fn reverses(&self) -> bool {
        self.method == Align::Class && self.class_by == ClassBy::Reversal
    }

    pub(crate) fn flips(&self) -> bool {
        self.method == Align::Class && self.class_by == ClassBy::Flip
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// The field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("training configuration: align.{what}")));
        match self {
            c if c.weight.is_some_and(|w| !w.is_finite() || w < 0.0) => refuse("weight must be 0 or above"),
            c if c.hidden.contains(&0) => refuse("hidden holds widths above 0"),
            c if c.adversary_steps == 0 => refuse("adversary_steps must be above 0"),
            c if !c.adversary_lr.is_finite() || c.adversary_lr <= 0.0 => refuse("adversary_lr must be above 0"),
            c if !c.clip.is_finite() || c.clip <= 0.0 => refuse("clip must be above 0"),
            c if !c.penalty.is_finite() || c.penalty < 0.0 => refuse("penalty must be 0 or above"),
            c if !c.eps.is_finite() || c.eps <= 0.0 => refuse("eps must be above 0"),
            c if c.iterations == 0 => refuse("iterations must be above 0"),
            c if c.bandwidths.iter().any(|b| !b.is_finite() || *b <= 0.0) => refuse("bandwidths must be above 0"),
            _ => Ok(()),
        }
    }
}
