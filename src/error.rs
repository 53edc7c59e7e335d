//! The crate's error: what a command tells its user.

use std::path::PathBuf;

/// Result of everything above the GPU and scene layers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device.
    #[error(transparent)]
    Gpu(#[from] crate::gpu::Error),
    /// A raster, its georeference or its radiometry.
    #[error(transparent)]
    Scene(#[from] crate::scene::Error),
    /// A model or checkpoint file.
    #[error(transparent)]
    Weights(#[from] crate::nn::WeightsError),
    /// A database file.
    #[error("{}: {reason}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file that could not be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Options or data that make no sense together.
    #[error("{0}")]
    Invalid(String),
    /// Metrics of nothing.
    #[error(transparent)]
    Metrics(#[from] crate::eval::metrics::MetricsError),
    /// A report that could not be made.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Report(#[from] crate::report::Error),
    /// Stopped by the user; what was done is saved.
    #[error("interrupted: {0}")]
    Interrupted(String),
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    /// An [`Error::File`].
    pub fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}
