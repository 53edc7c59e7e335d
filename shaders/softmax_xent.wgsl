// Softmax cross-entropy of rows of logits, and the gradient.
//
// q = w ((1 - smoothing) target + smoothing sum(target) / cols); loss_i = -sum_j q_ij log softmax(x_i)_j; loss = sum over the rows, over the
// number of those that count or, if DIVISOR, over max(divisor, 1).
// target: DENSE a row of weights (a row whose weights add up to 0 does not count), else 1 at a label (label 0xffffffff does not
// count; any other label beyond the columns makes the loss NaN). w: a row's factor if WEIGHTED (of 0 it does not count), else 1.
// KIND 0 rows     stats [rows, 4] = (max x, 1 / sum exp(x - max), w sum(target), loss)
//                 bindings: x, target, w [rows] if WEIGHTED, stats, params
// KIND 1 total    loss [1]; share [1] = 1 / counted rows or 0, or 1 / max(divisor, 1)
//                 bindings: stats, divisor [1] if DIVISOR, loss, share, params
// KIND 2 backward dx = dloss share (w sum(target) softmax(x) - q)
//                 bindings: x, target, w if WEIGHTED, stats, share, dloss [1], dx, params
// Dispatch: KIND 0, 2 one group of LANES a row, folded; KIND 1 one group of LANES. Variant: KIND, DENSE, WEIGHTED, DIVISOR, LANES.
// Workgroup memory: 4 LANES bytes.
#import fold
#import lanes
#import nan
#import share

struct Params {
    rows: u32,
    cols: u32,
    smoothing: f32,
    // The bits of a NaN: WGSL has no literal for it.
    nan: u32,
}

#if KIND != 1
@group(0) @binding(0) var<storage, read> x: array<f32>;
#if DENSE
@group(0) @binding(1) var<storage, read> labels: array<f32>;
#else
@group(0) @binding(1) var<storage, read> labels: array<u32>;
#endif
#if WEIGHTED
@group(0) @binding(2) var<storage, read> factors: array<f32>;
#endif

fn factor_of(row: u32) -> f32 {
#if WEIGHTED
    return factors[row];
#else
    return 1.0;
#endif
}

fn weight(row: u32, col: u32, factor: f32) -> f32 {
#if DENSE
    return select(factor * labels[row * params.cols + col], 0.0, factor == 0.0);
#else
    return select(0.0, factor, labels[row] == col);
#endif
}
#endif

#if KIND == 0
@group(0) @binding(${2 + WEIGHTED}) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(${3 + WEIGHTED}) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    let base = row * params.cols;
    let factor = factor_of(row);
    var top = -3.4028235e38;
    for (var c = lane; c < params.cols; c += ${LANES}u) {
        top = max(top, x[base + c]);
    }
    top = lanes_max(lane, top);
    var exps = 0.0;
    var all = 0.0;
    var weights = 0.0;
    var pulled = 0.0;
    for (var c = lane; c < params.cols; c += ${LANES}u) {
        let z = x[base + c] - top;
        let q = weight(row, c, factor);
        exps += exp_or_nan(z);
        all += z;
        weights += q;
        // A masked logit (-infinity, or that far below the top) costs nothing where nothing is asked of it.
        pulled += select(q * z, 0.0, q == 0.0);
    }
    exps = lanes_sum(lane, exps);
    all = lanes_sum(lane, all);
    weights = lanes_sum(lane, weights);
    pulled = lanes_sum(lane, pulled);
#if DENSE
    let wrong = false;
#else
    let wrong = labels[row] >= params.cols && labels[row] != 0xffffffffu && factor != 0.0;
#endif
    if lane == 0u {
        // The NaN of a wrong label goes out without arithmetic: fast modes take every result for a number.
        let nan = bitcast<f32>(params.nan);
        let spread = select(params.smoothing / f32(params.cols) * weights * all, 0.0, params.smoothing == 0.0);
        let loss = weights * log_or_nan(exps) - (1.0 - params.smoothing) * pulled - spread;
        stats[row] = vec4(top, 1.0 / exps, select(weights, nan, wrong), select(select(loss, 0.0, weights == 0.0), nan, wrong));
    }
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> stats: array<vec4<f32>>;
#if DIVISOR
@group(0) @binding(1) var<storage, read> divisor: array<f32>;
#endif
@group(0) @binding(${1 + DIVISOR}) var<storage, read_write> loss: array<f32>;
@group(0) @binding(${2 + DIVISOR}) var<storage, read_write> share: array<f32>;
@group(0) @binding(${3 + DIVISOR}) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    var count = 0.0;
    for (var row = lane; row < params.rows; row += ${LANES}u) {
        part += stats[row].w;
        count += select(1.0, 0.0, stats[row].z == 0.0);
    }
    part = lanes_sum(lane, part);
    count = lanes_sum(lane, count);
    if lane == 0u {
#if DIVISOR
        let each = share_of(divisor[0]);
#else
        let each = select(0.0, 1.0 / max(count, 1.0), count > 0.0);
#endif
        loss[0] = part * each;
        share[0] = each;
    }
}
#endif

#if KIND == 2
@group(0) @binding(${2 + WEIGHTED}) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(${3 + WEIGHTED}) var<storage, read> share: array<f32>;
@group(0) @binding(${4 + WEIGHTED}) var<storage, read> dloss: array<f32>;
@group(0) @binding(${5 + WEIGHTED}) var<storage, read_write> dx: array<f32>;
@group(0) @binding(${6 + WEIGHTED}) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    let base = row * params.cols;
    let s = stats[row];
    let scale = dloss[0] * share[0];
    let factor = factor_of(row);
    for (var c = lane; c < params.cols; c += ${LANES}u) {
        let q = (1.0 - params.smoothing) * weight(row, c, factor) + params.smoothing / f32(params.cols) * s.z;
        let d = s.z * exp_or_nan(x[base + c] - s.x) * s.y - q;
        dx[base + c] = select(scale * d, 0.0, s.z == 0.0);
    }
}
#endif
