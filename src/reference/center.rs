//! Twin of `shaders/center.wgsl`.
