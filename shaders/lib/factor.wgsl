// A factor as it enters a product: rounded to f16 where HALF, and 0 below what is normal there, as some devices have it anyway.
fn factor(v: f32) -> f32 {
#if HALF
    return select(quantizeToF16(v), 0.0, abs(v) < 6.103515625e-5);
#else
    return v;
#endif
}

fn factor4(v: vec4<f32>) -> vec4<f32> {
#if HALF
    return select(quantizeToF16(v), vec4(0.0), abs(v) < vec4(6.103515625e-5));
#else
    return v;
#endif
}
