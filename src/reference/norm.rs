//! Twin of `shaders/norm.wgsl`.
