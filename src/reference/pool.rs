//! Twin of `shaders/pool.wgsl`.
