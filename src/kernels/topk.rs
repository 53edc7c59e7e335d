//! Host side of `shaders/topk.wgsl`.
