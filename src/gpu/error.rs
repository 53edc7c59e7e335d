//! Errors of the GPU layer, as values: each names the op, the sizes and what to do.

/// Result of the GPU layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between the host and the device.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No adapter fits the request.
    #[error(
        "no GPU adapter {wanted}; found: {found}. Install a Vulkan, Metal or DX12 driver (Mesa's software one: package mesa-vulkan-drivers), or name another with --adapter or ECHOGRID_ADAPTER"
    )]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// The adapters that are there.
        found: String,
    },
    /// The adapter refused to open a device.
    #[error("adapter `{adapter}` opened no device: {reason}")]
    Device {
        /// Adapter name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// A size is over a limit of the device.
    #[error("{op}: {what} is {need}, over this device's limit of {limit}; {advice}")]
    Limit {
        /// The op that asked.
        op: String,
        /// Which quantity.
        what: String,
        /// The size asked for.
        need: u64,
        /// The device's limit.
        limit: u64,
        /// What to do.
        advice: String,
    },
    /// The device has no memory left.
    #[error("{op}: out of device memory asking for {bytes} bytes; use a smaller batch or fewer resident scenes ({reason})")]
    OutOfMemory {
        /// The op that asked.
        op: String,
        /// Bytes asked for.
        bytes: u64,
        /// The driver's words.
        reason: String,
    },
    /// The device was lost (driver reset, time-out, unplugged).
    #[error(
        "the GPU device was lost during {op}: {reason}; run again (training goes on with --resume), and if it repeats use a smaller batch or another adapter"
    )]
    Lost {
        /// The op under way.
        op: String,
        /// The driver's words.
        reason: String,
    },
    /// A shader did not pass.
    #[error("shader `{stem}` [{variant}]: {reason}")]
    Shader {
        /// File stem under shaders/.
        stem: String,
        /// The variant's constants.
        variant: String,
        /// What is wrong and where.
        reason: String,
    },
    /// Shapes or types that do not go together.
    #[error("{op}: {reason}")]
    Shape {
        /// The op that refused.
        op: String,
        /// What was expected and what came.
        reason: String,
    },
    /// Validation by wgpu failed: a bug here or in an embedding app.
    #[error("{op}: wgpu rejected the call: {reason}")]
    Validation {
        /// The op under way.
        op: String,
        /// wgpu's words.
        reason: String,
    },
}

impl Error {
    /// A shape error of `op`.
    pub fn shape(op: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Shape { op: op.into(), reason: reason.into() }
    }
}
