// Entropic optimal transport between two clouds of any size: costs are recomputed from the points in tiles, never stored.
//
// The problem and the iteration are those of sinkhorn_small. C_ij = n_i + n_j - cross <x_i, y_j> with points made so by KIND 0: squared
// Euclidean: n = |x|^2, cross 2, points less the mean of both clouds (f32 loses less then); cosine: unit length, n = 1/2, cross 1.
// With k = log2(e) / eps: f~_i = n_i - (1 / k) log2 sum_j exp2(w_j + k (g_j - n_j) + k cross <x_i, y_j>), w the log2 of the weights.
// A cloud: rows [N4, D4] row-major, cols [D4, N4] its transpose (lanes alone), norms, logw, potentials [N4]; N4, D4 the next multiples
// of 4, filled with 0, weights with -1e30. One iteration of x against y: PARTIAL, UPDATE (f), PARTIAL, UPDATE (g), CHECK; of a cloud with
// itself (SELF): PARTIAL, UPDATE (half a step), CHECK. The state says when to stop: later iterations leave at once.
// state [8] = iterations, eps, marginal error, 1 converged or 2 out of iterations, omega, then lib/relax's other words.
//
// KIND 0 points   one invocation a row of N4       bindings: x [N, D], w [N], mean_x [D], mean_y [D], rows, norms, logw, cols (LANES), params
//                 COSINE: without the means
// KIND 1 start    potentials 0, state from the greatest norms: eps = (sqrt n_x + sqrt n_y)^2, an upper bound of the cost (2 for cosine);
//                 one group of 64                  bindings: norms x, norms y, f, g, state, params; SELF: norms x, f, state, params
// KIND 2 partial  (top, sum of exp2(. - top)) [chunks, N4] of one chunk of columns each; rows row0 .. row0 + span_rows.
//   TILED: 64 x 64 tiles by 256 invocations of 4 x 4    bindings: rows, other rows, other norms, other logw, other potentials, state, parts, params
//   LANED: one subgroup of 8 a group and 16 rows, each lane 4 columns (see matmul's KIND 1); other cols in place of other rows
//   Dispatch: row tiles (fastest) * chunks, folded. Workgroup memory TILED 8,704 bytes.
// KIND 3 update   potentials and error partials [groups of WIDTH]; one invocation a row, groups of WIDTH, folded
//                 bindings: parts, norms, logw, state, f, errors, params
// KIND 4 check    one group of WIDTH               bindings: errors f, errors g, state, params; SELF: errors f, state, params
// KIND 5 rows     p [R, M4] from products <x_i, y_j> in place: the plan's rows row0 .. row0 + R, each with sum 1 where f = T(g)
//                 one invocation an element        bindings: f, norms, other norms, other logw, other potentials, p, params
// KIND 6 gradient dx [N, D] = 2 w_i (own_i - other_i) from barycentres [N4, D4], or cosine's through the normalisation;
//                 one invocation a row             bindings: x, w, own, other, dx, params
// Variant: KIND, SELF, COSINE, LANED, LANES (WIDTH above; 8 where LANED), ROWS. Workgroup memory else: 4 LANES bytes.
#import fold

const NEVER = -1e30;
const LOG2E = 1.4426950408889634;

