// Binary cross-entropy of logits that all have the same target, and the gradient.
//
// With t = z for the target false and -z for true:
// forward   loss = mean softplus(t), accuracy = share of t < 0      bindings: z [n], loss [1], accuracy [1], params
// backward  dz = dloss / n sign sigmoid(t)                          bindings: z [n], dloss [1], dz [n], params
// softplus(t) = max(t, 0) + log(1 + exp(-|t|)): no exponential overflows.
// Dispatch: forward one group of LANES; backward groups of 64, folded. Variant: BACKWARD, LANES.
// Workgroup memory: forward 4 LANES bytes.
#if BACKWARD
#import fold
#else
#import lanes
#endif
#import nan

struct Params {
    n: u32,
    sign: f32,  // dt / dz
    share: f32, // 1 / n
}

@group(0) @binding(0) var<storage, read> z: array<f32>;
#if BACKWARD
@group(0) @binding(1) var<storage, read> dloss: array<f32>;
@group(0) @binding(2) var<storage, read_write> dz: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.n {
        return;
    }
    let t = params.sign * z[i];
    let small = exp_or_nan(-abs(t));
    dz[i] = dloss[0] * params.share * params.sign * (select(small, 1.0, t >= 0.0) / (1.0 + small));
}
#else
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> accuracy: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    var right = 0u;
    for (var i = lane; i < params.n; i += ${LANES}u) {
        let t = params.sign * z[i];
        part += select(max(t, 0.0) + log(1.0 + exp(-abs(t))), t, is_nan(t));
        right += select(0u, 1u, t < 0.0);
    }
    part = lanes_sum(lane, part);
    // Whole numbers: exact as long as their sum is below 2^24.
    let count = lanes_sum(lane, f32(right));
    if lane == 0u {
        loss[0] = params.share * part;
        accuracy[0] = count / f32(params.n);
    }
}
#endif
