//! Where images lie: one door to all methods.
//!
//! A [`Locator`] opens what `echogrid index` wrote and knows map, models and methods; a [`Query`] is an image and what is known of it;
//! [`Locator::locate`] answers each with a [`Located`]: one verdict, place, footprint and transform, and the [`Fix`] of each patch. Whatever the
//! method, the types are these.
//!
//! Files: `locator` chooses and runs a method: `correlate` (dense matching), `retrieval` (cells of an index) or `cells` (one around the other).
//! `cut` makes patches of an image, `near` knows priors, `turned` searches for the direction of images that do not say it, `vote` lets patches agree, `judge` turns matches into fixes, `whole` places the image.

mod cells;
mod correlate;
mod cut;
mod fix;
mod judge;
mod locator;
mod near;
mod options;
mod query;
mod retrieval;
mod turned;
mod vote;
mod whole;

pub use crate::dense::Variant;
pub use fix::{Candidate, Displacement, Fix, Place, Places, Verdict};
pub use judge::{Answer, fill_peaks};
pub use locator::{Locator, PICTURED, Session};
pub use options::{INDEX_CREDIT, Method, Options, STRIP, dense_beside};
pub use query::{Near, Query, Source};
pub use retrieval::fill_cells;
pub use whole::{HERE, Located, RIGHT_M};
