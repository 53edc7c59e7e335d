//! Host side of `shaders/concat.wgsl`.
