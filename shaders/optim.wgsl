// Optimiser steps and the global gradient norm. g below is grad * step.scale, times the clip factor where CLIP.
//
// KIND 0 AdamW  m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr ((m / c1) / (sqrt(v / c2) + eps) + decay w)
//               bindings: grad [n], step [8], clip [4] if CLIP, w [n], m [n], v [n], params
// KIND 1 SGD    g += decay w; m = momentum m + g; w -= lr (NESTEROV ? g + momentum m : m)
//               bindings: grad [n], step [8], clip [4] if CLIP, w [n], m [n], params
// KIND 2 sums   partials[offset + group] = sum of grad^2 over the group's CHUNK elements
//               bindings: grad [n], partials [count], params
// KIND 3 norm   norm = |step.scale| sqrt(sum of partials); clip = (factor, skip, norm, 0): factor = min(1, max_norm / norm),
//               or factor 0 and skip 1 where the norm is infinite or NaN
//               bindings: partials [count], step [8], clip [4], scale [1] if SCALED, params
//               SCALED: the gradients are those of scale times the loss; norm and factor are over scale. A skipped step halves scale (not below
//               1), `offset` steps in a row that were not skipped (clip's last value counts them) double it (up to 2^24).
// KIND 4 mean   mean += share (w - mean), or w where share is 1
//               bindings: w [n], step [8], mean [n], params
// step: lr, c1 = 1 - b1^t, c2 = 1 - b2^t, scale, share, 3 unused. With clip's skip set, w, m and v stay as they are.
// Dispatch: KIND 0, 1, 4 ceil(n / WIDTH / 64) groups of 64, folded; KIND 2 ceil(n / CHUNK) groups of LANES, folded; KIND 3 one
// group of LANES. Variant: KIND, and CLIP, NESTEROV, WIDTH (4: n is a multiple of 4) or LANES. Workgroup memory: 4 LANES bytes.
#import fold

struct Params {
    // Elements of WIDTH (KIND 0, 1, 4), elements (2), partial sums (3).
    n: u32,
    offset: u32,
    // b1 or the momentum; max_norm in KIND 3.
    a: f32,
    // b2.
    b: f32,
    eps: f32,
    decay: f32,
}

#if KIND < 2 || KIND == 4
#if WIDTH == 4
alias V = vec4<f32>;
#else
alias V = f32;
#endif
#endif

#if KIND == 4
@group(0) @binding(0) var<storage, read> w: array<V>;
@group(0) @binding(1) var<storage, read> step: array<f32>;
@group(0) @binding(2) var<storage, read_write> mean: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.n {
        return;
    }
    let share = step[4];
    let now = w[i];
    let old = mean[i];
    // What never changes stays as it is to the last bit.
    mean[i] = select(old + share * (now - old), now, share >= 1.0);
}
#endif

#if KIND < 2
@group(0) @binding(0) var<storage, read> grad: array<V>;
@group(0) @binding(1) var<storage, read> step: array<f32>;
#if CLIP
@group(0) @binding(2) var<storage, read> clip: array<f32>;
#endif
@group(0) @binding(${2 + CLIP}) var<storage, read_write> w: array<V>;
@group(0) @binding(${3 + CLIP}) var<storage, read_write> m: array<V>;
#if KIND == 0
@group(0) @binding(${4 + CLIP}) var<storage, read_write> v: array<V>;
#endif
@group(0) @binding(${5 - KIND + CLIP}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.n {
        return;
    }
    var scale = step[3];
#if CLIP
    if clip[1] != 0.0 {
        return;
    }
    scale *= clip[0];
#endif
    let lr = step[0];
    let old = w[i];
#if KIND == 0
    let g = grad[i] * scale;
    let first = params.a * m[i] + (1.0 - params.a) * g;
    let second = params.b * v[i] + (1.0 - params.b) * (g * g);
    m[i] = first;
    v[i] = second;
    w[i] = old - lr * ((first / step[1]) / (sqrt(second / step[2]) + params.eps) + params.decay * old);
#else
    let g = grad[i] * scale + params.decay * old;
    let first = params.a * m[i] + g;
    m[i] = first;
    #if NESTEROV
    w[i] = old - lr * (g + params.a * first);
    #else
    w[i] = old - lr * first;
    #endif
#endif
}
#endif

#if KIND == 2 || KIND == 3
#import lanes
#if KIND == 2
@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let chunk = fold_group(group, groups);
    if chunk * ${CHUNK}u >= params.n {
        return;
    }
    let end = min(params.n, (chunk + 1u) * ${CHUNK}u);
    var part = 0.0;
    for (var i = chunk * ${CHUNK}u + lane; i < end; i += ${LANES}u) {
        part += grad[i] * grad[i];
    }
    let sum = lanes_sum(lane, part);
    if lane == 0u {
        partials[params.offset + chunk] = sum;
    }
}
#else
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> step: array<f32>;
@group(0) @binding(2) var<storage, read_write> clip: array<f32>;
#if SCALED
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
#endif
@group(0) @binding(${3 + SCALED}) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    for (var i = lane; i < params.n; i += ${LANES}u) {
        part += partials[i];
    }
    let total = lanes_sum(lane, part);
#if SCALED
    let inverse = 1.0 / scale[0];
#else
    let inverse = 1.0;
#endif
    let norm = sqrt(total) * abs(step[3]) * inverse;
    if lane == 0u {
        // By the bits of sums and loaded values: to some compilers (Metal's fast mode) what a root or a product gives is always finite.
        let finite = (bitcast<u32>(total) & 0x7f800000u) != 0x7f800000u && (bitcast<u32>(step[3]) & 0x7f800000u) != 0x7f800000u
            && (bitcast<u32>(norm) & 0x7f800000u) != 0x7f800000u;
        clip[0] = select(0.0, min(1.0, params.a / max(norm, 1e-30)) * inverse, finite);
        clip[1] = select(1.0, 0.0, finite);
        clip[2] = norm;
#if SCALED
        let good = select(0.0, clip[3] + 1.0, finite);
        let grown = good >= f32(params.offset);
        clip[3] = select(good, 0.0, grown);
        if !finite {
            scale[0] = max(0.5 * scale[0], 1.0);
        } else if grown {
            scale[0] = min(2.0 * scale[0], 16777216.0);
        }
#else
        clip[3] = 0.0;
#endif
    }
}
#endif
#endif