struct Params {
    n: u32,      // rows of the side worked on
    m: u32,      // of the other side
    d: u32,
    row0: u32,
    rows: u32,
    chunks: u32,
    span: u32,   // tiles or blocks of columns a chunk
    most: u32,
    last: u32,   // 1: take the step whole, at the last eps, done or not
    eps: f32,
    scaling: f32,
    tolerance: f32,
    cross: f32,
    step: f32,   // share of the step, 0: the state's omega
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
#if COSINE
@group(0) @binding(2) var<storage, read_write> rows: array<f32>;
@group(0) @binding(3) var<storage, read_write> norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> logw: array<f32>;
#if LANED
@group(0) @binding(5) var<storage, read_write> cols: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;
#else
@group(0) @binding(5) var<uniform> params: Params;
#endif
#else
@group(0) @binding(2) var<storage, read> mean_x: array<f32>;
@group(0) @binding(3) var<storage, read> mean_y: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<f32>;
@group(0) @binding(5) var<storage, read_write> norms: array<f32>;
@group(0) @binding(6) var<storage, read_write> logw: array<f32>;
#if LANED
@group(0) @binding(7) var<storage, read_write> cols: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;
#else
@group(0) @binding(7) var<uniform> params: Params;
#endif
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    let n4 = (params.n + 3u) & ~3u;
    if i >= n4 {
        return;
    }
    let d4 = (params.d + 3u) & ~3u;
    let there = i < params.n;
    let start = min(i, params.n - 1u) * params.d;
    var scale = select(0.0, 1.0, there);
#if COSINE
    var square = 0.0;
    for (var c = 0u; c < params.d; c++) {
        square += x[start + c] * x[start + c];
    }
    // A point at 0 has no direction: cosine 0 with all. NaN and infinity go through.
    scale = select(select(1.0 / sqrt(square), 0.0, square == 0.0), 0.0, !there);
#endif
    var norm = 0.0;
    for (var c = 0u; c < d4; c++) {
        var v = 0.0;
        if c < params.d && there {
#if COSINE
            v = x[start + c] * scale;
#else
            v = x[start + c] - 0.5 * (mean_x[c] + mean_y[c]);
#endif
        }
        norm += v * v;
        rows[i * d4 + c] = v;
#if LANED
        cols[c * n4 + i] = v;
#endif
    }
#if COSINE
    norms[i] = 0.5;
#else
    norms[i] = norm;
#endif
    var weight = NEVER;
    if there && w[min(i, params.n - 1u)] > 0.0 {
        weight = log2(w[i]);
    }
    logw[i] = weight;
}
#endif

#if KIND == 1
#import lanes

@group(0) @binding(0) var<storage, read> norms_x: array<f32>;
#if SELF
@group(0) @binding(1) var<storage, read_write> f: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#else
@group(0) @binding(1) var<storage, read> norms_y: array<f32>;
@group(0) @binding(2) var<storage, read_write> f: array<f32>;
@group(0) @binding(3) var<storage, read_write> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
#endif

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var top_x = 0.0;
    // Sixteen a turn: llvmpipe ends loops after 65,535.
    let n4 = (params.n + 3u) & ~3u;
    for (var first = lane; first < n4; first += ${16 * LANES}u) {
    #for q in 0..16
        if first + ${q * LANES}u < n4 {
            top_x = max(top_x, norms_x[first + ${q * LANES}u]);
            f[first + ${q * LANES}u] = 0.0;
        }
    #endfor
    }
    top_x = lanes_max(lane, top_x);
#if SELF
    let top_y = top_x;
#else
    var top_y = 0.0;
    let m4 = (params.m + 3u) & ~3u;
    for (var first = lane; first < m4; first += ${16 * LANES}u) {
    #for q in 0..16
        if first + ${q * LANES}u < m4 {
            top_y = max(top_y, norms_y[first + ${q * LANES}u]);
            g[first + ${q * LANES}u] = 0.0;
        }
    #endfor
    }
    top_y = lanes_max(lane, top_y);
#endif
    if lane == 0u {
        let reach = sqrt(top_x) + sqrt(top_y);
        state[0] = 0.0;
        state[1] = max(reach * reach, params.eps);
        state[2] = 3e38;
        state[3] = select(0.0, 2.0, params.most == 0u);
        state[4] = 1.0;
        state[5] = 0.98;
        state[6] = 0.0;
        state[7] = 0.0;
    }
}
#endif

