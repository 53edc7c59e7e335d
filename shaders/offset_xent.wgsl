// Cross-entropy over the offsets of correlation surfaces s [P, V, U, W] (rows, columns, windows): the softmax over a patch's whole
// row of N = V U W scores against all that lie near the true offset.
//
// z = k f s with k = min(exp(t), most); the disc of patch p: the offsets of window truth[p, 2] within `radius` of the row
// truth[p, 0] and the column truth[p, 1], inside the surface. loss_p = log sum_all exp z - log sum_disc exp z; a patch whose
// disc is empty is left out. loss = sum_p loss_p / P. Disc and row each have their own peak, so neither sum can vanish.
// KIND 0 parts    parts [P, K, 4] of each chunk of `chunk` scores: (largest s, its number, sum e, sum e (z - peak)), e = exp(z - peak)
//                 bindings: s, t [1], parts, params
// KIND 1 patches  stats [P, 8] = (largest s, 1 / sum e, the disc's largest s, 1 / its sum or 0, loss_p, 1 where the first largest s of all lies
//                 in the disc, d loss_p / dt without the clamp, 0)
//                 bindings: s, t, truth [P, 4], parts, stats, params
// KIND 2 total    loss [1], accuracy [1]                             bindings: stats, loss, accuracy, params
// KIND 3 backward ds = dloss k f / P (exp(z - peak) / sum e - [disc] exp(z - its peak) / its sum)
//                 bindings: s, t, truth, stats, dloss [1], ds, params
// KIND 4 dt       dt [1] = dloss / P sum of the patches' (0 where k is clamped)     bindings: stats, t, dloss, dt, params
// Dispatch: KIND 0, 3 one group of LANES a chunk of a patch, folded; 1 one group a patch, folded; 2, 4 one group.
// Variant: KIND, LANES. Workgroup memory: 4 LANES bytes (KIND 3: none).
#import fold
#import nan
#if KIND != 3
#import lanes
#endif

struct Params {
    patches: u32,
    rows: u32,    // V
    columns: u32, // U
    windows: u32, // W
    chunk: u32,
    chunks: u32,  // K
    radius: f32,
    scale: f32,   // f
    most: f32,
}

#if KIND != 2
// NaN passes through, as the comparison is then false.
fn factor(t: f32) -> f32 {
    let k = exp_or_nan(t);
    return select(k, params.most, k > params.most);
}
#endif

#if KIND == 1 || KIND == 3
// Rows and columns first to last of the square about the disc, cut to the surface; first > last where it is empty.
struct Square {
    top: i32,
    bottom: i32,
    left: i32,
    right: i32,
    window: u32,
    y: f32,
    x: f32,
}

fn square(p: u32) -> Square {
    let at = vec3<f32>(truth[4u * p], truth[4u * p + 1u], truth[4u * p + 2u]);
    let r = params.radius;
    var q = Square(1, 0, 1, 0, 0u, at.x, at.y);
    // Comparisons are false for NaN: then nothing is the disc's.
    let high = vec3<f32>(f32(params.rows - 1u) + r, f32(params.columns - 1u) + r, f32(params.windows) - 0.5);
    if all(at >= vec3<f32>(-r, -r, -0.5)) && all(at <= high) {
        q.top = i32(max(ceil(at.x - r), 0.0));
        q.bottom = i32(min(floor(at.x + r), f32(params.rows - 1u)));
        q.left = i32(max(ceil(at.y - r), 0.0));
        q.right = i32(min(floor(at.y + r), f32(params.columns - 1u)));
        q.window = u32(at.z + 0.5);
    }
    return q;
}

fn inside(q: Square, row: u32, column: u32) -> bool {
    let d = vec2<f32>(f32(row) - q.y, f32(column) - q.x);
    return dot(d, d) <= params.radius * params.radius;
}
#endif

