//! Host side of `shaders/norm.wgsl`.
