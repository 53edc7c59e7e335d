//! Twin of `shaders/concat.wgsl`.
