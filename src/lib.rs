//! echogrid finds where on an optical map a SAR (radar) image was taken.
//!
//! It is a GPU compute engine: hand-written WGSL kernels on wgpu, a thin Rust host. Start here:
//! - [`gpu::Engine`] is a device, its own or your app's; [`gpu::Plan`] is work recorded once and run any number of times.
//! - [`kernels`] append dispatches to a plan; [`mod@reference`] holds the twin of each on the CPU.
//! - [`mod@tune`] measures which of a family's kernels are fastest on a device; [`gpu::Engine::with_tuning`] takes the result.
//! - [`nn::Graph`] describes a network once and gives forward and backward plans; [`nn::EncoderConfig`] builds encoders.
//! - [`scene::Raster`] reads maps of any size by windows, [`pairs::PairSet`] sets of small SAR-optical pairs; [`index`] makes databases of their cells and searches them; [`train`] and
//!   [`eval`] do what their names say.
//!
//! ```no_run
//! use echogrid::gpu::{AdapterChoice, Engine};
//! use echogrid::index::{Database, IndexConfig, LoadedModel, build};
//! use echogrid::scene::Image;
//! use std::{path::Path, sync::Arc};
//!
//! # fn main() -> echogrid::Result<()> {
//! let engine = pollster::block_on(Engine::new(&AdapterChoice::Best))?;
//! let model = LoadedModel::load(None)?; // the shipped weights
//! let embedder = model.embedder(&engine, 64)?;
//! let map = Arc::new(Image::map(Path::new("city.tif"))?);
//! let writer = Database::writer(Path::new("city.db"));
//! let database = build(&embedder, &model, &map, &IndexConfig::default(), writer, |_, _| {})?;
//! println!("{} cells", database.cells());
//! # Ok(())
//! # }
//! ```

pub mod align;
mod atomic;
mod container;
pub mod dense;
pub mod detect;
mod error;
pub mod eval;
pub mod gpu;
pub mod index;
pub mod kernels;
pub mod locate;
pub mod matching;
pub mod nn;
pub mod pairs;
mod random;
pub mod reference;
pub mod refine;
pub mod register;
pub mod scene;
pub mod train;
pub mod tune;

pub use error::{Error, Result};

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod report;
