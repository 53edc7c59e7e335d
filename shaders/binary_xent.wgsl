// Binary cross-entropy of logits z with targets t of 0 to 1, focal where wanted, and the gradient.
//
// With p = sigmoid(z), a = p (1 - t), b = (1 - p) t and q = a + b, the chance of a wrong answer:
// xent = |z| (z below 0: t, else 1 - t) + log(1 + exp(-|z|))       no exponential overflows, nothing cancels
// term = w (negative + (positive - negative) t) q^gamma xent       w = 0 masks, whatever else is there
// KIND 0 parts    of each chunk of elements (sum of the terms, how many are on the right side of 0, how many have w, 0)
//                 bindings: z [n], t [n] if TARGETS, w [n] if WEIGHTED, parts [chunks], params
// KIND 1 total    loss [1] = sum of the terms / n, or / max(divisor, 1) if DIVISOR; accuracy [1] = right / having w, or 0
//                 bindings: parts [chunks], divisor [1] if DIVISOR, loss, accuracy, params (n counts chunks)
// KIND 2 backward dz = dloss dterm / dz / (n or max(divisor, 1))
//                 bindings: z, t if TARGETS, w if WEIGHTED, divisor if DIVISOR, dloss [1], dz [n], params
// Dispatch: KIND 0 and 2 `total` invocations that walk over the elements as the device likes it, in groups of 64, folded; KIND 1 one group
// of LANES. Variant: KIND, TARGETS, WEIGHTED, FOCAL (gamma above 0), DIVISOR, LANES. Workgroup memory: KIND 1 4 LANES bytes, else none.
#if KIND == 1
#import lanes
#else
#import fold
#endif
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
    wanted: f32,   // the target of all, without TARGETS
    positive: f32, // what a target of 1 weighs
    negative: f32, // what a target of 0 weighs
    gamma: f32,
    share: f32,    // 1 / n, without DIVISOR
}

#if KIND == 1
@group(0) @binding(0) var<storage, read> parts: array<vec4<f32>>;
#if DIVISOR
@group(0) @binding(1) var<storage, read> divisor: array<f32>;
#endif
@group(0) @binding(${1 + DIVISOR}) var<storage, read_write> loss: array<f32>;
@group(0) @binding(${2 + DIVISOR}) var<storage, read_write> accuracy: array<f32>;
@group(0) @binding(${3 + DIVISOR}) var<uniform> params: Params;
#else
@group(0) @binding(0) var<storage, read> z: array<f32>;
#if TARGETS
@group(0) @binding(1) var<storage, read> targets: array<f32>;
#endif
#if WEIGHTED
@group(0) @binding(${1 + TARGETS}) var<storage, read> weights: array<f32>;
#endif
#if KIND == 0
@group(0) @binding(${1 + TARGETS + WEIGHTED}) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(${2 + TARGETS + WEIGHTED}) var<uniform> params: Params;
#else
#if DIVISOR
@group(0) @binding(${1 + TARGETS + WEIGHTED}) var<storage, read> divisor: array<f32>;
#endif
@group(0) @binding(${1 + TARGETS + WEIGHTED + DIVISOR}) var<storage, read> dloss: array<f32>;
@group(0) @binding(${2 + TARGETS + WEIGHTED + DIVISOR}) var<storage, read_write> dz: array<f32>;
@group(0) @binding(${3 + TARGETS + WEIGHTED + DIVISOR}) var<uniform> params: Params;
#endif
#endif

#if KIND > 0
fn share() -> f32 {
#if DIVISOR
    return share_of(divisor[0]);
#else
    return params.share;
#endif
}
#endif

#if KIND != 1
// log(1 + v) for v of 0 to 1, relatively exact: 2 artanh(v / (2 + v)), whose argument is at most a third.
fn log_one_plus(v: f32) -> f32 {
    let y = v / (2.0 + v);
    let s = y * y;
    let tail = 0.14285715 + s * (0.11111111 + s * (0.09090909 + s * 0.07692308));
    return 2.0 * y * (1.0 + s * (0.33333334 + s * (0.2 + s * tail)));
}

// `small` is exp(-|z|).
fn cross_entropy(z: f32, t: f32, small: f32) -> f32 {
    let wrong = select(t, 1.0 - t, z >= 0.0);
    // An infinite logit that is right costs nothing.
    return select(abs(z) * wrong, 0.0, wrong == 0.0) + log_one_plus(small);
}

// (a, b, p (1 - p)).
fn chances(z: f32, t: f32, small: f32) -> vec3<f32> {
    let large = 1.0 / (1.0 + small);
    let least = small * large;
    let p = select(least, large, z >= 0.0);
    let r = select(large, least, z >= 0.0);
    return vec3(p * (1.0 - t), r * t, p * r);
}

fn focus(q: f32) -> f32 {
    return select(pow(q, params.gamma), 0.0, q == 0.0);
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
    var right = 0u;
    var counted = 0u;
#else
    let scale = dloss[0] * share();
#endif
    for (var j = start + i - chunk * params.columns; j < end; j += params.step) {
        let v = z[j];
#if TARGETS
        let t = targets[j];
#else
        let t = params.wanted;
#endif
        var w = params.negative + (params.positive - params.negative) * t;
#if WEIGHTED
        let given = weights[j];
        w *= given;
#else
        let given = 1.0;
#endif
        let small = exp_or_nan(-abs(v));
#if FOCAL
        let c = chances(v, t, small);
        let q = c.x + c.y;
        w *= focus(q);
#endif
#if KIND == 0
        let term = w * cross_entropy(v, t, small);
        sum += select(select(term, v, is_nan(v)), 0.0, given == 0.0);
        counted += select(1u, 0u, given == 0.0);
        let above = v > 0.0;
        let below = v < 0.0;
        right += select(0u, 1u, given != 0.0 && select(below, above, t > 0.5));
#else
#if FOCAL
        // dq / dz / q, whose product with the cross-entropy goes to 0 where that goes to infinity.
        let bend = select(c.z * (1.0 - 2.0 * t) / q, 0.0, q == 0.0);
        let d = c.x - c.y + select(params.gamma * cross_entropy(v, t, small) * bend, 0.0, bend == 0.0);
#else
        let c = chances(v, t, small);
        let d = c.x - c.y;
#endif
        dz[j] = select(select(scale * w * d, v, is_nan(v)), 0.0, given == 0.0);
#endif
    }
#if KIND == 0
    parts[i] = vec4(sum, f32(right), f32(counted), 0.0);
#endif
}
#else
@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    var right = 0u;
    var counted = 0u;
    for (var i = lane; i < params.n; i += ${LANES}u) {
        let part = parts[i];
        sum += part.x;
        right += u32(part.y);
        counted += u32(part.z);
    }
    sum = lanes_sum(lane, sum);
    // Whole numbers: exact as long as their sum is below 2^24, rounded beyond.
    let hits = lanes_sum(lane, f32(right));
    let all = lanes_sum(lane, f32(counted));
    if lane == 0u {
        loss[0] = share() * sum;
        accuracy[0] = hits / max(all, 1.0);
    }
}
#endif
