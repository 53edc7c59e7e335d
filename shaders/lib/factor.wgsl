// A factor as it enters a product: rounded to f16 where HALF.
fn factor(v: f32) -> f32 {
#if HALF
    return quantizeToF16(v);
#else
    return v;
#endif
}

fn factor4(v: vec4<f32>) -> vec4<f32> {
#if HALF
    return quantizeToF16(v);
#else
    return v;
#endif
}
