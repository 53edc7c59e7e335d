//! Host side of `shaders/infonce.wgsl`.
