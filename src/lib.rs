//! echogrid finds where on an optical map a SAR (radar) image was taken.
//!
//! It is a GPU compute engine: hand-written WGSL kernels on wgpu, a thin Rust host.

mod atomic;
mod error;
pub mod eval;
pub mod gpu;
pub mod index;
pub mod kernels;
pub mod nn;
pub mod reference;
pub mod scene;
pub mod train;

pub use error::{Error, Result};

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod report;
