//! Host side of `shaders/center.wgsl`.
