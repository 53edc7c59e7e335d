//! Host side of `shaders/bias.wgsl`.
