//! Twin of `shaders/softmax_xent.wgsl`.
