//! Twin of `shaders/sampler.wgsl`.
