//! Host side of `shaders/softmax_xent.wgsl`.
