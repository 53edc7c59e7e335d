// Sums over rows, and their broadcast back.
//
// KIND 0  y[b, c] = scale * sum_r x[b, r, c] (+ y)   bindings: x [B, R, C], y [B, C], params
//         One stage: y has `stride` elements a batch entry, element i of y sums x at i, i + stride, i + 2 * stride, ...;
//         with stride = chunks * C that is every chunks-th row. Stages follow until stride = C.
// KIND 1  the same, B = 1, the last stage of [R, 2, C] into two tensors: bindings: x [R, 2, C], y [C], y2 [C], params
// KIND 2  dx[b, r, c] = scale * dy[b, c]             bindings: dy [B, C], dx [B, R, C], params
// Neighbouring invocations read neighbouring elements whatever C is, and nothing is divided in the loop.
// Dispatch: one invocation an element of y (KIND 2: chunks * C a batch entry), groups of 64, folded.
// Variant: KIND, ACC (y += instead of y =), VEC (1 or 4) with T = f32 or vec4<f32>; counts are of T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    n: u32,      // elements of x a batch entry: R * C / VEC
    stride: u32, // invocations a batch entry
    total: u32,  // invocations in all
    columns: u32, // C / VEC
    scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;
#if KIND == 1
@group(0) @binding(2) var<storage, read_write> y2: array<V>;
#endif
@group(0) @binding(${2 + (KIND == 1)}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let stride = params.stride;
    let batch = i / stride;
    var j = i - batch * stride;
    let base = batch * params.n;
#if KIND == 2
    let v = params.scale * x[batch * params.columns + j % params.columns];
    for (; j < params.n; j += stride) {
        y[base + j] = v;
    }
#else
    var s0 = V(0.0);
    var s1 = V(0.0);
    var s2 = V(0.0);
    var s3 = V(0.0);
    for (; j + 3u * stride < params.n; j += 4u * stride) {
        s0 += x[base + j];
        s1 += x[base + j + stride];
        s2 += x[base + j + 2u * stride];
        s3 += x[base + j + 3u * stride];
    }
    for (; j < params.n; j += stride) {
        s0 += x[base + j];
    }
    let sum = params.scale * ((s0 + s1) + (s2 + s3));
    #if KIND == 1
    if i >= params.columns {
        let k = i - params.columns;
        #if ACC
        y2[k] += sum;
        #else
        y2[k] = sum;
        #endif
        return;
    }
    #endif
    #if ACC
    y[i] += sum;
    #else
    y[i] = sum;
    #endif
#endif
}
