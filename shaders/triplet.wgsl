// Triplet losses over similarities s [B, M] of unit rows, M >= B. Anchors are the B rows, over all M columns, and, after them in all that
// numbers anchors, the first B columns, over all B rows. Pair (i, j) is by its mask w: above 0 positive, 0 negative, else ignored;
// columns beyond B are negatives. Without MASK, w is the identity.
//
// d = sqrt(max(2 - 2 s, eps)); a triplet's term is f(d_positive - d_negative + margin), f(u) = max(u, 0), or SOFT log(1 + exp(u)).
// Batch-hard: an anchor's hardest positive (least s) against its hardest negative (greatest s), the lowest of equals; without either,
// the term is 0. loss = sum over the anchors / their number. Batch-all (ALL): every triplet of every anchor. loss = sum of the terms /
// how many are above 0, or SOFT how many there are; 0 without any. A NaN is the hardest of its kind, and shows.
//
// records = (what the sum is divided by; WORDS an anchor; from word `head` on, where ALL, [B, M]: the gradient of the sum in s).
// An anchor's words: (positive or -1, negative or -1, d term / d s of either, term, hit), where ALL (sum, count, hit); hit: 1 for a row
// whose greatest s that is not ignored (the first of equals) is a positive.
// KIND 0 hardest  words of each row or, where COLUMNS, column; where ALL, the rows' `hit` alone
//                 bindings: s, w if MASK, records, params
// KIND 1 all      words (but `hit`) and gradient of each row or column, from chunk `first` to `last` of CHUNK elements that are taken as
//                 negatives; rows come first and start at 0, all else adds. Every word of the gradient is touched by one invocation.
//                 bindings: as KIND 0
// KIND 2 total    loss [1], accuracy [1] = sum of hits / B, records[0]       bindings: records, loss, accuracy, params
// KIND 3 backward ds [B, M], gathered: no two writers meet                   bindings: records, dloss [1], ds, params
// Dispatch: KIND 0 one group of LANES a row, where COLUMNS one for 8 columns, folded; 1 one group of LANES an anchor, folded; 2 one
// group of LANES; 3 ceil(M / 64) ceil(B / WALK) groups of 64, folded, each of 64 columns' WALK rows. Variant: KIND, ALL, COLUMNS, MASK,
// SOFT, LANES. Workgroup memory: 28 LANES bytes.
// Mesa's software adapter ends an invocation's loops, without a word, after 65,535 turns in all: the host keeps them below.
#import fold
#import lanes
#import nan

struct Params {
    rows: u32,
    cols: u32,
    anchors: u32,
    head: u32,
    first: u32,
    last: u32,
    margin: f32,
    eps: f32,
}

const WORDS = ${6 - 3 * ALL}u;
const HIT = ${5 - 3 * ALL}u;

#if KIND < 2
@group(0) @binding(0) var<storage, read> s: array<f32>;
#if MASK
@group(0) @binding(1) var<storage, read> w: array<f32>;
#endif
@group(0) @binding(${1 + MASK}) var<storage, read_write> records: array<f32>;
@group(0) @binding(${2 + MASK}) var<uniform> params: Params;

// Where element e of anchor a lies in s.
fn place(a: u32, e: u32) -> u32 {
#if COLUMNS
    return e * params.cols + a;
#else
    return a * params.cols + e;
#endif
}

// The mask of element e of anchor a.
fn mask(a: u32, e: u32) -> f32 {
#if MASK
    #if COLUMNS
    return w[e * params.rows + a];
    #else
    if e < params.rows {
        return w[a * params.rows + e];
    }
    return 0.0;
    #endif
#else
    return select(0.0, 1.0, e == a);
#endif
}

fn elements() -> u32 {
#if COLUMNS
    return params.rows;
#else
    return params.cols;
#endif
}

fn words(a: u32) -> u32 {
#if COLUMNS
    return 1u + (params.rows + a) * WORDS;
#else
    return 1u + a * WORDS;
#endif
}

fn distance_of(v: f32) -> f32 {
    // NaN passes through, as the comparison is then false.
    let square = 2.0 - 2.0 * v;
    return sqrt(select(square, params.eps, square < params.eps));
}

// d distance / d s.
fn slope(v: f32, d: f32) -> f32 {
    return select(-1.0 / d, 0.0, 2.0 - 2.0 * v <= params.eps);
}

// f(u) and its slope.
fn term(u: f32) -> vec2<f32> {
#if SOFT
    let e = exp_or_nan(-abs(u));
    return vec2(select(u, 0.0, u <= 0.0) + log_or_nan(1.0 + e), select(e, 1.0, u >= 0.0) / (1.0 + e));
#else
    return vec2(select(u, 0.0, u <= 0.0), select(0.0, 1.0, u > 0.0));
#endif
}
#endif

