// How far apart two clouds of rows lie, from the products of their rows: ab [N, M], aa [N, N], bb [M, M].
//
// loss = w_aa sum f(aa) + w_bb sum f(bb) + w_ab sum f(ab)
// MMD     f(g) = mean over five s of exp(-d / (2 s^2)), d = max(2 - 2 g, 0): rows of unit length; c_k = -1 / (2 s^2)
// else    f(g) = g^2: covariances (CORAL)
// KIND 0  a row's weighted sum: parts [2 N + M], of ab, then aa, then bb   bindings: ab, aa, bb, parts, params
//         Their sum is the loss: `reduce` does it.
// KIND 1  dg = dloss weight f'(g), 0 where d is held at 0                   bindings: g [n], dloss [1], dg [n], params
// Dispatch: KIND 0 one group of LANES a row, folded; KIND 1 groups of 64, folded. Variant: KIND, MMD, LANES, VEC (1 or 4) with T; counts are
// of T but for KIND 0's rows. Workgroup memory: KIND 0: 4 LANES bytes.
#import fold
#if KIND == 0
#import lanes
#endif

alias V = ${T};

struct Params {
#if KIND == 0
    n: u32,      // rows of a
    m: u32,      // rows of b
    ab: f32,     // weights
    aa: f32,
    bb: f32,
#else
    count: u32,  // elements / VEC
    weight: f32,
#endif
    c0: f32,
    c1: f32,
    c2: f32,
    c3: f32,
    c4: f32,
}

#if MMD
// `exp` of a NaN is what a device likes; the bits of a NaN are left alone.
fn keep_nan(value: V, source: V) -> V {
    return select(value, source, (bitcast<${U}>(source) & ${U}(0x7fffffffu)) > ${U}(0x7f800000u));
}
#endif

#if KIND == 0
@group(0) @binding(0) var<storage, read> ab: array<V>;
@group(0) @binding(1) var<storage, read> aa: array<V>;
@group(0) @binding(2) var<storage, read> bb: array<V>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn value(g: V) -> V {
    #if MMD
    // Not `max`: that may turn a NaN into a number.
    let d = select(2.0 - 2.0 * g, V(0.0), g >= V(1.0));
    let all = 0.2 * (exp(params.c0 * d) + exp(params.c1 * d) + exp(params.c2 * d) + exp(params.c3 * d) + exp(params.c4 * d));
    return keep_nan(all, g);
    #else
    return g * g;
    #endif
}

fn total(v: V) -> f32 {
    #if VEC == 4
    return (v.x + v.y) + (v.z + v.w);
    #else
    return v;
    #endif
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= 2u * params.n + params.m {
        return;
    }
    let n = params.n / ${VEC}u;
    let m = params.m / ${VEC}u;
    var sum = V(0.0);
    var weight = params.ab;
    if row < params.n {
        for (var c = lane; c < m; c += ${LANES}u) {
            sum += value(ab[row * m + c]);
        }
    } else if row < 2u * params.n {
        weight = params.aa;
        for (var c = lane; c < n; c += ${LANES}u) {
            sum += value(aa[(row - params.n) * n + c]);
        }
    } else {
        weight = params.bb;
        for (var c = lane; c < m; c += ${LANES}u) {
            sum += value(bb[(row - 2u * params.n) * m + c]);
        }
    }
    let all = lanes_sum(lane, total(sum));
    if lane == 0u {
        parts[row] = weight * all;
    }
}
#else
@group(0) @binding(0) var<storage, read> g: array<V>;
@group(0) @binding(1) var<storage, read> dloss: array<f32>;
@group(0) @binding(2) var<storage, read_write> dg: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.count {
        return;
    }
    let v = g[i];
    #if MMD
    let held = v >= V(1.0);
    let d = select(2.0 - 2.0 * v, V(0.0), held);
    var slope = params.c0 * exp(params.c0 * d);
        #for k in 1..5
    slope += params.c${k} * exp(params.c${k} * d);
        #endfor
    slope = keep_nan(select(-0.4 * slope, V(0.0), held), v);
    #else
    let slope = 2.0 * v;
    #endif
    dg[i] = (dloss[0] * params.weight) * slope;
}
#endif
