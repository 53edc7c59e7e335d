// Pointwise activations and their gradients.
//
// forward  y = f(x)            bindings: x [n], y [n], params
// backward dx = dy * f'(x)     bindings: x [n], dy [n], dx [n], params
// f: KIND 0 ReLU max(x, 0); 1 LeakyReLU x or slope*x; 2 SiLU x / (1 + exp(-x)); 3 sigmoid 1 / (1 + exp(-x)).
// Dispatch: one invocation an element, in groups of 64, folded. Variant: KIND, BACKWARD; VEC (1 or 4) with T; n counts T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    n: u32,
    slope: f32,
}

#if BACKWARD
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> dy: array<V>;
@group(0) @binding(2) var<storage, read_write> dx: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#else
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;
@group(0) @binding(2) var<uniform> params: Params;
#endif

#if KIND > 1
fn sigmoid(v: V) -> V {
    // exp of a non-positive number only: never overflows.
    let e = exp(-abs(v));
    return select(e, V(1.0), v >= V(0.0)) / (V(1.0) + e);
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.n {
        return;
    }
    let v = x[i];
#if BACKWARD
    #if KIND == 0
    dx[i] = select(V(0.0), dy[i], v > V(0.0));
    #endif
    #if KIND == 1
    dx[i] = dy[i] * select(V(params.slope), V(1.0), v > V(0.0));
    #endif
    #if KIND == 2
    let s = sigmoid(v);
    dx[i] = dy[i] * (s + v * s * (V(1.0) - s));
    #endif
    #if KIND == 3
    // Not s (1 - s), which has no digit left where s is nearly 1.
    let e = exp(-abs(v));
    dx[i] = dy[i] * e / ((V(1.0) + e) * (V(1.0) + e));
    #endif
#else
    #if KIND == 0
    y[i] = max(v, V(0.0));
    #endif
    #if KIND == 1
    y[i] = select(params.slope * v, v, v > V(0.0));
    #endif
    #if KIND == 2
    y[i] = v * sigmoid(v);
    #endif
    #if KIND == 3
    y[i] = sigmoid(v);
    #endif
#endif
}
