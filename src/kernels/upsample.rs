//! Host side of `shaders/upsample.wgsl`.
