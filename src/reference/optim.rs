//! Twin of `shaders/optim.wgsl`.
