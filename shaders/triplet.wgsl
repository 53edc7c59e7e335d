// Batch-hard triplet loss in both directions over similarities s [B, M] of unit rows, M >= B; the positive of row i is column i.
//
// d = sqrt(max(2 - 2 s, eps)); row i: hardest negative n = argmax_{j != i} s_ij over M columns (the lowest of equals), term
// f(d_ii - d_in + margin); column j < B: the same over its B rows. f(u) = max(u, 0), or SOFT log(1 + exp(u)). A row or column without
// a negative adds 0. loss = (sum of terms) / 2B.
// KIND 0 rows     records[0, i] = (n or 0xffffffff, term, d term / d s_ii, d term / d s_in), floats as bits   bindings: s, records, params
// KIND 1 columns  records[1, j] likewise                                                                     bindings: s, records, params
// KIND 2 total    loss [1]                                            bindings: records, loss, params
// KIND 3 backward ds [B, M], gathered: no two writers meet            bindings: records, dloss [1], ds, params
// Dispatch: KIND 0 one group of LANES a row, folded; 1 ceil(B / LANES) groups, folded; 2 one group of LANES; 3 ceil(B M / 64) groups
// of 64, folded. Variant: KIND, SOFT, LANES. Workgroup memory: 4 LANES bytes.
#import fold
#import lanes

struct Params {
    rows: u32,
    cols: u32,
    margin: f32,
    eps: f32,
}

#if KIND < 2
@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read_write> records: array<vec4<u32>>;
@group(0) @binding(2) var<uniform> params: Params;

fn distance_of(v: f32) -> f32 {
    // NaN passes through, as the comparison is then false.
    let square = 2.0 - 2.0 * v;
    return sqrt(select(square, params.eps, square < params.eps));
}

// d distance / d s.
fn slope(v: f32, d: f32) -> f32 {
    return select(0.0, -1.0 / d, 2.0 - 2.0 * v > params.eps);
}

fn record(positive: f32, negative: f32, at: u32) -> vec4<u32> {
    if at == 0xffffffffu {
        return vec4(at, 0u, 0u, 0u);
    }
    let dp = distance_of(positive);
    let dn = distance_of(negative);
    let u = dp - dn + params.margin;
#if SOFT
    let e = exp(-abs(u));
    let term = max(u, 0.0) + log(1.0 + e);
    let pull = select(e, 1.0, u >= 0.0) / (1.0 + e);
#else
    let term = max(u, 0.0);
    let pull = select(0.0, 1.0, u > 0.0);
#endif
    return vec4(at, bitcast<u32>(term), bitcast<u32>(pull * slope(positive, dp)), bitcast<u32>(-pull * slope(negative, dn)));
}
#endif

#if KIND == 0
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups);
    if i >= params.rows {
        return;
    }
    var best = -3.4028235e38;
    var at = 16777216u;
    for (var j = lane; j < params.cols; j += ${LANES}u) {
        let v = s[i * params.cols + j];
        if j != i && v > best {
            best = v;
            at = j;
        }
    }
    let top = lanes_max(lane, best);
    // The lowest column with the greatest value; column numbers up to 2^24 are exact.
    let negative = u32(-lanes_max(lane, select(-16777216.0, -f32(at), best == top)));
    if lane == 0u {
        records[i] = record(s[i * params.cols + i], top, select(negative, 0xffffffffu, negative == 16777216u));
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
    var best = -3.4028235e38;
    var at = 0xffffffffu;
    for (var i = 0u; i < params.rows; i++) {
        let v = s[i * params.cols + j];
        if i != j && v > best {
            best = v;
            at = i;
        }
    }
    records[params.rows + j] = record(s[j * params.cols + j], best, at);
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    for (var i = lane; i < 2u * params.rows; i += ${LANES}u) {
        part += bitcast<f32>(records[i].y);
    }
    part = lanes_sum(lane, part);
    if lane == 0u {
        loss[0] = part / f32(2u * params.rows);
    }
}
#endif

#if KIND == 3
@group(0) @binding(0) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> dloss: array<f32>;
@group(0) @binding(2) var<storage, read_write> ds: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.rows * params.cols {
        return;
    }
    let i = at / params.cols;
    let j = at % params.cols;
    let row = records[i];
    var sum = 0.0;
    if i == j {
        sum += bitcast<f32>(row.z);
    }
    if row.x == j {
        sum += bitcast<f32>(row.w);
    }
    if j < params.rows {
        let column = records[params.rows + j];
        if i == j {
            sum += bitcast<f32>(column.z);
        }
        if column.x == i {
            sum += bitcast<f32>(column.w);
        }
    }
    ds[at] = dloss[0] / f32(2u * params.rows) * sum;
}
#endif
