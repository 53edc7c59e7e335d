//! Detection of objects, ships above all, in SAR images: boxes, annotated data sets, measures, and what lies around a detector.
//!
//! - [`Dataset`] is images with boxes; [`coco`] and [`voc`] read it, [`synthetic`] draws one.
//! - [`ap`] holds [`Detection`]s against it: average precision as COCO, VOC 2007 and VOC 2012 have it.
//! - [`mod@write`] writes detections as COCO JSON, CSV and GeoJSON.
//! - [`letterbox`] puts images of any shape before a square network, [`tiles`] scenes of any size; [`anchors`] finds the sizes of boxes, [`fusion`]
//!   makes one list of several detectors'.
//!
//! - [`Detector`] is a network at work, [`AnnotatedImages`] a data set whose images are open.
//!
//! Boxes are [`BBox`]es in pixels of their image.

pub mod anchors;
pub mod ap;
pub mod boxes;
pub mod coco;
mod dataset;
mod detector;
pub mod fusion;
mod heads;
mod images;
pub mod letterbox;
mod proposals;
pub mod synthetic;
pub mod tiles;
pub mod voc;
pub mod write;

pub use boxes::BBox;
pub use dataset::{Annotated, Category, Dataset, Detection, TOLERANCE_PX, Truth};
pub(crate) use detector::BATCH;
pub use detector::{DetectOptions, Detector, MAX_DETECTIONS};
pub use fusion::Fusion;
pub use images::AnnotatedImages;
pub(crate) use proposals::Proposer;
