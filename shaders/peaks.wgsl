// Peaks of correlation surfaces [Q, V, U, W]: Q queries, V x U places, W blocks innermost, so that neighbours work on neighbouring blocks.
//
// score(q, v, u, w) = surface * norm * scale[q]; a place is valid where norm > 0 and |score| < 1e30. norm is [Q, V, U, W] or [1, V, U, W].
// A position is v U + u; 0xffffffff and a score of -1e30 (NONE) stand for no valid place. Of equal scores the lower position is better.
//
// KIND 0 inverse norm  out = 1 / sqrt(energy) where valid >= max(least_share * count[q], 1/2) and energy > max(least_energy * valid, 1e-30), else 0
//                      bindings: energy, valid [Q, V, U, W], count [Q], out, params
// KIND 1 tiles         best score and position of each 16 x 16 tile [Q, W, TY, TX], and count, sum and sum of squares of its valid scores
//                      parts [Q, W, TY, TX, 3]; an invocation a tile and VEC blocks, without workgroup memory
//                      bindings: surface, norm, scale [Q], best, position, parts, params
// KIND 2 tiles         the same; a group of 256 a tile and BLOCKS blocks, reduced in workgroup memory (5,120 bytes)
// KIND 3 sums          sums [Q, W, 3] of parts; a group of LANES a row (q, w). Bindings: parts, sums, params. Workgroup memory: 4 LANES bytes
// KIND 4 select        the k best tiles of each (q, w), greedy from the best; a tile within `radius` of a chosen one along both axes is out.
//                      bindings: best, position, work [Q, W, tiles] of (score, row * 65536 + column), score [Q, W, k], place [Q, W, k], params
//                      A group of LANES a row. Workgroup memory: 8 LANES bytes
// KIND 5 refine        parabolas through the scores beside a peak, one an axis: out [Q, W, k, 6] = dy, dx, height, second derivatives along y and x,
//                      and mixed
//                      bindings: surface, norm, scale, place [Q, W, k], out, params; an invocation a peak
// KIND 6 variance      energy - sum over N of sums [N, V, U, W]^2 / max(valid, 1), all others [1, V, U, W]: the energy about each channel's mean in
//                      the window. Bindings: sums, valid, energy (read and written), params; an invocation a place
// KIND 0, 1, 5 and 6 run in groups of 64; all groups are folded; KIND 0: a group 512 elements of one query.
// Variant: KIND, VEC (1 or 4) with T and U for KIND 0, 1 and 6, BLOCKS (4 or 16) for KIND 2, LANES for KIND 3 and 4. Counts are of T.
#import fold

const NONE = -1e30;
const NOWHERE = 0xffffffffu;
const SIDE = 16u;

#if KIND == 0
alias V = ${T};

struct Params {
    groups: u32,
    each: u32,   // groups a query
    per: u32,    // elements a query
    least_share: f32,
    least_energy: f32,
}

@group(0) @binding(0) var<storage, read> energy: array<V>;
@group(0) @binding(1) var<storage, read> valid: array<V>;
@group(0) @binding(2) var<storage, read> count: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<V>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = fold_group(group, groups);
    if id >= params.groups {
        return;
    }
    let q = id / params.each;
    let first = (id - q * params.each) * 512u + lane;
    let least = max(params.least_share * count[q], 0.5);
    #for j in 0..8
    if first + ${64 * j}u < params.per {
        let at = q * params.per + first + ${64 * j}u;
        let e = energy[at];
        let n = valid[at];
        // False also for what is not a number.
        let good = (n >= V(least)) & (e > max(params.least_energy * n, V(1e-30)));
        out[at] = select(V(0.0), inverseSqrt(select(V(1.0), e, good)), good);
    }
    #endfor
}
#endif

#if KIND == 1 || KIND == 2
struct Params {
    total: u32,   // invocations (KIND 1) or groups (KIND 2)
    v: u32,
    u: u32,
    w: u32,       // blocks
    columns: u32, // W / VEC, or ceil(W / BLOCKS)
    across: u32,  // tiles across
    tiles: u32,
    one_norm: u32,  // 1: one norm for all queries
}
#endif

#if KIND == 1
alias V = ${T};
alias P = ${U};

