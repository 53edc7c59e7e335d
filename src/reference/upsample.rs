//! Twin of `shaders/upsample.wgsl`.
