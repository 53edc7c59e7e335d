// What a critic's gradient penalty needs: rows on the way from one cloud to another, and the penalty on the gradients' lengths.
//
// KIND 0  x_i = e_i a_i + (1 - e_i) b_i      bindings: a [B, D], b [B, D], e [B], x [B, D], params
// KIND 1  dx_i = e_i dy_i, OF_B: (1 - e_i) dy_i   bindings: dy [B, D], e [B], dx [B, D], params
// KIND 2  de_i = <dy_i, a_i - b_i>           bindings: a [B, D], b [B, D], dy [B, D], de [B], params
// KIND 3  length_i = |g_i|                   bindings: g [B, D], length [B], params
// KIND 4  loss = mean over i of p(length_i)^2     bindings: length [B], loss [1], params
// KIND 5  dg_i = dloss 2 / B p(length_i) g_i / length_i, 0 where length_i = 0
//                                            bindings: g [B, D], length [B], dloss [1], dg [B, D], params
// p(l) = l - 1, ONE_SIDED: max(l - 1, 0); a NaN stays one.
// Dispatch: one group of LANES a row, folded; KIND 4 one group of LANES. Variant: KIND, OF_B, ONE_SIDED, LANES, VEC (1 or 4; 1 in KIND 4)
// with T; columns count T. Workgroup memory: KIND 2 to 4: 4 LANES bytes.
#import fold
#if KIND == 2 || KIND == 3 || KIND == 4
#import lanes
#endif

alias V = ${T};

struct Params {
    rows: u32,
    columns: u32, // D / VEC
    share: f32,   // 1 / B
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> a: array<V>;
@group(0) @binding(1) var<storage, read> b: array<V>;
@group(0) @binding(2) var<storage, read> e: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<V>;
@group(0) @binding(4) var<uniform> params: Params;
#endif
#if KIND == 1
@group(0) @binding(0) var<storage, read> dy: array<V>;
@group(0) @binding(1) var<storage, read> e: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 2
@group(0) @binding(0) var<storage, read> a: array<V>;
@group(0) @binding(1) var<storage, read> b: array<V>;
@group(0) @binding(2) var<storage, read> dy: array<V>;
@group(0) @binding(3) var<storage, read_write> de: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
#endif
#if KIND == 3
@group(0) @binding(0) var<storage, read> g: array<V>;
@group(0) @binding(1) var<storage, read_write> length: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
#endif
#if KIND == 4
@group(0) @binding(0) var<storage, read> length: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
#endif
#if KIND == 5
@group(0) @binding(0) var<storage, read> g: array<V>;
@group(0) @binding(1) var<storage, read> length: array<f32>;
@group(0) @binding(2) var<storage, read> dloss: array<f32>;
@group(0) @binding(3) var<storage, read_write> dg: array<V>;
@group(0) @binding(4) var<uniform> params: Params;
#endif

#if KIND == 2 || KIND == 3
fn total(v: V) -> f32 {
    #if VEC == 4
    return (v.x + v.y) + (v.z + v.w);
    #else
    return v;
    #endif
}
#endif

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
#if KIND == 4
    var part = 0.0;
    for (var i = lane; i < params.rows; i += ${LANES}u) {
        var p = length[i] - 1.0;
    #if ONE_SIDED
        // Not `max`: that may turn a NaN into a number.
        p = select(p, 0.0, p < 0.0);
    #endif
        part += p * p;
    }
    part = lanes_sum(lane, part);
    if lane == 0u {
        loss[0] = params.share * part;
    }
#else
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    let base = row * params.columns;
    #if KIND == 0
    let t = e[row];
    #endif
    #if KIND == 1
        #if OF_B
    let t = 1.0 - e[row];
        #else
    let t = e[row];
        #endif
    #endif
    #if KIND == 5
    // A row without length has no direction: 1 - 1 / 1. An infinite one, of finite elements, is pulled straight down.
    let l = length[row];
    var pull = 1.0 - 1.0 / select(l, 1.0, l == 0.0);
        #if ONE_SIDED
    pull = select(pull, 0.0, l <= 1.0);
        #endif
    let t = dloss[0] * 2.0 * params.share * pull;
    #endif
    #if KIND == 2 || KIND == 3
    var sum = V(0.0);
    #endif
    for (var c = lane; c < params.columns; c += ${LANES}u) {
    #if KIND == 0
        x[base + c] = t * a[base + c] + (1.0 - t) * b[base + c];
    #endif
    #if KIND == 1
        dx[base + c] = t * dy[base + c];
    #endif
    #if KIND == 2
        sum += dy[base + c] * (a[base + c] - b[base + c]);
    #endif
    #if KIND == 3
        let v = g[base + c];
        sum += v * v;
    #endif
    #if KIND == 5
        dg[base + c] = t * g[base + c];
    #endif
    }
    #if KIND == 2
    let all = lanes_sum(lane, total(sum));
    if lane == 0u {
        de[row] = all;
    }
    #endif
    #if KIND == 3
    let all = lanes_sum(lane, total(sum));
    if lane == 0u {
        length[row] = sqrt(all);
    }
    #endif
#endif
}
