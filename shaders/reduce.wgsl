// Sums over rows, and their broadcast back.
//
// KIND 0  y[b, c] = scale * sum_r x[b, r, c] (+ y)   bindings: x [B, R, C], y [B, C], params
//         One stage sums each chunk of rows into y [B, chunks, C]; stages follow until there is one chunk.
// KIND 1  the same, B = 1, the last stage of [R, 2, C] into two tensors: bindings: x [R, 2, C], y [C], y2 [C], params
// KIND 2  dx[b, r, c] = scale * dy[b, c]             bindings: dy [B, C], dx [B, R, C], params
// Chunks are every chunks-th row or runs of rows, as the device likes it.
// Dispatch: one invocation an element of y (KIND 2: chunks * C a batch entry), groups of 64, folded.
// Variant: KIND, ACC (y += instead of y =), VEC (1 or 4) with T = f32 or vec4<f32>; counts are of T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    n: u32,       // elements of x an image: R * C / VEC
    total: u32,   // invocations
    stride: u32,  // invocations an image
    columns: u32, // C / VEC
    span: u32,    // a chunk's first element is chunk * span + column,
    step: u32,    // the next one `step` on,
    limit: u32,   // all below chunk * span + limit and n
    half: u32,    // KIND 1: C / VEC
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
    let inner = i - batch * stride;
    let chunk = inner / params.columns;
    let c = inner - chunk * params.columns;
    let base = batch * params.n;
    let step = params.step;
    var j = chunk * params.span + c;
    let end = min(chunk * params.span + params.limit, params.n);
#if KIND == 2
    let v = params.scale * x[batch * params.columns + c];
    for (; j < end; j += step) {
        y[base + j] = v;
    }
#else
    var s0 = V(0.0);
    var s1 = V(0.0);
    var s2 = V(0.0);
    var s3 = V(0.0);
    for (; j + 3u * step < end; j += 4u * step) {
        s0 += x[base + j];
        s1 += x[base + j + step];
        s2 += x[base + j + 2u * step];
        s3 += x[base + j + 3u * step];
    }
    for (; j < end; j += step) {
        s0 += x[base + j];
    }
    let sum = params.scale * ((s0 + s1) + (s2 + s3));
    #if KIND == 1
    if i >= params.half {
        let k = i - params.half;
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
