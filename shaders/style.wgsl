// Statistics of each image's channels, and images in another's style (Zhou, Yang, Qiao, Xiang, "Domain generalization with MixStyle", 2021).
//
// KIND 0  partial[n, p, c] = sum over the rows r of chunk p of (x[n, r, c] - mean[n, c])^2
//                                                 bindings: x [N, R, C], mean [N, C], partial [N, P, C], params
// KIND 1  stats[n, 0, c] = mean[n, c], stats[n, 1, c] = sqrt(var[n, c] + eps)
//                                                 bindings: mean [N, C], var [N, C], stats [N, 2, C], params
// KIND 2  y = s (x - mu) / sigma + m, with s = t sigma + (1 - t) sigma', m = t mu + (1 - t) mu'; y = x, to the bit, where t = 1
//                                                 bindings: x [N, R, C], own [N, 2, C], other [N, 2, C], t [N], y [N, R, C], params
// KIND 3  dx = dy s / sigma: the statistics are constants     bindings: dy [N, R, C], own, other, t, dx [N, R, C], params
// (mu, sigma) are an image's `own` statistics, (mu', sigma') the `other`'s, t its share of its own. The means come from the reduce family.
// Dispatch: N * chunks * C / VEC invocations in groups of 64, folded; each takes the rows of a chunk of one channel group
// (KIND 1: N * C / VEC invocations). Variant: KIND; VEC (1 or 4) with T; counts are of T. Workgroup memory: none.
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
    eps: f32,
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> mean: array<V>;
@group(0) @binding(2) var<storage, read_write> partials: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 1
@group(0) @binding(0) var<storage, read> mean: array<V>;
@group(0) @binding(1) var<storage, read> variance: array<V>;
@group(0) @binding(2) var<storage, read_write> stats: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND >= 2
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> own: array<V>;
@group(0) @binding(2) var<storage, read> other: array<V>;
@group(0) @binding(3) var<storage, read> share: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<V>;
@group(0) @binding(5) var<uniform> params: Params;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let columns = params.columns;
    let image = i / params.stride;
    let inner = i - image * params.stride;
#if KIND == 1
    stats[2u * image * columns + inner] = mean[i];
    stats[(2u * image + 1u) * columns + inner] = sqrt(variance[i] + V(params.eps));
#else
    let chunk = inner / columns;
    let c = inner - chunk * columns;
    let end = min(chunk * params.span + params.limit, params.n);
    let base = image * params.n;
    #if KIND == 0
    let mu = mean[image * columns + c];
    var sum = V(0.0);
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        let d = x[base + j] - mu;
        sum += d * d;
    }
    partials[i] = sum;
    #else
    let t = share[image];
    if t == 1.0 {
        // Whatever the other image holds.
        for (var j = chunk * params.span + c; j < end; j += params.step) {
            y[base + j] = x[base + j];
        }
        return;
    }
    let at = 2u * image * columns + c;
    let scale = t + (1.0 - t) * (other[at + columns] / own[at + columns]);
        #if KIND == 2
    let mu = own[at];
    let m = t * mu + (1.0 - t) * other[at];
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        y[base + j] = scale * (x[base + j] - mu) + m;
    }
        #else
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        y[base + j] = scale * x[base + j];
    }
        #endif
    #endif
#endif
}
