// Softmax over the edges into each target, a head at a time: w[e, h] = exp(s[e, h] - m[i, h]) / sum over the edges g into i = targets[e] of
// exp(s[g, h] - m[i, h]), m the greatest score. Gradient: ds[e, h] = w[e, h] (dw[e, h] - sum over g of w[g, h] dw[g, h]).
// A score of -infinity gives 0, a target with no other score gives 0 for all; slots without an edge get 0.
//
// KIND 0 what a segment's edges share, stats [N, H]: forward (m, 1 / sum), or (m, 0) where the sum is 0; BACKWARD the sum of w dw
//   HUB and PARTS as in `message`: a segment of more edges than a slice is summed in slices first, y [slices, 2, H]; forward (m, sum) of each.
//   bindings: s [E, H] (BACKWARD: w, dw [E, H]), offsets [N + 1], owner [E] if HUB, partial [slices, 2, H] if PARTS, stats, params
// KIND 1 each edge's value from it   bindings: s [E, H] (BACKWARD: w, dw), targets [E], stats [N, H], y [E, H], params
// Dispatch: KIND 0 one invocation a segment (HUB: slice) and head, KIND 1 an edge and head; groups of 64, folded. Workgroup memory: none.
#import fold

struct Params {
    total: u32, // invocations
    heads: u32, // H
    n: u32,     // N
    slots: u32, // E
    slice: u32, // edges a slice
}

#if BACKWARD
alias S = f32;
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> dw: array<f32>;
#else
alias S = vec2<f32>;
@group(0) @binding(0) var<storage, read> s: array<f32>;
#endif

#if KIND == 0
@group(0) @binding(${1 + BACKWARD}) var<storage, read> offsets: array<u32>;
#if HUB
@group(0) @binding(${2 + BACKWARD}) var<storage, read> owner: array<u32>;
#endif
#if PARTS
@group(0) @binding(${2 + BACKWARD}) var<storage, read> partial: array<S>;
#endif
@group(0) @binding(${2 + BACKWARD + HUB + PARTS}) var<storage, read_write> stats: array<S>;
@group(0) @binding(${3 + BACKWARD + HUB + PARTS}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let heads = params.heads;
    let slots = params.slots;
    let unit = i / heads;
    let h = i - unit * heads;
#if HUB
    let first = unit * params.slice;
    let all = min(offsets[params.n], slots);
    if first >= all {
        return;
    }
    let last = min(first + params.slice, all);
#endif
    for (var side = 0u; side < ${1 + HUB}u; side++) {
#if HUB
        let node = min(owner[select(first, last - 1u, side == 1u)], params.n - 1u);
#else
        let node = unit;
#endif
        let low = min(offsets[node], slots);
        let high = min(offsets[node + 1u], slots);
#if HUB
        if high <= low + params.slice || (side == 1u && low <= first) {
            continue;
        }
        let begin = max(low, first);
        let end = min(high, last);
        let out = (2u * unit + side) * heads + h;
#else
        var begin = low;
        let end = high;
        let out = i;
#endif
        // The least of all numbers, not -infinity: what is compared with it stays a number.
        var most = -3.40282346e38;
        var sum = 0.0;
#if PARTS
        if high > low + params.slice {
    #if BACKWARD
            for (var p = low / params.slice; p * params.slice < high; p++) {
                sum += partial[(2u * p + select(1u, 0u, p * params.slice >= low)) * heads + h];
            }
    #else
            for (var p = low / params.slice; p * params.slice < high; p++) {
                most = max(most, partial[(2u * p + select(1u, 0u, p * params.slice >= low)) * heads + h].x);
            }
            for (var p = low / params.slice; p * params.slice < high; p++) {
                let part = partial[(2u * p + select(1u, 0u, p * params.slice >= low)) * heads + h];
                sum += part.y * exp(part.x - most);
            }
    #endif
            begin = end;
        }
#endif
#if BACKWARD
        for (var e = begin; e < end; e++) {
            sum += w[e * heads + h] * dw[e * heads + h];
        }
        stats[out] = sum;
#else
        for (var e = begin; e < end; e++) {
            most = max(most, s[e * heads + h]);
        }
        for (var e = begin; e < end; e++) {
            sum += exp(s[e * heads + h] - most);
        }
    #if HUB
        stats[out] = vec2(most, sum);
    #else
        stats[out] = vec2(most, select(1.0 / sum, 0.0, sum == 0.0));
    #endif
#endif
    }
}
#endif

#if KIND == 1
@group(0) @binding(${1 + BACKWARD}) var<storage, read> targets: array<u32>;
@group(0) @binding(${2 + BACKWARD}) var<storage, read> stats: array<S>;
@group(0) @binding(${3 + BACKWARD}) var<storage, read_write> y: array<f32>;
@group(0) @binding(${4 + BACKWARD}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let e = i / params.heads;
    let node = targets[e];
    let stat = stats[min(node, params.n - 1u) * params.heads + i - e * params.heads];
#if BACKWARD
    let v = w[i] * (dw[i] - stat);
#else
    let v = exp(s[i] - stat.x) * stat.y;
#endif
    y[i] = select(0.0, v, node < params.n);
}
#endif
