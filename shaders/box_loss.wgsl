// How far boxes are from their targets, rows of four numbers, and the gradient in the boxes.
//
// loss = sum over the rows of weight f(box, target) / n, or / max(divisor, 1) if DIVISOR; a weight of 0 masks, whatever else is there.
// f, by DISTANCE, with d = box - target:
// 0 smooth L1   sum over the four of d^2 / (2 beta) where |d| < beta, else |d| - beta / 2
// 1 squares     sum over the four of d^2
// 2 GIoU        1 - I / U + (C - U) / C for x0 y0 x1 y1: I what both boxes cover, U what either does, C the least box around both, no divisor
//               below TINY. Corners of a box may stand in either order.
// KIND 0 parts    of each chunk of rows the sum over the divisor    bindings: x [n], t [n], w [n] if WEIGHTED, divisor [1] if DIVISOR,
//                 parts [chunks], params
// KIND 1 backward dx = dloss times the gradient        bindings: x, t, w if WEIGHTED, divisor if DIVISOR, dloss [1], dx [n], params
// x, t and dx are rows of vec4. Dispatch: `total` invocations that walk over the rows as the device likes it, in groups of 64, folded.
// Variant: KIND, DISTANCE, WEIGHTED, DIVISOR. Workgroup memory: none.
#import fold
#import nan
#import share

struct Params {
    n: u32,
    total: u32,
    stride: u32,
    columns: u32,
    span: u32,
    step: u32,
    limit: u32,
    beta: f32,
    share: f32, // 1 / n, without DIVISOR
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> targets: array<vec4<f32>>;
#if WEIGHTED
@group(0) @binding(2) var<storage, read> weights: array<f32>;
#endif
#if DIVISOR
@group(0) @binding(${2 + WEIGHTED}) var<storage, read> divisor: array<f32>;
#endif
#if KIND == 0
@group(0) @binding(${2 + WEIGHTED + DIVISOR}) var<storage, read_write> parts: array<f32>;
@group(0) @binding(${3 + WEIGHTED + DIVISOR}) var<uniform> params: Params;
#else
@group(0) @binding(${2 + WEIGHTED + DIVISOR}) var<storage, read> dloss: array<f32>;
@group(0) @binding(${3 + WEIGHTED + DIVISOR}) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(${4 + WEIGHTED + DIVISOR}) var<uniform> params: Params;
#endif

fn share() -> f32 {
#if DIVISOR
    return share_of(divisor[0]);
#else
    return params.share;
#endif
}

#if DISTANCE == 2
// Least area that is divided by.
const TINY = 1e-7;

fn giou(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let low = min(a.xy, a.zw);
    let high = max(a.xy, a.zw);
    let low_b = min(b.xy, b.zw);
    let high_b = max(b.xy, b.zw);
    let size = high - low;
    let size_b = high_b - low_b;
    let overlap = min(high, high_b) - max(low, low_b);
    let both = max(overlap, vec2(0.0));
    let around = max(high, high_b) - min(low, low_b);
    let i = both.x * both.y;
    let u = size.x * size.y + size_b.x * size_b.y - i;
    let c = around.x * around.y;
    let over_u = 1.0 / max(u, TINY);
    let over_c = 1.0 / max(c, TINY);
#if KIND == 0
    return vec4(1.0 - i * over_u + (c - u) * over_c, 0.0, 0.0, 0.0);
#else
    // Of each side of the box what its step adds to I, U and C. A side that meets the target's has no say: boxes that are equal get 0.
    let none = vec2(0.0);
    let touch = overlap >= none;
    let i_high = select(none, both.yx, (high < high_b) & touch);
    let i_low = -select(none, both.yx, (low > low_b) & touch);
    let u_high = size.yx - i_high;
    let u_low = -size.yx - i_low;
    let c_high = select(none, around.yx, high > high_b);
    let c_low = -select(none, around.yx, low < low_b);
    let by_u = select(0.0, i * over_u * over_u, u > TINY);
    let by_c = select(0.0, (c - u) * over_c * over_c, c > TINY);
    let d_high = by_u * u_high - over_u * i_high + over_c * (c_high - u_high) - by_c * c_high;
    let d_low = by_u * u_low - over_u * i_low + over_c * (c_low - u_low) - by_c * c_low;
    let turned = a.xy > a.zw;
    return vec4(select(d_low, d_high, turned), select(d_high, d_low, turned));
#endif
}
#endif

// KIND 0: parts of the distance, to be added up; KIND 1: its gradient.
fn distance_of(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
#if DISTANCE == 2
    let v = giou(a, b);
    // Where a minimum or maximum took the number beside a NaN.
    let lost = a + b;
    return select(v, vec4(lost.x + lost.y + lost.z + lost.w), any(are_nan(lost)));
#else
    let d = a - b;
#if DISTANCE == 1
    #if KIND == 0
    return d * d;
    #else
    return 2.0 * d;
    #endif
#else
    let near = abs(d) < vec4(params.beta);
    #if KIND == 0
    return select(abs(d) - 0.5 * params.beta, 0.5 * d * d / params.beta, near);
    #else
    return select(select(sign(d), d / params.beta, near), d, are_nan(d));
    #endif
#endif
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let chunk = i / params.columns;
    let start = chunk * params.span;
    let end = min(start + params.limit, params.n);
#if KIND == 0
    var sum = 0.0;
#else
    let scale = dloss[0] * share();
#endif
    for (var j = start + i - chunk * params.columns; j < end; j += params.step) {
        let f = distance_of(x[j], targets[j]);
#if WEIGHTED
        let w = weights[j];
#else
        let w = 1.0;
#endif
#if KIND == 0
        sum += select(w * (f.x + f.y + f.z + f.w), 0.0, w == 0.0);
#else
        dx[j] = select(scale * w * f, vec4(0.0), w == 0.0);
#endif
    }
#if KIND == 0
    parts[i] = share() * sum;
#endif
}
