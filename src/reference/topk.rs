//! Twin of `shaders/topk.wgsl`.
