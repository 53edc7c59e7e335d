use echogrid::gpu::Engine;

pub fn run(_e: &Engine) {}
