//! Twin of `shaders/reduce.wgsl`.
