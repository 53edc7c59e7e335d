// Rows scaled to unit length, and the gradient.
//
// forward  y = x / max(|x|, eps), norm = |x|             bindings: x [rows, cols], y [rows, cols], norm [rows], params
// backward dx = (dy - y <y, dy>) / norm, 0 if norm <= eps  bindings: y [rows, cols], dy [rows, cols], norm [rows], dx [rows, cols], params
// Dispatch: one group of LANES a row, folded. Variant: BACKWARD, LANES. Workgroup memory: 4 LANES bytes.
#import fold
#import lanes

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

#if BACKWARD
@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
#else
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#endif

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    let base = row * params.cols;
    var part = 0.0;
#if BACKWARD
    for (var c = lane; c < params.cols; c += ${LANES}u) {
        part += y[base + c] * dy[base + c];
    }
    let along = lanes_sum(lane, part);
    let length = norm[row];
    let scale = select(0.0, 1.0 / max(length, params.eps), length > params.eps);
    for (var c = lane; c < params.cols; c += ${LANES}u) {
        // A row without length gets no gradient, whatever comes in.
        dx[base + c] = select(0.0, (dy[base + c] - y[base + c] * along) * scale, length > params.eps);
    }
#else
    for (var c = lane; c < params.cols; c += ${LANES}u) {
        part += x[base + c] * x[base + c];
    }
    let length = sqrt(lanes_sum(lane, part));
    let scale = 1.0 / max(length, params.eps);
    for (var c = lane; c < params.cols; c += ${LANES}u) {
        y[base + c] = x[base + c] * scale;
    }
    if lane == 0u {
        norm[row] = length;
    }
#endif
}
