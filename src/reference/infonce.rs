//! Twin of `shaders/infonce.wgsl`.
