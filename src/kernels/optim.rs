//! Host side of `shaders/optim.wgsl`.
