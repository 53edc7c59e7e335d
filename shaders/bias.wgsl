// Scale and bias of channels, with an optional ReLU.
//
// forward  y = x * scale[c] + bias[c], RELU: max(.., 0)
//          bindings: x [R, C], bias [C], (SCALE: scale [C]), y [R, C], params
// backward g = dy (RELU: where y > 0, else 0), dx = g * scale[c]; partial sums of g, and of g * x with SCALE
//          bindings: dy [R, C], (SCALE: x [R, C], scale [C]), (RELU: y [R, C]), (DX: dx [R, C]), partial [chunks, 1 + SCALE, C], params
// Dispatch: chunks * C / VEC invocations in groups of 64, folded; each takes the rows of a chunk (every chunks-th,
// or a run) of one channel group. Variant: BACKWARD, SCALE, RELU, DX, VEC (1 or 4) with T; counts are of T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    n: u32,       // R * C / VEC
    total: u32,   // invocations
    stride: u32,  // invocations
    columns: u32, // C / VEC
    span: u32,    // a chunk's first element is chunk * span + column,
    step: u32,    // the next one `step` on,
    limit: u32,   // all below chunk * span + limit and n
}

#if BACKWARD
@group(0) @binding(0) var<storage, read> dy: array<V>;
    #if SCALE
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read> scale: array<V>;
    #endif
    #if RELU
@group(0) @binding(${1 + 2 * SCALE}) var<storage, read> y: array<V>;
    #endif
    #if DX
@group(0) @binding(${1 + 2 * SCALE + RELU}) var<storage, read_write> dx: array<V>;
    #endif
@group(0) @binding(${1 + 2 * SCALE + RELU + DX}) var<storage, read_write> partials: array<V>;
@group(0) @binding(${2 + 2 * SCALE + RELU + DX}) var<uniform> params: Params;
#else
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> bias: array<V>;
    #if SCALE
@group(0) @binding(2) var<storage, read> scale: array<V>;
    #endif
@group(0) @binding(${2 + SCALE}) var<storage, read_write> y: array<V>;
@group(0) @binding(${3 + SCALE}) var<uniform> params: Params;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let chunk = i / params.columns;
    let c = i - chunk * params.columns;
    let end = min(chunk * params.span + params.limit, params.n);
#if SCALE
    let s = scale[c];
#endif
#if BACKWARD
    var sum = V(0.0);
    var sum_x = V(0.0);
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        var g = dy[j];
    #if RELU
        g = select(V(0.0), g, y[j] > V(0.0));
    #endif
        sum += g;
    #if SCALE
        sum_x += g * x[j];
        #if DX
        dx[j] = g * s;
        #endif
    #else
        #if DX
        dx[j] = g;
        #endif
    #endif
    }
    #if SCALE
    partials[2u * chunk * params.columns + c] = sum;
    partials[(2u * chunk + 1u) * params.columns + c] = sum_x;
    #else
    partials[i] = sum;
    #endif
#else
    let b = bias[c];
    for (var j = chunk * params.span + c; j < end; j += params.step) {
    #if SCALE
        let v = x[j] * s + b;
    #else
        let v = x[j] + b;
    #endif
    #if RELU
        y[j] = max(v, V(0.0));
    #else
        y[j] = v;
    #endif
    }
#endif
}