@group(0) @binding(0) var<storage, read> surface: array<V>;
@group(0) @binding(1) var<storage, read> norm: array<V>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> best: array<f32>;
@group(0) @binding(4) var<storage, read_write> position: array<u32>;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = fold_group(group, groups) * 64u + lane;
    if id >= params.total {
        return;
    }
    let columns = params.columns;
    let wide = params.u;
    let rest = id / columns;
    let c = id - rest * columns;
    let q = rest / params.tiles;
    let tile = rest - q * params.tiles;
    let ty = tile / params.across;
    let left = (tile - ty * params.across) * SIDE;
    let q_norm = select(q, 0u, params.one_norm == 1u);
    let factor = scale[q];
    var top = V(NONE);
    var place = P(NOWHERE);
    var number = V(0.0);
    var sum = V(0.0);
    var squares = V(0.0);
    for (var y = ty * SIDE; y < min(ty * SIDE + SIDE, params.v); y++) {
        let line = q * params.v + y;
        let line_norm = q_norm * params.v + y;
    #for k in 0..16
        {
            // Beyond the last column: the last one again, which counts once.
            let x = min(left + ${k}u, wide - 1u);
            let n = norm[(line_norm * wide + x) * columns + c];
            let s = surface[(line * wide + x) * columns + c] * n * factor;
            let good = (n > V(0.0)) & (abs(s) < V(1e30));
        #if VEC == 4
            let counts = good & vec4<bool>(left + ${k}u < wide);
        #else
            let counts = good && left + ${k}u < wide;
        #endif
            let better = counts & (s > top);
            top = select(top, s, better);
            place = select(place, P(y * wide + x), better);
            let t = select(V(0.0), s, counts);
            number += select(V(0.0), V(1.0), counts);
            sum += t;
            squares += t * t;
        }
    #endfor
    }
    #for j in 0..VEC
    {
        let to = (q * params.w + c * ${VEC}u + ${j}u) * params.tiles + tile;
        #if VEC == 4
        best[to] = top[${j}];
        position[to] = place[${j}];
        parts[3u * to] = number[${j}];
        parts[3u * to + 1u] = sum[${j}];
        parts[3u * to + 2u] = squares[${j}];
        #else
        best[to] = top;
        position[to] = place;
        parts[3u * to] = number;
        parts[3u * to + 1u] = sum;
        parts[3u * to + 2u] = squares;
        #endif
    }
    #endfor
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> surface: array<f32>;
@group(0) @binding(1) var<storage, read> norm: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> best: array<f32>;
@group(0) @binding(4) var<storage, read_write> position: array<u32>;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// Slices of a tile: each takes every SLICES-th of its 256 places, in order.
const SLICES = ${256 / BLOCKS}u;

var<workgroup> tops: array<f32, 256>;
var<workgroup> places: array<u32, 256>;
var<workgroup> numbers: array<f32, 256>;
var<workgroup> sums: array<f32, 256>;
var<workgroup> squares: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = fold_group(group, groups);
    if id >= params.total {
        return;
    }
    let rest = id / params.columns;
    let w = (id - rest * params.columns) * ${BLOCKS}u + lane % ${BLOCKS}u;
    let slice = lane / ${BLOCKS}u;
    let q = rest / params.tiles;
    let tile = rest - q * params.tiles;
    let ty = tile / params.across;
    let left = (tile - ty * params.across) * SIDE;
    let q_norm = select(q, 0u, params.one_norm == 1u);
    let factor = scale[q];
    var top = NONE;
    var place = NOWHERE;
    var number = 0.0;
    var sum = 0.0;
    var square = 0.0;
    #for k in 0..BLOCKS
    {
        let p = slice + ${k}u * SLICES;
        let y = ty * SIDE + p / SIDE;
        let x = left + p % SIDE;
        let inside = y < params.v && x < params.u && w < params.w;
        if inside {
            let n = norm[((q_norm * params.v + y) * params.u + x) * params.w + w];
            let s = surface[((q * params.v + y) * params.u + x) * params.w + w] * n * factor;
            let good = n > 0.0 && abs(s) < 1e30;
            let better = good && s > top;
            top = select(top, s, better);
            place = select(place, y * params.u + x, better);
            let t = select(0.0, s, good);
            number += select(0.0, 1.0, good);
            sum += t;
            square += t * t;
        }
    }
    #endfor
    tops[lane] = top;
    places[lane] = place;
    numbers[lane] = number;
    sums[lane] = sum;
    squares[lane] = square;
    workgroupBarrier();
    for (var half = 128u; half >= ${BLOCKS}u; half = half >> 1u) {
        if lane < half {
            let other = lane + half;
            let better = tops[other] > tops[lane] || (tops[other] == tops[lane] && places[other] < places[lane]);
            tops[lane] = select(tops[lane], tops[other], better);
            places[lane] = select(places[lane], places[other], better);
            numbers[lane] += numbers[other];
            sums[lane] += sums[other];
            squares[lane] += squares[other];
        }
        workgroupBarrier();
    }
    if lane < ${BLOCKS}u && w < params.w {
        let to = (q * params.w + w) * params.tiles + tile;
        best[to] = tops[lane];
        position[to] = places[lane];
        parts[3u * to] = numbers[lane];
        parts[3u * to + 1u] = sums[lane];
        parts[3u * to + 2u] = squares[lane];
    }
}
#endif

