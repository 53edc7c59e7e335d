//! Host side of `shaders/elementwise.wgsl`.
