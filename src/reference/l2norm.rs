//! Twin of `shaders/l2norm.wgsl`.