#if KIND == 3
#import lanes

struct Params {
    rows: u32,
    tiles: u32,
}

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    var a = 0.0;
    var b = 0.0;
    var c = 0.0;
    for (var t = lane; t < params.tiles; t += ${LANES}u) {
        let at = 3u * (row * params.tiles + t);
        a += parts[at];
        b += parts[at + 1u];
        c += parts[at + 2u];
    }
    a = lanes_sum(lane, a);
    b = lanes_sum(lane, b);
    c = lanes_sum(lane, c);
    if lane == 0u {
        sums[3u * row] = a;
        sums[3u * row + 1u] = b;
        sums[3u * row + 2u] = c;
    }
}
#endif

#if KIND == 4
struct Params {
    rows: u32,
    tiles: u32,
    u: u32,
    k: u32,
    radius: i32,
}

@group(0) @binding(0) var<storage, read> best: array<f32>;
@group(0) @binding(1) var<storage, read> position: array<u32>;
@group(0) @binding(2) var<storage, read_write> work: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> score: array<f32>;
@group(0) @binding(4) var<storage, read_write> place: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;

var<workgroup> tops: array<f32, ${LANES}>;
var<workgroup> places: array<u32, ${LANES}>;

// Whether score a at place b is better than score c at place d.
fn before(a: f32, b: u32, c: f32, d: u32) -> bool {
    return a > c || (a == c && b < d);
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    let first = row * params.tiles;
    var last = NOWHERE;
    for (var round = 0u; round < params.k; round++) {
        var top = NONE;
        var at = NOWHERE;
        // A lane reads and writes its own tiles alone. Packed places are in the order of positions.
        for (var t = lane; t < params.tiles; t += ${LANES}u) {
            var s = NONE;
            var here = NOWHERE;
            if round == 0u {
                let p = position[first + t];
                let y = p / params.u;
                s = select(NONE, best[first + t], p != NOWHERE);
                here = select(NOWHERE, (y << 16u) | (p - y * params.u), p != NOWHERE);
                work[first + t] = vec2<u32>(bitcast<u32>(s), here);
            } else {
                let both = work[first + t];
                s = bitcast<f32>(both.x);
                here = both.y;
                let dy = abs(i32(here >> 16u) - i32(last >> 16u));
                let dx = abs(i32(here & 0xffffu) - i32(last & 0xffffu));
                if s > NONE && max(dy, dx) <= params.radius {
                    s = NONE;
                    work[first + t].x = bitcast<u32>(s);
                }
            }
            let better = s > NONE && before(s, here, top, at);
            top = select(top, s, better);
            at = select(at, here, better);
        }
        tops[lane] = top;
        places[lane] = at;
        workgroupBarrier();
    #if LANES > 16
        for (var half = ${LANES / 2}u; half > 0u; half = half >> 1u) {
            if lane < half && before(tops[lane + half], places[lane + half], tops[lane], places[lane]) {
                tops[lane] = tops[lane + half];
                places[lane] = places[lane + half];
            }
            workgroupBarrier();
        }
        top = tops[0];
        at = places[0];
    #else
        top = tops[0];
        at = places[0];
        #for i in 1..LANES
        {
            let better = before(tops[${i}], places[${i}], top, at);
            top = select(top, tops[${i}], better);
            at = select(at, places[${i}], better);
        }
        #endfor
    #endif
        workgroupBarrier();
        if lane == 0u {
            score[row * params.k + round] = top;
            place[row * params.k + round] = select(NOWHERE, (at >> 16u) * params.u + (at & 0xffffu), at != NOWHERE);
        }
        last = at;
    }
}
#endif

