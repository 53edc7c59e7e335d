// Images less their mean over H and W: y[n, r, c] = x[n, r, c] - mean[n, c]. The means come from the reduce family.
// MASK: over the valid pixels alone: y = (x - sum[n, c] / count[n]) v[n, r], where x is 0 wherever v is.
//
// bindings: x [N, R, C], mean [N, C] (MASK: sum), y [N, R, C], params; MASK: x, sum, planes [N, R, 2] whose second channel is v (0 or 1),
// totals [N, 2] of the planes, y, params
// Dispatch: N * chunks * C / VEC invocations in groups of 64, folded; each takes the rows of a chunk of one channel group.
// Variant: MASK; VEC (1 or 4) with T; counts are of T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    n: u32,       // elements an image: R * C / VEC
    total: u32,   // invocations
    stride: u32,  // invocations an image
    columns: u32, // C / VEC
    span: u32,    // a chunk's first element is chunk * span + column,
    step: u32,    // the next one `step` on,
    limit: u32,   // all below chunk * span + limit and n
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> mean: array<V>;
#if MASK
@group(0) @binding(2) var<storage, read> planes: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> totals: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<V>;
@group(0) @binding(5) var<uniform> params: Params;
#else
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let image = i / params.stride;
    let inner = i - image * params.stride;
    let chunk = inner / params.columns;
    let c = inner - chunk * params.columns;
    let end = min(chunk * params.span + params.limit, params.n);
    let base = image * params.n;
#if MASK
    let m = mean[image * params.columns + c] / max(totals[image].y, 1.0);
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        y[base + j] = (x[base + j] - m) * planes[(base + j) / params.columns].y;
    }
#else
    let m = mean[image * params.columns + c];
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        y[base + j] = x[base + j] - m;
    }
#endif
}