#if KIND == 2
#if LANED
@group(0) @binding(0) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> other: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> norms: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> logw: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> g: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> rows: array<f32>;
@group(0) @binding(1) var<storage, read> other: array<f32>;
@group(0) @binding(2) var<storage, read> norms: array<f32>;
@group(0) @binding(3) var<storage, read> logw: array<f32>;
@group(0) @binding(4) var<storage, read> g: array<f32>;
#endif
@group(0) @binding(5) var<storage, read> state: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts: array<vec2<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

#if LANED
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    let row_tiles = (params.rows + ${ROWS - 1}u) / ${ROWS}u;
    if linear >= row_tiles * params.chunks || (params.last == 0u && state[3] != 0.0) {
        return;
    }
    let k = LOG2E / select(state[1], params.eps, params.last == 1u);
    let k4 = (params.d + 3u) / 4u;
    let m4 = (params.m + 3u) / 4u;
    let n4 = (params.n + 3u) & ~3u;
    let chunk = linear / row_tiles;
    let first_row = params.row0 + (linear - chunk * row_tiles) * ${ROWS}u;
    let end_row = min(params.row0 + params.rows, params.n);
    #for s in 0..ROWS/LANES
    let at${s} = min(first_row + ${s * LANES}u + lane, params.n - 1u) * k4;
    #endfor
    #for r in 0..ROWS
    var top${r} = -3e38;
    var sum${r} = 0.0;
    #endfor
    let kc = k * params.cross;
    let end = min((chunk + 1u) * params.span * 8u, m4);
    for (var first = chunk * params.span * 8u; first < end; first += 8u) {
        let column = first + lane;
        let col = min(column, m4 - 1u);
        #for r in 0..ROWS
        var acc${r}_0 = vec4<f32>(0.0);
        #endfor
        var bi = col;
        for (var depth = 0u; depth < k4; depth++) {
            #for s in 0..ROWS/LANES
            let a${s} = rows[at${s} + depth];
            #endfor
            #for q in 0..4
            let b${q}_0 = other[bi + ${q}u * m4];
            #endfor
            bi += 4u * m4;
            #include lane_multiply
        }
        let offset = select(vec4(NEVER), logw[col] + k * (g[col] - norms[col]), column < m4);
        #for r in 0..ROWS
        {
            let v = offset + kc * acc${r}_0;
            let top = max(top${r}, max(max(v.x, v.y), max(v.z, v.w)));
            let e = exp2(v - top);
            sum${r} = sum${r} * exp2(top${r} - top) + ((e.x + e.y) + (e.z + e.w));
            top${r} = top;
        }
        #endfor
    }
    #for r in 0..ROWS
    {
        var top = subgroupBroadcast(top${r}, 0u);
        #for l in 1..LANES
        top = max(top, subgroupBroadcast(top${r}, ${l}u));
        #endfor
        let own = sum${r} * exp2(top${r} - top);
        var sum = subgroupBroadcast(own, 0u);
        #for l in 1..LANES
        sum += subgroupBroadcast(own, ${l}u);
        #endfor
        if lane == ${r % LANES}u && first_row + ${r}u < end_row {
            parts[chunk * n4 + first_row + ${r}u] = vec2(top, sum);
        }
    }
    #endfor
}
#else
#import tile

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    let row_tiles = (params.rows + TILE - 1u) / TILE;
    if linear >= row_tiles * params.chunks || (params.last == 0u && state[3] != 0.0) {
        return;
    }
    let k = LOG2E / select(state[1], params.eps, params.last == 1u);
    let deep = (params.d + 3u) & ~3u;
    let n4 = (params.n + 3u) & ~3u;
    let chunk = linear / row_tiles;
    let row0 = params.row0 + (linear - chunk * row_tiles) * TILE;
    let end_row = min(params.row0 + params.rows, params.n);
    let ty = lane / 16u;
    let tx = lane % 16u;
    #for r in 0..4
    var top${r} = -3e38;
    var sum${r} = 0.0;
    #endfor
    let kc = k * params.cross;
    let end = min((chunk + 1u) * params.span * TILE, params.m);
    for (var column0 = chunk * params.span * TILE; column0 < end; column0 += TILE) {
        #for r in 0..4
        var acc${r} = vec4<f32>(0.0);
        #endfor
        for (var k0 = 0u; k0 < deep; k0 += DEPTH) {
            #for s in 0..4
            {
                let e = lane + ${s * 256}u;
                let r = e / DEPTH;
                let q = e % DEPTH;
                var av = 0.0;
                var bv = 0.0;
                if k0 + q < deep {
                    if row0 + r < params.n {
                        av = rows[(row0 + r) * deep + k0 + q];
                    }
                    if column0 + r < params.m {
                        bv = other[(column0 + r) * deep + k0 + q];
                    }
                }
                tile_a[q * PITCH + r] = av;
                tile_b[q * PITCH + r] = bv;
            }
            #endfor
            workgroupBarrier();
            // Few dimensions fill less than a tile's depth.
            for (var q = 0u; q < min(DEPTH, deep - k0); q++) {
                let at = q * PITCH + tx * 4u;
                let b = vec4<f32>(tile_b[at], tile_b[at + 1u], tile_b[at + 2u], tile_b[at + 3u]);
                #for r in 0..4
                acc${r} += tile_a[q * PITCH + ty * 4u + ${r}u] * b;
                #endfor
            }
            workgroupBarrier();
        }
        var offset = vec4<f32>(NEVER);
        #for q in 0..4
        {
            let column = column0 + tx * 4u + ${q}u;
            if column < params.m {
                offset[${q}] = logw[column] + k * (g[column] - norms[column]);
            }
        }
        #endfor
        #for r in 0..4
        {
            let v = offset + kc * acc${r};
            let top = max(top${r}, max(max(v.x, v.y), max(v.z, v.w)));
            let e = exp2(v - top);
            sum${r} = sum${r} * exp2(top${r} - top) + ((e.x + e.y) + (e.z + e.w));
            top${r} = top;
        }
        #endfor
    }
    // The sixteen invocations of a row meet in the tiles' memory.
    #for r in 0..4
    tile_a[(ty * 4u + ${r}u) * 16u + tx] = top${r};
    tile_b[(ty * 4u + ${r}u) * 16u + tx] = sum${r};
    #endfor
    workgroupBarrier();
    if lane < TILE && row0 + lane < end_row {
        var top = tile_a[lane * 16u];
        for (var i = 1u; i < 16u; i++) {
            top = max(top, tile_a[lane * 16u + i]);
        }
        var sum = 0.0;
        for (var i = 0u; i < 16u; i++) {
            sum += tile_b[lane * 16u + i] * exp2(tile_a[lane * 16u + i] - top);
        }
        parts[chunk * n4 + row0 + lane] = vec2(top, sum);
    }
}
#endif
#endif

