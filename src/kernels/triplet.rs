//! Host side of `shaders/triplet.wgsl`.
