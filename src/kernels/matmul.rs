//! Host side of `shaders/matmul.wgsl`.