#if KIND == 3
#import lanes

@group(0) @binding(0) var<storage, read> parts: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> norms: array<f32>;
@group(0) @binding(2) var<storage, read> logw: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<f32>;
@group(0) @binding(4) var<storage, read_write> f: array<f32>;
@group(0) @binding(5) var<storage, read_write> errors: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    if linear >= (params.n + ${LANES - 1}u) / ${LANES}u || (params.last == 0u && state[3] != 0.0) {
        return;
    }
    let k = LOG2E / select(state[1], params.eps, params.last == 1u);
    let i = linear * ${LANES}u + lane;
    var error = 0.0;
    if i < params.n {
        let n4 = (params.n + 3u) & ~3u;
        var p = parts[i];
        for (var c = 1u; c < params.chunks; c++) {
            let q = parts[c * n4 + i];
            let top = max(p.x, q.x);
            p = vec2(top, p.y * exp2(p.x - top) + q.y * exp2(q.x - top));
        }
        let next = norms[i] - (p.x + log2(p.y)) / k;
        let was = f[i];
        // Far from convergence the quotient overflows.
        error = exp2(logw[i]) * abs(exp2(min(k * (was - next), 60.0)) - 1.0);
        // A whole step forgets where it came from, to the last bit.
        let omega = select(params.step, state[4], params.step == 0.0);
        f[i] = select(was + omega * (next - was), next, omega == 1.0);
    }
    error = lanes_sum(lane, error);
    if lane == 0u {
        errors[linear] = error;
    }
}
#endif

