//! Twin of `shaders/matmul.wgsl`.
