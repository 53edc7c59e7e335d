//! What is wrong with pairs, in words.

use std::fmt;
use std::path::PathBuf;

use crate::scene::{ImageHeader, SampleType};

/// Faults that a message names.
const NAMED: usize = 10;

/// What is wrong with a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An image without the other one of its pair.
    NoPartner {
        /// The image.
        path: PathBuf,
        /// Where the other one was sought.
        sought: PathBuf,
    },
    /// Two images of one folder that have the same name but for its end.
    Twice(PathBuf, PathBuf),
    /// An image that cannot be read, and why.
    Unreadable(String),
    /// The two images of a pair differ in size.
    Sizes {
        /// The SAR image.
        sar: PathBuf,
        /// Its width and height, px.
        sar_size: [u32; 2],
        /// The optical image.
        optical: PathBuf,
        /// Its width and height, px.
        optical_size: [u32; 2],
    },
    /// An image of other bands or another sample type than the first of its kind: their values would mean different things.
    OtherType {
        /// The image.
        path: PathBuf,
        /// Its bands and type.
        is: (u32, SampleType),
        /// The first of its kind.
        first: PathBuf,
        /// Bands and type of that one.
        of_first: (u32, SampleType),
    },
}

impl Fault {
    /// Compares an image with the first of its kind.
    pub(super) fn of_type(path: &std::path::Path, outline: ImageHeader, (first, of_first): &(PathBuf, ImageHeader)) -> Option<Self> {
        let kind = |o: &ImageHeader| (o.bands, o.sample_type);
        (kind(&outline) != kind(of_first)).then(|| Self::OtherType {
            path: path.into(),
            is: kind(&outline),
            first: first.clone(),
            of_first: kind(of_first),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |(bands, kind): &(u32, SampleType)| format!("{bands} band{} of {}", if *bands == 1 { "" } else { "s" }, kind.name());
        match self {
            Self::NoPartner { path, sought } => write!(f, "{} has no partner in {}", path.display(), sought.display()),
            Self::Twice(a, b) => write!(f, "{} and {} have one name; leave one of them out", a.display(), b.display()),
            Self::Unreadable(why) => f.write_str(why),
            Self::Sizes { sar, sar_size: [w, h], optical, optical_size: [v, i] } => {
                write!(f, "{} has {w}x{h} px, {} {v}x{i}", sar.display(), optical.display())
            }
            Self::OtherType { path, is, first, of_first } => {
                write!(f, "{} has {}, {} {}", path.display(), kind(is), first.display(), kind(of_first))
            }
        }
    }
}

/// All that is wrong with a set, as one message: the first ten, and how many more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0.len();
        write!(f, "{n} {}", if n == 1 { "fault" } else { "faults" })?;
        for (i, fault) in self.0.iter().take(NAMED).enumerate() {
            write!(f, "{} {fault}", if i == 0 { ":" } else { ";" })?;
        }
        if n > NAMED { write!(f, "; and {} more", n - NAMED) } else { Ok(()) }
    }
}