#if KIND == 4
#import lanes
#import relax

@group(0) @binding(0) var<storage, read> errors_f: array<f32>;
#if SELF
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
#else
@group(0) @binding(1) var<storage, read> errors_g: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#endif

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var error = 0.0;
    // Of the last, whole steps the first leaves the rows' sums right; what is off is the columns', seen by the second.
    if params.last == 0u || SELF == 1 {
        for (var i = lane; i < (params.n + ${LANES - 1}u) / ${LANES}u; i += ${LANES}u) {
            error += errors_f[i];
        }
    }
#if !SELF
    for (var i = lane; i < (params.m + ${LANES - 1}u) / ${LANES}u; i += ${LANES}u) {
        error += errors_g[i];
    }
#endif
    error = lanes_sum(lane, error);
    if lane == 0u {
        if params.last == 1u {
            state[2] = error;
            if error <= params.tolerance {
                state[3] = 1.0;
            }
        } else if state[3] == 0.0 {
            state[0] += 1.0;
            state[2] = error;
            if state[1] > params.eps {
                state[1] = max(state[1] * params.scaling, params.eps);
            } else {
                if error <= params.tolerance {
                    state[3] = 1.0;
                }
                let r = relax(Relax(state[4], state[5], state[6], state[7]), error);
                state[4] = r.omega;
                state[5] = r.trust;
                state[6] = r.since;
                state[7] = r.count;
            }
            if state[3] == 0.0 && state[0] >= f32(params.most) {
                state[3] = 2.0;
            }
        }
    }
}
#endif

#if KIND == 5
@group(0) @binding(0) var<storage, read> f: array<f32>;
@group(0) @binding(1) var<storage, read> norms: array<f32>;
@group(0) @binding(2) var<storage, read> other_norms: array<f32>;
@group(0) @binding(3) var<storage, read> logw: array<f32>;
@group(0) @binding(4) var<storage, read> g: array<f32>;
@group(0) @binding(5) var<storage, read_write> p: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    let m4 = (params.m + 3u) & ~3u;
    if at >= params.rows * m4 {
        return;
    }
    let k = LOG2E / params.eps;
    let row = at / m4;
    let j = at - row * m4;
    let i = min(params.row0 + row, params.n - 1u);
    p[at] = exp2((logw[j] + k * (g[j] - other_norms[j])) + k * params.cross * p[at] + k * (f[i] - norms[i]));
}
#endif

#if KIND == 6
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> own: array<f32>;
@group(0) @binding(3) var<storage, read> other: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.n {
        return;
    }
    let start = i * params.d;
    let at = i * ((params.d + 3u) & ~3u);
    let weight = w[i] * params.step;
#if COSINE
    var square = 0.0;
    var along = 0.0;
    for (var c = 0u; c < params.d; c++) {
        square += x[start + c] * x[start + c];
        along += x[start + c] * (own[at + c] - other[at + c]);
    }
    let inverse = select(1.0 / sqrt(square), 0.0, square == 0.0);
    for (var c = 0u; c < params.d; c++) {
        dx[start + c] = weight * inverse * (own[at + c] - other[at + c] - x[start + c] * (along * inverse * inverse));
    }
#else
    for (var c = 0u; c < params.d; c++) {
        dx[start + c] = weight * (own[at + c] - other[at + c]);
    }
#endif
}
#endif