#if KIND == 0
@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups);
    if i >= params.patches * params.chunks {
        return;
    }
    let p = i / params.chunks;
    let n = params.rows * params.columns * params.windows;
    let start = (i - p * params.chunks) * params.chunk;
    let end = min(start + params.chunk, n);
    let k = factor(t[0]) * params.scale;
    var best = -3.4028235e38;
    var best_at = 16777216.0;
    for (var j = start + lane; j < end; j += ${LANES}u) {
        let v = s[p * n + j];
        if v > best {
            best = v;
            best_at = f32(j);
        }
    }
    let top = lanes_max(lane, best);
    // The lowest offset with the greatest value; numbers below 2^24 are exact.
    let top_at = -lanes_max(lane, select(-16777216.0, -best_at, best == top));
    var exps = 0.0;
    var pulled = 0.0;
    for (var j = start + lane; j < end; j += ${LANES}u) {
        let z = k * (s[p * n + j] - top);
        let e = exp_or_nan(z);
        exps += e;
        pulled += e * z;
    }
    exps = lanes_sum(lane, exps);
    pulled = lanes_sum(lane, pulled);
    if lane == 0u {
        parts[4u * i] = top;
        parts[4u * i + 1u] = top_at;
        parts[4u * i + 2u] = exps;
        parts[4u * i + 3u] = pulled;
    }
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> truth: array<f32>;
@group(0) @binding(3) var<storage, read> parts: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = fold_group(group, groups);
    if p >= params.patches {
        return;
    }
    let k = factor(t[0]) * params.scale;
    let first = 4u * p * params.chunks;
    var best = -3.4028235e38;
    var best_at = 16777216.0;
    for (var c = lane; c < params.chunks; c += ${LANES}u) {
        if parts[first + 4u * c] > best {
            best = parts[first + 4u * c];
            best_at = parts[first + 4u * c + 1u];
        }
    }
    let top = lanes_max(lane, best);
    let top_at = -lanes_max(lane, select(-16777216.0, -best_at, best == top));
    var exps = 0.0;
    var pulled = 0.0;
    for (var c = lane; c < params.chunks; c += ${LANES}u) {
        let z = k * (parts[first + 4u * c] - top);
        let e = exp_or_nan(z);
        exps += e * parts[first + 4u * c + 2u];
        pulled += e * (parts[first + 4u * c + 3u] + z * parts[first + 4u * c + 2u]);
    }
    exps = lanes_sum(lane, exps);
    pulled = lanes_sum(lane, pulled);

    let q = square(p);
    let n = params.rows * params.columns * params.windows;
    let wide = u32(max(q.right - q.left + 1, 0));
    let all = wide * u32(max(q.bottom - q.top + 1, 0));
    var near = -3.4028235e38;
    var count = 0.0;
    for (var i = lane; i < all; i += ${LANES}u) {
        let row = u32(q.top) + i / wide;
        let column = u32(q.left) + i % wide;
        if inside(q, row, column) {
            near = max(near, s[p * n + (row * params.columns + column) * params.windows + q.window]);
            count += 1.0;
        }
    }
    near = lanes_max(lane, near);
    count = lanes_sum(lane, count);
    var close = 0.0;
    var drawn = 0.0;
    for (var i = lane; i < all; i += ${LANES}u) {
        let row = u32(q.top) + i / wide;
        let column = u32(q.left) + i % wide;
        if inside(q, row, column) {
            let z = k * (s[p * n + (row * params.columns + column) * params.windows + q.window] - near);
            let e = exp_or_nan(z);
            close += e;
            drawn += e * z;
        }
    }
    close = lanes_sum(lane, close);
    drawn = lanes_sum(lane, drawn);
    if lane == 0u {
        let on = count > 0.0;
        let gap = k * (top - near);
        var hit = false;
        let j = u32(top_at);
        if on && j < n && j % params.windows == q.window {
            let pixel = j / params.windows;
            hit = inside(q, pixel / params.columns, pixel % params.columns);
        }
        let at = 8u * p;
        stats[at] = top;
        stats[at + 1u] = 1.0 / exps;
        stats[at + 2u] = near;
        stats[at + 3u] = select(0.0, 1.0 / select(1.0, close, on), on);
        stats[at + 4u] = select(0.0, gap + log_or_nan(exps) - log_or_nan(close), on);
        stats[at + 5u] = select(0.0, 1.0, hit);
        stats[at + 6u] = select(0.0, gap + pulled / exps - drawn / close, on);
        stats[at + 7u] = 0.0;
    }
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
    for (var p = lane; p < params.patches; p += ${LANES}u) {
        part += stats[8u * p + 4u];
        hits += stats[8u * p + 5u];
    }
    part = lanes_sum(lane, part);
    hits = lanes_sum(lane, hits);
    if lane == 0u {
        loss[0] = part / f32(params.patches);
        accuracy[0] = hits / f32(params.patches);
    }
}
#endif

#if KIND == 3
@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> truth: array<f32>;
@group(0) @binding(3) var<storage, read> stats: array<f32>;
@group(0) @binding(4) var<storage, read> dloss: array<f32>;
@group(0) @binding(5) var<storage, read_write> ds: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups);
    if i >= params.patches * params.chunks {
        return;
    }
    let p = i / params.chunks;
    let n = params.rows * params.columns * params.windows;
    let start = (i - p * params.chunks) * params.chunk;
    let end = min(start + params.chunk, n);
    let k = factor(t[0]) * params.scale;
    let top = stats[8u * p];
    let near = stats[8u * p + 2u];
    let inverse = stats[8u * p + 3u];
    // A patch that is left out has no gradient.
    let share = select(0.0, dloss[0] * k / f32(params.patches), inverse > 0.0 || inverse != inverse);
    let scale = share * stats[8u * p + 1u];
    let q = square(p);
    // Only here can an offset lie in the disc: most need no division.
    var low = 1u;
    var high = 0u;
    if q.top <= q.bottom && q.left <= q.right {
        low = (u32(q.top) * params.columns + u32(q.left)) * params.windows;
        high = (u32(q.bottom) * params.columns + u32(q.right) + 1u) * params.windows;
    }
    for (var j = start + lane; j < end; j += ${LANES}u) {
        let v = s[p * n + j];
        var d = scale * exp_or_nan(k * (v - top));
        if j >= low && j < high && j % params.windows == q.window {
            let pixel = j / params.windows;
            if inside(q, pixel / params.columns, pixel % params.columns) {
                d -= share * inverse * exp_or_nan(k * (v - near));
            }
        }
        ds[p * n + j] = d;
    }
}
#endif

#if KIND == 4
@group(0) @binding(0) var<storage, read> stats: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> dloss: array<f32>;
@group(0) @binding(3) var<storage, read_write> dt: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    for (var p = lane; p < params.patches; p += ${LANES}u) {
        part += stats[8u * p + 6u];
    }
    part = lanes_sum(lane, part);
    if lane == 0u {
        dt[0] = select(dloss[0] * part / f32(params.patches), 0.0, exp(t[0]) > params.most);
    }
}
#endif
