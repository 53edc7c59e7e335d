// Rows of a database and how they are read: `x` is f32, or f16 two to a word where F16; by fours of columns where VEC (their number is a multiple
// of 4), else one by one.
#if VEC
alias V = vec4<f32>;
    #if F16
alias X = vec2<u32>;
fn load_x(at: u32) -> V {
    let w = x[at];
    return vec4(unpack2x16float(w.x), unpack2x16float(w.y));
}
    #else
alias X = vec4<f32>;
fn load_x(at: u32) -> V {
    return x[at];
}
    #endif
fn product(a: V, b: V) -> f32 {
    return dot(a, b);
}
#else
alias V = f32;
    #if F16
alias X = u32;
fn load_x(at: u32) -> V {
    let w = unpack2x16float(x[at >> 1u]);
    return select(w.x, w.y, (at & 1u) == 1u);
}
    #else
alias X = f32;
fn load_x(at: u32) -> V {
    return x[at];
}
    #endif
fn product(a: V, b: V) -> f32 {
    return a * b;
}
#endif
