//! The GPU layer: adapter and device, shader preprocessing, pipelines, tensors, plans, transfers
//! and profiling. It knows no kernel.

mod caps;
mod context;
mod error;
mod pipeline;
mod plan;
mod profile;
pub mod shader;
mod tensor;
mod texture;
mod transfer;
mod tuning;

pub use caps::{Caps, Requirements};
pub use context::{AdapterChoice, AdapterSummary, Engine, list_adapters};
pub use error::{Error, Result};
pub use pipeline::Pipeline;
pub use plan::{Binding, Cost, Groups, Plan, PlanBuilder, Precision};
pub use profile::{OpTime, medians, summarise};
pub use shader::{ShaderSource, Variant};
pub use tensor::{DType, Tensor};
pub use texture::{PAGE, PageArray, PageTable, cut_page};
pub use transfer::Readback;
pub use tuning::{Measured, Tuning, TuningFile, family_for};
