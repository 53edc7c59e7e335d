// Eight f32 loaded as four u64: those at even places, and at odd ones. Mesa's software adapter loads a lane at a time, with a check of bounds for
// each component, so that half as many components are half the work.
fn even(pairs: vec4<u64>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(pairs));
}

fn odd(pairs: vec4<u64>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(pairs >> vec4<u32>(32u)));
}
