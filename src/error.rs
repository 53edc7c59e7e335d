//! The crate's error: what a command tells its user.

use std::error::Error as _;
use std::io;
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
    Scene(crate::scene::Error),
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
    /// The system refused to open, read or write a file.
    #[error("{message}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The file, the system's words and what to do.
        message: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is not what it should be.
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

    /// An [`Error::Io`]; `reason` says what the system said and what to do, without the path.
    pub fn io(path: impl Into<PathBuf>, reason: impl std::fmt::Display, source: io::Error) -> Self {
        let path = path.into();
        Self::Io { message: format!("{}: {reason}", path.display()), path, source }
    }

    /// The kind of the system's refusal, where one is behind this error, of whatever layer.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return Some(io.kind());
            }
            cause = error.source();
        }
        None
    }
}

impl From<crate::scene::Error> for Error {
    /// What the device refused stays the device's error on its way through the scene.
    fn from(error: crate::scene::Error) -> Self {
        match error {
            crate::scene::Error::Gpu(e) => Self::Gpu(e),
            e => Self::Scene(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_kind_of_a_refusal_is_known_through_every_layer() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let direct = Error::io("a/b", format!("cannot be opened ({})", gone()), gone());
        assert_eq!(direct.to_string(), "a/b: cannot be opened (entity not found)");
        let scene = crate::scene::Image::map(Path::new("no/such.tif")).unwrap_err();
        let weights = Error::from(crate::nn::WeightFile::load(Path::new("no/such.model")).unwrap_err());
        for error in [direct, Error::from(scene), weights] {
            assert_eq!(error.io_kind(), Some(io::ErrorKind::NotFound), "{error}");
        }
        assert_eq!(Error::invalid("no file").io_kind(), None);
    }
}
