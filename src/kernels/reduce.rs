//! Host side of `shaders/reduce.wgsl`.