#if KIND == 5
struct Params {
    total: u32,  // peaks
    v: u32,
    u: u32,
    w: u32,
    k: u32,
    one_norm: u32, // 1: one norm for all queries
}

@group(0) @binding(0) var<storage, read> surface: array<f32>;
@group(0) @binding(1) var<storage, read> norm: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> place: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// NONE where the place is not valid.
fn score_at(q: u32, place: u32, w: u32) -> f32 {
    let area = params.v * params.u;
    let n = norm[(select(q, 0u, params.one_norm == 1u) * area + place) * params.w + w];
    let s = surface[(q * area + place) * params.w + w] * n * scale[q];
    return select(NONE, s, n > 0.0 && abs(s) < 1e30);
}

// Offset, gain and second derivative of the parabola through three scores a step apart; zeros unless all are valid.
fn parabola(low: f32, here: f32, high: f32, inside: bool) -> vec3<f32> {
    let good = inside && low > NONE && here > NONE && high > NONE;
    let slope = select(0.0, 0.5 * (high - low), good);
    let bend = select(0.0, (high - here) - (here - low), good);
    // Not curved down: there is no peak to go to.
    let peak = bend < 0.0;
    let offset = select(0.0, clamp(-slope / select(-1.0, bend, peak), -1.0, 1.0), peak);
    return vec3<f32>(offset, offset * (slope + 0.5 * bend * offset), bend);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = fold_group(group, groups) * 64u + lane;
    if id >= params.total {
        return;
    }
    let row = id / params.k;
    let q = row / params.w;
    let w = row - q * params.w;
    let known = place[id] < params.v * params.u;
    let p = select(0u, place[id], known);
    let y = p / params.u;
    let x = p - y * params.u;
    let in_y = y > 0u && y + 1u < params.v;
    let in_x = x > 0u && x + 1u < params.u;
    let dy = select(0u, params.u, in_y);
    let dx = select(0u, 1u, in_x);
    let here = select(NONE, score_at(q, p, w), known);
    let down = parabola(score_at(q, p - dy, w), here, score_at(q, p + dy, w), in_y);
    let across = parabola(score_at(q, p - dx, w), here, score_at(q, p + dx, w), in_x);
    // How far the peak lies askew: from the four places at the corners.
    let a = score_at(q, p - dy - dx, w);
    let b = score_at(q, p - dy + dx, w);
    let c = score_at(q, p + dy - dx, w);
    let d = score_at(q, p + dy + dx, w);
    let round = in_y && in_x && here > NONE && min(min(a, b), min(c, d)) > NONE;
    out[6u * id] = down.x;
    out[6u * id + 1u] = across.x;
    out[6u * id + 2u] = select(NONE, here + down.y + across.y, here > NONE);
    out[6u * id + 3u] = down.z;
    out[6u * id + 4u] = across.z;
    out[6u * id + 5u] = select(0.0, 0.25 * ((a - b) - (c - d)), round);
}
#endif

#if KIND == 6
alias V = ${T};

struct Params {
    per: u32,   // places, in units of T
    count: u32, // N
}

@group(0) @binding(0) var<storage, read> sums: array<V>;
@group(0) @binding(1) var<storage, read> valid: array<V>;
@group(0) @binding(2) var<storage, read_write> energy: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.per {
        return;
    }
    var squares = V(0.0);
    for (var k = 0u; k < params.count; k++) {
        let s = sums[k * params.per + i];
        squares += s * s;
    }
    energy[i] -= squares / max(valid[i], V(1.0));
}
#endif