#if KIND == 0
// Anchors a group, and invocations an anchor. Eight neighbours among columns share what a cache line holds.
const WIDE = ${1 + 7 * COLUMNS}u;
const SLICES = ${LANES / (1 + 7 * COLUMNS)}u;

// Each with how hard it is and which element, -1 for none (numbers below 2^24 are exact). `nearest` is the greatest positive.
struct Found {
    positive: vec2<f32>,
    negative: vec2<f32>,
#if COLUMNS == 0
    nearest: vec2<f32>,
#endif
}

var<workgroup> parts: array<Found, ${LANES}>;

fn harder(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return select(a, b, b.y >= 0.0 && (a.y < 0.0 || b.x > a.x || (b.x == a.x && b.y < a.y)));
}

fn merge(a: Found, b: Found) -> Found {
    var all = a;
    all.positive = harder(a.positive, b.positive);
    all.negative = harder(a.negative, b.negative);
#if COLUMNS == 0
    all.nearest = harder(a.nearest, b.nearest);
#endif
    return all;
}

fn hardness(v: f32) -> f32 {
    return select(v, 3.4028235e38, is_nan(v));
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let base = fold_group(group, groups) * WIDE;
    if base >= params.rows {
        return;
    }
    let a = base + lane % WIDE;
    var found: Found;
    found.positive = vec2(0.0, -1.0);
    found.negative = vec2(0.0, -1.0);
#if COLUMNS == 0
    found.nearest = vec2(0.0, -1.0);
#endif
    if a < params.rows {
#if MASK == 0
        found.positive.y = f32(a);
    #if COLUMNS == 0
        found.nearest = vec2(s[place(a, a)], f32(a));
    #endif
#endif
        for (var e = lane / WIDE; e < elements(); e += SLICES) {
            let v = s[place(a, e)];
            let kind = mask(a, e);
            if kind == 0.0 {
                found.negative = harder(found.negative, vec2(hardness(v), f32(e)));
            }
#if MASK
            if kind > 0.0 {
                found.positive = harder(found.positive, vec2(hardness(-v), f32(e)));
    #if COLUMNS == 0
                found.nearest = harder(found.nearest, vec2(v, f32(e)));
    #endif
            }
#endif
        }
    }
#if LANES > 8 || COLUMNS == 0
    parts[lane] = found;
    workgroupBarrier();
    #if LANES > 16
    for (var half = SLICES / 2u; half > 0u; half = half >> 1u) {
        if lane < half * WIDE {
            parts[lane] = merge(parts[lane], parts[lane + half * WIDE]);
        }
        workgroupBarrier();
    }
    found = parts[lane];
    #else
    found = parts[0];
        #for k in 1..LANES
    found = merge(found, parts[${k}]);
        #endfor
    #endif
#endif
    if lane >= WIDE || a >= params.rows {
        return;
    }
    let at = words(a);
#if COLUMNS == 0
    let near = found.nearest;
    let far = found.negative;
    let hit = near.y >= 0.0 && (far.y < 0.0 || near.x > far.x || (near.x == far.x && near.y < far.y));
    records[at + HIT] = select(0.0, 1.0, hit);
#else
    records[at + HIT] = 0.0;
#endif
#if ALL == 0
    if found.positive.y < 0.0 || found.negative.y < 0.0 {
        records[at] = -1.0;
        records[at + 1u] = -1.0;
        records[at + 2u] = 0.0;
        records[at + 3u] = 0.0;
        records[at + 4u] = 0.0;
        return;
    }
    let p = s[place(a, u32(found.positive.y))];
    let n = s[place(a, u32(found.negative.y))];
    let dp = distance_of(p);
    let dn = distance_of(n);
    let f = term(dp - dn + params.margin);
    records[at] = found.positive.y;
    records[at + 1u] = found.negative.y;
    records[at + 2u] = f.y * slope(p, dp);
    records[at + 3u] = -f.y * slope(n, dn);
    records[at + 4u] = f.x;
#endif
}
#endif

#if KIND == 1
const CHUNK = ${8 * LANES}u;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let a = fold_group(group, groups);
    if a >= params.rows {
        return;
    }
    // An invocation has the elements e = lane (mod LANES), as negatives and as positives.
#if COLUMNS == 0
    if params.first == 0u {
        for (var e = lane; e < params.cols; e += CHUNK) {
    #for k in 0..8
            if e + ${k * LANES}u < params.cols {
                records[params.head + place(a, e + ${k * LANES}u)] = 0.0;
            }
    #endfor
        }
    }
