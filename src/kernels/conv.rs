//! Host side of `shaders/conv.wgsl`.
