//! Twin of `shaders/elementwise.wgsl`.
