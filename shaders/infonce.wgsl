// Symmetric InfoNCE over a similarity matrix s [B, M], M >= B: rows against all M columns, the first B columns against all rows.
//
// z = k s with k = min(exp(t), 100); targets of row i: q_ij = (1 - smooth) w_ij / sum_j w_ij + smooth / M, of column j:
// (1 - smooth) w_ij / sum_i w_ij + smooth / B, with w the identity or, where WEIGHTS, the given [B, B] (0 beyond column B). A row or
// column whose weights are all 0 is left out. loss = (sum of rows' -q . log softmax z + the same of columns) / 2B.
// KIND 0 rows     stats[0, i] = (max z, 1 / sum exp(z - max), 1 / sum w or 0, loss, 1 where the greatest s is a best positive)
//                 bindings: s, t [1], w if WEIGHTS, stats [2, B, 5], params
// KIND 1 columns  stats[1, j] likewise, last 0; bindings as KIND 0
// KIND 2 total    out = loss [1], accuracy [1]        bindings: stats, loss, accuracy, params
// KIND 3 backward ds [B, M] = dloss d loss / d s, partial [B] = each row's part of d loss / d t (0 where k is clamped)
//                 bindings: s, t, w if WEIGHTS, stats, dloss [1], ds, partial, params
// KIND 4 total    dt [1] = sum of partial             bindings: partial, dt, params
// Dispatch: KIND 0, 3 one group of LANES a row, folded; 1 ceil(B / LANES) groups, folded; 2, 4 one group of LANES.
// Variant: KIND, WEIGHTS, LANES. Workgroup memory: 4 LANES bytes.
#import fold
#import lanes
#import nan

struct Params {
    rows: u32,
    cols: u32,
    smoothing: f32,
}

#if KIND == 0 || KIND == 1 || KIND == 3
@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
#if WEIGHTS
@group(0) @binding(2) var<storage, read> w: array<f32>;
#endif
#if KIND == 3
@group(0) @binding(${2 + WEIGHTS}) var<storage, read> stats: array<f32>;
@group(0) @binding(${3 + WEIGHTS}) var<storage, read> dloss: array<f32>;
@group(0) @binding(${4 + WEIGHTS}) var<storage, read_write> ds: array<f32>;
@group(0) @binding(${5 + WEIGHTS}) var<storage, read_write> partial: array<f32>;
@group(0) @binding(${6 + WEIGHTS}) var<uniform> params: Params;
#else
@group(0) @binding(${2 + WEIGHTS}) var<storage, read_write> stats: array<f32>;
@group(0) @binding(${3 + WEIGHTS}) var<uniform> params: Params;
#endif

// NaN passes through, as the comparison is then false.
fn factor() -> f32 {
    let k = exp_or_nan(t[0]);
    return select(k, 100.0, k > 100.0);
}

fn weight(i: u32, j: u32) -> f32 {
#if WEIGHTS
    if j < params.rows {
        return w[i * params.rows + j];
    }
    return 0.0;
#else
    return select(0.0, 1.0, i == j);
#endif
}
#endif

#if KIND == 0
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups);
    if i >= params.rows {
        return;
    }
    let k = factor();
    var best = -3.4028235e38;
    var best_at = 0u;
    for (var j = lane; j < params.cols; j += ${LANES}u) {
        let v = s[i * params.cols + j];
        if v > best {
            best = v;
            best_at = j;
        }
    }
    let top = lanes_max(lane, best);
    // The lowest column with the greatest value; column numbers below 2^24 are exact.
    let top_at = u32(-lanes_max(lane, select(-16777216.0, -f32(best_at), best == top)));
    let peak = k * top;
    var exps = 0.0;
    var all = 0.0;
    var weights = 0.0;
    var pulled = 0.0;
    var heaviest = 0.0;
    for (var j = lane; j < params.cols; j += ${LANES}u) {
        let z = k * s[i * params.cols + j] - peak;
        let q = weight(i, j);
        exps += exp_or_nan(z);
        all += z;
        weights += q;
        pulled += q * z;
        heaviest = max(heaviest, q);
    }
    exps = lanes_sum(lane, exps);
    all = lanes_sum(lane, all);
    weights = lanes_sum(lane, weights);
    pulled = lanes_sum(lane, pulled);
    heaviest = lanes_max(lane, heaviest);
    if lane == 0u {
        let on = weights > 0.0;
        let norm = select(0.0, 1.0 / select(1.0, weights, on), on);
        let at = i * 5u;
        stats[at] = peak;
        stats[at + 1u] = 1.0 / exps;
        stats[at + 2u] = norm;
        stats[at + 3u] = select(0.0, log_or_nan(exps) - (1.0 - params.smoothing) * pulled * norm - params.smoothing / f32(params.cols) * all, on);
        var hit = false;
        if top_at < params.cols {
            hit = on && weight(i, top_at) >= heaviest;
        }
        stats[at + 4u] = select(0.0, 1.0, hit);
    }
}
#endif

