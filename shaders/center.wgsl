// Images less their mean over H and W: y[n, r, c] = x[n, r, c] - mean[n, c]. The means come from the reduce family.
//
// bindings: x [N, R, C], mean [N, C], y [N, R, C], params
// Dispatch: N * chunks * C / VEC invocations in groups of 64, folded; each takes the rows of a chunk of one channel group.
// Variant: VEC (1 or 4) with T; counts are of T. Workgroup memory: none.
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
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

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
    let m = mean[image * params.columns + c];
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        y[base + j] = x[base + j] - m;
    }
}
