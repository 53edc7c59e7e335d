// Elementwise sums, products, copies and masks.
//
// KIND 0  y = a + b, RELU: max(a + b, 0)   bindings: a [n], b [n], y [n], params
// KIND 1  dx = dy where y > 0, else 0      bindings: y [n], dy [n], dx [n], params
// KIND 2  y = y + s * x                    bindings: x [n], y [n], params
// KIND 3  y = s * x                        bindings: x [n], y [n], params
// KIND 4  y = s                            bindings: y [n], params
// KIND 5  y = x where a pixel's mask >= s  bindings: x [pixels, C], mask [pixels, M] (its last channel counts), y [pixels, C], params
// KIND 6  y = min(max(y, -s), s), NaN stays  bindings: y [n], params
// KIND 7  y = s * factor * x               bindings: x [n], factor [1], y [n], params
// Dispatch: groups of 64, folded; each takes several rows of 64 elements.
// Variant: KIND, RELU, VEC (1 or 4) with T = f32 or vec4<f32>; n counts T. KIND 0 to 3: A, B and Y say how the first input, the second
// and the output are stored, in f32 or f16. Workgroup memory: none.
#import fold
#import nan

alias V = ${T};
#if KIND < 4
alias A = ${A};
alias Y = ${Y};
#endif

struct Params {
    n: u32,       // elements / VEC
    total: u32,   // invocations
    stride: u32,  // invocations
    columns: u32, // 64
    span: u32,    // a chunk's first element is chunk * span + column,
    step: u32,    // the next one `step` on,
    limit: u32,   // all below chunk * span + limit and n
    s: f32,
#if KIND == 5
    inner: u32,   // C / VEC
    outer: u32,   // M
#endif
}

#if KIND < 2
alias B = ${B};
@group(0) @binding(0) var<storage, read> a: array<A>;
@group(0) @binding(1) var<storage, read> b: array<B>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 2 || KIND == 3
@group(0) @binding(0) var<storage, read> x: array<A>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> params: Params;
#endif
#if KIND == 4 || KIND == 6
@group(0) @binding(0) var<storage, read_write> y: array<V>;
@group(0) @binding(1) var<uniform> params: Params;
#endif

#if KIND == 5
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> mask: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 7
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let chunk = i / 64u;
#if KIND == 7
    let s = params.s * factor[0];
#endif
    let end = min(chunk * params.span + params.limit, params.n);
    for (var j = chunk * params.span + i % 64u; j < end; j += params.step) {
#if KIND == 0
    #if RELU
        y[j] = Y(max(V(a[j]) + V(b[j]), V(0.0)));
    #else
        y[j] = Y(V(a[j]) + V(b[j]));
    #endif
#endif
#if KIND == 1
        y[j] = Y(select(V(0.0), V(b[j]), V(a[j]) > V(0.0)));
#endif
#if KIND == 2
        y[j] = Y(V(y[j]) + params.s * V(x[j]));
#endif
#if KIND == 3
        y[j] = Y(params.s * V(x[j]));
#endif
#if KIND == 4
        y[j] = V(params.s);
#endif
#if KIND == 5
        y[j] = select(V(0.0), x[j], mask[(j / params.inner + 1u) * params.outer - 1u] >= params.s);
#endif
#if KIND == 6
        // `clamp`, and comparisons in a compiler's hands, may turn a NaN into a number.
        let v = y[j];
#if VEC == 4
        let nan = are_nan(v);
#else
        let nan = is_nan(v);
#endif
        y[j] = select(clamp(v, V(-params.s), V(params.s)), v, nan);
#endif
#if KIND == 7
        y[j] = s * x[j];
#endif
    }
}
