//! Host side of `shaders/l2norm.wgsl`.
