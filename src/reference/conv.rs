//! Twin of `shaders/conv.wgsl`.