#if KIND == 1
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let j = fold_group(group, groups) * ${LANES}u + lane;
    if j >= params.rows {
        return;
    }
    let k = factor();
    var top = -3.4028235e38;
    for (var i = 0u; i < params.rows; i++) {
        top = max(top, s[i * params.cols + j]);
    }
    let peak = k * top;
    var exps = 0.0;
    var all = 0.0;
    var weights = 0.0;
    var pulled = 0.0;
    for (var i = 0u; i < params.rows; i++) {
        let z = k * s[i * params.cols + j] - peak;
        let q = weight(i, j);
        exps += exp_or_nan(z);
        all += z;
        weights += q;
        pulled += q * z;
    }
    let on = weights > 0.0;
    let norm = select(0.0, 1.0 / select(1.0, weights, on), on);
    let at = (params.rows + j) * 5u;
    stats[at] = peak;
    stats[at + 1u] = 1.0 / exps;
    stats[at + 2u] = norm;
    stats[at + 3u] = select(0.0, log_or_nan(exps) - (1.0 - params.smoothing) * pulled * norm - params.smoothing / f32(params.rows) * all, on);
    stats[at + 4u] = 0.0;
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> stats: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> accuracy: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    var hits = 0.0;
    for (var i = lane; i < 2u * params.rows; i += ${LANES}u) {
        part += stats[i * 5u + 3u];
        hits += stats[i * 5u + 4u];
    }
    part = lanes_sum(lane, part);
    hits = lanes_sum(lane, hits);
    if lane == 0u {
        loss[0] = part / f32(2u * params.rows);
        accuracy[0] = hits / f32(params.rows);
    }
}
#endif

#if KIND == 3
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups);
    if i >= params.rows {
        return;
    }
    let k = factor();
    let share = dloss[0] / f32(2u * params.rows);
    let peak = stats[i * 5u];
    let scale = stats[i * 5u + 1u];
    let norm = stats[i * 5u + 2u];
    var part = 0.0;
    for (var j = lane; j < params.cols; j += ${LANES}u) {
        let z = k * s[i * params.cols + j];
        let q = (1.0 - params.smoothing) * weight(i, j);
        var d = 0.0;
        if norm > 0.0 {
            let r = exp_or_nan(z - peak) * scale - (q * norm + params.smoothing / f32(params.cols));
            d = r;
            // The row's r add up to 0, so any constant may be taken from z: the peak keeps the terms small.
            part += r * (z - peak);
        }
        if j < params.rows {
            let at = (params.rows + j) * 5u;
            if stats[at + 2u] > 0.0 {
                let r = exp_or_nan(z - stats[at]) * stats[at + 1u] - (q * stats[at + 2u] + params.smoothing / f32(params.rows));
                d += r;
                part += r * (z - stats[at]);
            }
        }
        ds[i * params.cols + j] = share * k * d;
    }
    part = lanes_sum(lane, part);
    if lane == 0u {
        partial[i] = select(share * part, 0.0, exp(t[0]) > 100.0);
    }
}
#endif

#if KIND == 4
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> dt: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    for (var i = lane; i < params.rows; i += ${LANES}u) {
        part += partial[i];
    }
    part = lanes_sum(lane, part);
    if lane == 0u {
        dt[0] = part;
    }
}
#endif
