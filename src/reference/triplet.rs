//! Twin of `shaders/triplet.wgsl`.
