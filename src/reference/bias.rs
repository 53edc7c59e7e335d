//! Twin of `shaders/bias.wgsl`.
