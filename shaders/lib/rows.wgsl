// Queries, and rows of a database, and how they are read, WIDTH columns at once (1, 4 or 8; their number is a multiple of it): queries as Q, f32;
// rows from `x` as X, f32, or f16 two to a word where F16. V holds what was read.
#if WIDTH == 8
#import pairs
struct V {
    even: vec4<f32>,
    odd: vec4<f32>,
}
alias Q = vec4<u64>;
fn query(w: Q) -> V {
    return V(even(w), odd(w));
}
    #if F16
alias X = vec4<u32>;
fn load_x(at: u32) -> V {
    let w = x[at];
    let a = unpack2x16float(w.x);
    let b = unpack2x16float(w.y);
    let c = unpack2x16float(w.z);
    let d = unpack2x16float(w.w);
    return V(vec4(a.x, b.x, c.x, d.x), vec4(a.y, b.y, c.y, d.y));
}
    #else
alias X = Q;
fn load_x(at: u32) -> V {
    return query(x[at]);
}
    #endif
fn product(a: V, b: V) -> f32 {
    return dot(a.even, b.even) + dot(a.odd, b.odd);
}
#else
    #if WIDTH == 4
alias V = vec4<f32>;
        #if F16
alias X = vec2<u32>;
fn load_x(at: u32) -> V {
    let w = x[at];
    return vec4(unpack2x16float(w.x), unpack2x16float(w.y));
}
        #else
alias X = V;
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
alias X = V;
fn load_x(at: u32) -> V {
    return x[at];
}
        #endif
fn product(a: V, b: V) -> f32 {
    return a * b;
}
    #endif
alias Q = V;
fn query(w: Q) -> V {
    return w;
}
#endif
