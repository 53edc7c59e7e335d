// A device may take any number for a NaN in `exp`, `log` and `max`. Its bits are left alone.
fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

fn are_nan(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

// exp(v) and log(v), and NaN of a NaN.
fn exp_or_nan(v: f32) -> f32 {
    return select(exp(v), v, is_nan(v));
}

fn log_or_nan(v: f32) -> f32 {
    return select(log(v), v, is_nan(v));
}