#endif
    var sum = 0.0;
    var count = 0.0;
    for (var chunk = params.first; chunk < params.last; chunk++) {
        let e = chunk * CHUNK + lane;
        // Distances of negatives; what is none has a negative distance.
#for k in 0..8
        var v${k} = 0.0;
        var d${k} = -1.0;
        var pull${k} = 0.0;
        if e + ${k * LANES}u < elements() {
            if mask(a, e + ${k * LANES}u) == 0.0 {
                v${k} = s[place(a, e + ${k * LANES}u)];
                d${k} = distance_of(v${k});
            }
        }
#endfor
#if MASK
        var start = 0u;
        while start < params.rows {
            // The next positive among as many as a chunk has.
            var next = 16777216.0;
#for k in 0..8
            if start + lane + ${k * LANES}u < params.rows {
                if mask(a, start + lane + ${k * LANES}u) > 0.0 {
                    next = min(next, f32(start + lane + ${k * LANES}u));
                }
            }
#endfor
            let p = u32(-lanes_max(lane, -next));
            start = min(start + CHUNK, p + 1u);
            if p < params.rows {
#else
        {
            let p = a;
            {
#endif
                let v = s[place(a, p)];
                let dp = distance_of(v);
                var terms = 0.0;
                var pulls = 0.0;
#for k in 0..8
                if !(d${k} < 0.0) {
                    let f = term(dp - d${k} + params.margin);
                    terms += f.x;
                    pulls += f.y;
                    pull${k} += f.y;
    #if SOFT
                    count += 1.0;
    #endif
                }
#endfor
                sum += terms;
#if SOFT == 0
                count += pulls;
#endif
                let pulled = lanes_sum(lane, pulls);
                if lane == p % ${LANES}u {
                    records[params.head + place(a, p)] += pulled * slope(v, dp);
                }
            }
        }
#for k in 0..8
        if !(d${k} < 0.0) {
            records[params.head + place(a, e + ${k * LANES}u)] -= pull${k} * slope(v${k}, d${k});
        }
#endfor
    }
    sum = lanes_sum(lane, sum);
    count = lanes_sum(lane, count);
    if lane == 0u {
        let at = words(a);
        if params.first > 0u {
            sum += records[at];
            count += records[at + 1u];
        }
        records[at] = sum;
        records[at + 1u] = count;
#if COLUMNS
        records[at + HIT] = 0.0;
#endif
    }
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read_write> records: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> accuracy: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    var hits = 0.0;
#if ALL
    var count = 0.0;
#endif
    for (var i = lane; i < params.anchors; i += ${LANES}u) {
        let at = 1u + i * WORDS;
#if ALL
        part += records[at];
        count += records[at + 1u];
#else
        part += records[at + 4u];
#endif
        hits += records[at + HIT];
    }
    part = lanes_sum(lane, part);
    hits = lanes_sum(lane, hits);
#if ALL
    // Without a triplet the sum is 0, or NaN.
    let n = max(lanes_sum(lane, count), 1.0);
#else
    let n = f32(params.anchors);
#endif
    if lane == 0u {
        records[0] = n;
        loss[0] = part / n;
        accuracy[0] = hits / f32(params.rows);
    }
}
#endif

#if KIND == 3
@group(0) @binding(0) var<storage, read> records: array<f32>;
@group(0) @binding(1) var<storage, read> dloss: array<f32>;
@group(0) @binding(2) var<storage, read_write> ds: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

const WALK = 16u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let across = (params.cols + 63u) / 64u;
    let g = fold_group(group, groups);
    let j = g % across * 64u + lane;
    let start = g / across * WALK;
    if j >= params.cols {
        return;
    }
    let share = dloss[0] / records[0];
#if ALL == 0
    // What the column has to say is read once for all its rows here.
    var column = vec4(-1.0, -1.0, 0.0, 0.0);
    if params.anchors > params.rows && j < params.rows {
        let at = 1u + (params.rows + j) * WORDS;
        column = vec4(records[at], records[at + 1u], records[at + 2u], records[at + 3u]);
    }
#endif
    for (var i = start; i < min(start + WALK, params.rows); i++) {
#if ALL
        let sum = records[params.head + i * params.cols + j];
#else
        let at = 1u + i * WORDS;
        let v = f32(i);
        let w = f32(j);
        var sum = select(0.0, records[at + 2u], records[at] == w) + select(0.0, records[at + 3u], records[at + 1u] == w);
        sum += select(0.0, column.z, column.x == v) + select(0.0, column.w, column.y == v);
#endif
        ds[i * params.cols + j] = share * sum;
    }
}
#endif
