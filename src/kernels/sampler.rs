//! Host side of `shaders/sampler.wgsl`.
