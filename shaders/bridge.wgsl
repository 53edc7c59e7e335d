// Loss of a bridge network over rows f [n, c] and h [n, c]: row i of f belongs to row i of h and not to the K = `negatives` rows of h that
// partners [n, K] names.
//
// d(i, j) = sqrt(|f_i - h_j|^2 / c + eps); loss = (mean d(i, i)^2 + alpha mean (d(i, partner) - 1)^2) / (1 + alpha).
// distances [n, 1 + K]: of the pair, then of its negatives; NaN where a partner is no row, and then so is the loss.
// KIND 0 rows       distances, terms [n] = what each row adds to the loss's mean   bindings: f, h, partners, distances, terms, params
// KIND 1 total      loss [1] = mean of the terms                                   bindings: terms, loss, params
// KIND 2 links      links [n + n K]: for each row of h the first negative that it is (of n K, or NONE), and for each negative the next one of
//                   the same row                                                   bindings: partners, links, params
// KIND 3 backward f df = sum over its row's distances of pull (f - h)              bindings: f, h, partners, distances, dloss [1], df, params
// KIND 4 backward h dh, gathered along the links                                   bindings: f, h, links, distances, dloss [1], dh, params
// A pair pulls by 2 / (c n (1 + alpha)), a negative by alpha / K (1 - 1 / d) of that: both are finite at d = sqrt(eps).
// Dispatch: KIND 0 one group of LANES a row, folded; 1 one group of LANES; 2 groups of 64 rows, folded; 3, 4 groups of 64 elements, folded.
// Variant: KIND, LANES. Workgroup memory: KIND 0, 1 4 LANES bytes.
#if KIND != 1
#import fold
#endif
#if KIND < 2
#import lanes
#endif

struct Params {
    rows: u32,
    cols: u32,
    negatives: u32,
    alpha: f32,
    eps: f32,
    // 2 / (c n (1 + alpha)), and alpha / K of it.
    pull: f32,
    push: f32,
    // The bits of a NaN: WGSL has no literal for it.
    nan: u32,
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> f: array<f32>;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> partners: array<u32>;
@group(0) @binding(3) var<storage, read_write> distances: array<f32>;
@group(0) @binding(4) var<storage, read_write> terms: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    var term = 0.0;
    var wrong = false;
    for (var k = 0u; k <= params.negatives; k++) {
        var other = row;
        if k > 0u {
            other = partners[row * params.negatives + k - 1u];
        }
        let outside = other >= params.rows;
        other = min(other, params.rows - 1u);
        var part = 0.0;
        for (var c = lane; c < params.cols; c += ${LANES}u) {
            let apart = f[row * params.cols + c] - h[other * params.cols + c];
            part += apart * apart;
        }
        let d = sqrt(lanes_sum(lane, part) / f32(params.cols) + params.eps);
        let off = select(d - 1.0, d, k == 0u);
        term += off * off * select(params.alpha / f32(params.negatives), 1.0, k == 0u);
        wrong = wrong || outside;
        if lane == 0u {
            // The NaN of a wrong partner goes out without arithmetic: fast modes take every result for a number.
            distances[row * (params.negatives + 1u) + k] = select(d, bitcast<f32>(params.nan), outside);
        }
    }
    if lane == 0u {
        terms[row] = select(term / (1.0 + params.alpha), bitcast<f32>(params.nan), wrong);
    }
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> terms: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    for (var row = lane; row < params.rows; row += ${LANES}u) {
        part += terms[row];
    }
    part = lanes_sum(lane, part);
    if lane == 0u {
        loss[0] = part / f32(params.rows);
    }
}
#endif

const NONE = 0xffffffffu;

#if KIND == 2
@group(0) @binding(0) var<storage, read> partners: array<u32>;
@group(0) @binding(1) var<storage, read_write> links: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups) * 64u + lane;
    if row >= params.rows {
        return;
    }
    // From the last to the first, so that the chain runs upwards. A negative hangs on one row: no two writers meet.
    var next = NONE;
    for (var e = params.rows * params.negatives; e > 0u; e--) {
        if partners[e - 1u] == row {
            links[params.rows + e - 1u] = next;
            next = e - 1u;
        }
    }
    links[row] = next;
}
#endif

#if KIND == 3
@group(0) @binding(0) var<storage, read> f: array<f32>;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> partners: array<u32>;
@group(0) @binding(3) var<storage, read> distances: array<f32>;
@group(0) @binding(4) var<storage, read> dloss: array<f32>;
@group(0) @binding(5) var<storage, read_write> df: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.rows * params.cols {
        return;
    }
    let row = at / params.cols;
    let c = at % params.cols;
    let own = f[at];
    var sum = params.pull * (own - h[at]);
    for (var k = 0u; k < params.negatives; k++) {
        let other = min(partners[row * params.negatives + k], params.rows - 1u);
        let d = distances[row * (params.negatives + 1u) + k + 1u];
        sum += params.push * (1.0 - 1.0 / d) * (own - h[other * params.cols + c]);
    }
    df[at] = dloss[0] * sum;
}
#endif

#if KIND == 4
@group(0) @binding(0) var<storage, read> f: array<f32>;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> links: array<u32>;
@group(0) @binding(3) var<storage, read> distances: array<f32>;
@group(0) @binding(4) var<storage, read> dloss: array<f32>;
@group(0) @binding(5) var<storage, read_write> dh: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.rows * params.cols {
        return;
    }
    let c = at % params.cols;
    let own = h[at];
    var sum = params.pull * (own - f[at]);
    var e = links[at / params.cols];
    while e != NONE {
        let row = e / params.negatives;
        let d = distances[row * (params.negatives + 1u) + e % params.negatives + 1u];
        sum += params.push * (1.0 - 1.0 / d) * (own - f[row * params.cols + c]);
        e = links[params.rows + e];
    }
    dh[at] = dloss[0] * sum;
}
#endif
