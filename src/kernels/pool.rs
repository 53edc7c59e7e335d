//! Host side of `shaders/pool.wgsl`.
