// The k best database rows for each query: scores of a block, then selection into running lists; or both at once (KIND 8).
//
// Order everywhere: greater score first, the lower id of equals, NaN after all numbers (-0 equals 0), empty slots (id 0xffffffff) last.
// Scores travel as order-preserving u32 keys; all sorting is by (key, id), which no two entries share, so the result is one.
// KIND 0 score   scores[i, j] = <q[q0 + i], x[x0 + j]>, i < nq, j < n        bindings: q [.., d], x [.., d], scores [nq, n], params
//                x: F16 two to a word, else f32. VEC: d is a multiple of 4. BROADCAST (needs VEC): the group is one subgroup of 8, each
//                lane loads rows of its own and one query of every 8, which all get by broadcast; QT queries x 8 RT rows a group. Else 64
//                invocations of QT queries x RT rows each, 8 x 8 of them (1 x 64 where QT is 1).
// KIND 1 select  k <= KP: list[q0 + row * segments + segment] of row's candidates [segment * length, +length) below n, and, unless
//                FRESH, of what the list held.    bindings: scores [nq, n], ids [nq, n] if IDS, list scores, list ids, params
//                id = ids[..] or x0 + column. One group of LANES a list, folded. Candidates that beat the k-th go to workgroup memory
//                in any order (atomic counter); a bitonic sort by (key, id) makes the order one. CHUNK scores are read between barriers.
// KIND 2 load    keys, ids [nq, total]: the running list's k, then the block's n, then empty  bindings: scores, list scores, list ids, keys, ids, params
// KIND 3 sort    one bitonic pass (size, stride) over runs of `run`                              bindings: keys, ids, params
// KIND 4 local   all passes of sizes size..=last with strides below 512, in workgroup memory    bindings: keys, ids, params
// KIND 5 halve   run r = better of run r and run r + half reversed, bitonic, for r + half < runs bindings: keys, ids, params
// KIND 6 store   list = the first k of keys, ids                              bindings: keys, ids, list scores, list ids, params
// KIND 7 clear   list empty: score -infinity, id 0xffffffff                   bindings: list scores, list ids, params
// KIND 8 fused   k <= KP: list[i * segments + segment] = the k best of rows [segment * length, +length) below n for query q0 + i, i < nq, with ids
//                from first_id on. Tiles as KIND 0's (QT > 1), a group going over a segment's rows; scores stay in registers, those that reach the
//                k-th of their list go to workgroup memory with a bit in a mask, and the invocation that owns the query puts them in their places.
//                Nothing below the k-th of list q0 + i of those before is taken.    bindings: q, x, scores before, ids before, list scores, list ids, params
// KIND 9 radix   best keys, ids [nq, run] = the k best of keys, ids [nq, total], in any order, then empty: the k-th is found digit by digit, by
//                counting; first of the keys, then, where not all that equal the k-th are wanted, of the ids. No two elements but empty ones
//                are alike. One group of LANES a query, folded.    bindings: keys, ids, best keys, best ids, params
// Dispatch: KIND 2, 3, 5, 6, 7 one invocation of 64 an element or pair, folded; 4 one group of LANES for each 512 elements.
// Workgroup memory: KIND 1 8 (KP + CAP) + 16 bytes; KIND 4 4 KiB; KIND 8 4.3 KiB; KIND 9 9 KiB.
#import fold

#if KIND == 0 || KIND == 8
struct Params {
    nq: u32,
    n: u32,
    d: u32,
    q0: u32,
    x0: u32,
    k: u32,
    segments: u32,
    length: u32,
    first_id: u32,
}

#if VEC
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
#if F16
@group(0) @binding(1) var<storage, read> x: array<vec2<u32>>;
#else
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
#endif
#else
@group(0) @binding(0) var<storage, read> q: array<f32>;
#if F16
@group(0) @binding(1) var<storage, read> x: array<u32>;
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
#endif
#endif
#if KIND == 0
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#else
@group(0) @binding(2) var<storage, read> scores_before: array<u32>;
@group(0) @binding(3) var<storage, read> ids_before: array<u32>;
@group(0) @binding(4) var<storage, read_write> list_scores: array<u32>;
@group(0) @binding(5) var<storage, read_write> list_ids: array<u32>;
@group(0) @binding(6) var<uniform> params: Params;
#endif

#if VEC
alias V = vec4<f32>;
fn load_x(at: u32) -> V {
#if F16
    let w = x[at];
    return vec4(unpack2x16float(w.x), unpack2x16float(w.y));
#else
    return x[at];
#endif
}
fn product(a: V, b: V) -> f32 {
    return dot(a, b);
}
#else
alias V = f32;
fn load_x(at: u32) -> V {
#if F16
    let w = unpack2x16float(x[at >> 1u]);
    return select(w.x, w.y, (at & 1u) == 1u);
#else
    return x[at];
#endif
}
fn product(a: V, b: V) -> f32 {
    return a * b;
}
#endif

#endif

#if KIND == 0
#if BROADCAST
@compute @workgroup_size(8)
#else
@compute @workgroup_size(64)
#endif
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = fold_group(group, groups);
    // Queries and rows a group covers; neighbouring groups share rows.
#if BROADCAST
    let q_span = ${QT}u;
    let x_span = ${8 * RT}u;
#else
    #if QT == 1
    let q_span = 1u;
    let x_span = ${64 * RT}u;
    #else
    let q_span = ${8 * QT}u;
    let x_span = ${8 * RT}u;
    #endif
#endif
    let q_tiles = (params.nq + q_span - 1u) / q_span;
    let x_tiles = (params.n + x_span - 1u) / x_span;
    if tile >= q_tiles * x_tiles {
        return;
    }
#if BROADCAST
    let first_q = tile % q_tiles * q_span;
    let first_x = tile / q_tiles * x_span + lane;
    let x_step = 8u;
#else
    #if QT == 1
    let first_q = tile % q_tiles;
    let first_x = tile / q_tiles * x_span + lane;
    let x_step = 64u;
    #else
    let first_q = tile % q_tiles * q_span + lane / 8u * ${QT}u;
    let first_x = tile / q_tiles * x_span + lane % 8u;
    let x_step = 8u;
    #endif
#endif
    #include topk_tile
#for g in 0..QT
    if first_q + ${g}u < params.nq {
    #for r in 0..RT
        if first_x + ${r}u * x_step < params.n {
            scores[(first_q + ${g}u) * params.n + first_x + ${r}u * x_step] = a${g}_${r};
        }
    #endfor
    }
#endfor
}
#endif

#if KIND != 0 && KIND != 8
struct Params {
    rows: u32,
    n: u32,
    k: u32,
    q0: u32,
    x0: u32,
    segments: u32,
    length: u32,
    // Large k: elements a row, elements a run (a power of two).
    total: u32,
    run: u32,
    size: u32,
    last: u32,
    runs: u32,
}
#endif

#if KIND != 0
const EMPTY = 0xffffffffu;

// Greater score, greater key; NaN 0. Bits alone: no float comparison that a device could flush or optimise.
fn key_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    let ordered = select(bits | 0x80000000u, ~bits, bits > 0x7fffffffu);
    return select(select(ordered, 0x80000000u, magnitude == 0u), 0u, magnitude > 0x7f800000u);
}

fn bits_of(key: u32, id: u32) -> u32 {
    let number = select(~key, key & 0x7fffffffu, key > 0x7fffffffu);
    return select(number, select(0x7fc00000u, 0xff800000u, id == EMPTY), key == 0u);
}

fn better(a_key: u32, a_id: u32, b_key: u32, b_id: u32) -> bool {
    return a_key > b_key || (a_key == b_key && a_id < b_id);
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> scores: array<u32>;
#if IDS
@group(0) @binding(1) var<storage, read> ids: array<u32>;
#endif
@group(0) @binding(${1 + IDS}) var<storage, read_write> list_scores: array<u32>;
@group(0) @binding(${2 + IDS}) var<storage, read_write> list_ids: array<u32>;
@group(0) @binding(${3 + IDS}) var<uniform> params: Params;

// The list's KP best, sorted, then room for CAP candidates (both powers of two).
var<workgroup> best_key: array<u32, ${KP + CAP}>;
var<workgroup> best_id: array<u32, ${KP + CAP}>;
var<workgroup> count: atomic<u32>;

// One bitonic pass over `all` entries from `base` on.
fn pass_over(lane: u32, base: u32, all: u32, size: u32, stride: u32) {
    for (var p = lane; p < all / 2u; p += ${LANES}u) {
        let at = 2u * p - (p & (stride - 1u));
        let i = base + at;
        let j = i + stride;
        let ki = best_key[i];
        let kj = best_key[j];
        let di = best_id[i];
        let dj = best_id[j];
        if better(kj, dj, ki, di) == ((at & size) == 0u) {
            best_key[i] = kj;
            best_key[j] = ki;
            best_id[i] = dj;
            best_id[j] = di;
        }
    }
    workgroupBarrier();
}

// Merges `found` candidates into the list: sort them; of the list and the reversed candidates the better of each place is the
// best KP of both, and bitonic; one more merge sorts it.
fn merge_in(lane: u32, found: u32) {
    var all = 1u;
    while all < found {
        all = all * 2u;
    }
    for (var i = found + lane; i < max(all, ${KP}u); i += ${LANES}u) {
        best_key[${KP}u + i] = 0u;
        best_id[${KP}u + i] = EMPTY;
    }
    workgroupBarrier();
    for (var size = 2u; size <= all; size = size * 2u) {
        for (var stride = size / 2u; stride > 0u; stride = stride / 2u) {
            pass_over(lane, ${KP}u, all, size, stride);
        }
    }
    for (var i = lane; i < ${KP}u; i += ${LANES}u) {
        let j = ${2 * KP - 1}u - i;
        if better(best_key[j], best_id[j], best_key[i], best_id[i]) {
            best_key[i] = best_key[j];
            best_id[i] = best_id[j];
        }
    }
    workgroupBarrier();
    for (var stride = ${KP / 2}u; stride > 0u; stride = stride / 2u) {
        pass_over(lane, 0u, ${KP}u, ${KP}u, stride);
    }
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = fold_group(group, groups);
    if index >= params.rows * params.segments {
        return;
    }
    let row = index / params.segments;
    let begin = index % params.segments * params.length;
    let end = min(begin + params.length, params.n);
    let list = (params.q0 * params.segments + index) * params.k;
    for (var i = lane; i < ${KP}u; i += ${LANES}u) {
        var key = 0u;
        var id = EMPTY;
#if !FRESH
        if i < params.k {
            id = list_ids[list + i];
            key = select(key_of(list_scores[list + i]), 0u, id == EMPTY);
        }
#endif
        best_key[i] = key;
        best_id[i] = id;
    }
    if lane == 0u {
        atomicStore(&count, 0u);
    }
    workgroupBarrier();
    // The first chunk is small: all of it gets in.
    var chunk = begin;
    var width = ${2 * KP}u;
    while chunk < end {
        let last_key = best_key[params.k - 1u];
        let last_id = best_id[params.k - 1u];
        let stop = min(chunk + width, end);
        for (var i = chunk + lane; i < stop; i += ${LANES}u) {
#if IDS
            let id = ids[row * params.n + i];
            let key = select(key_of(scores[row * params.n + i]), 0u, id == EMPTY);
#else
            let id = params.x0 + i;
            let key = key_of(scores[row * params.n + i]);
#endif
            if key >= last_key {
                if better(key, id, last_key, last_id) {
                    let slot = ${KP}u + atomicAdd(&count, 1u);
                    best_key[slot] = key;
                    best_id[slot] = id;
                }
            }
        }
        workgroupBarrier();
        let found = atomicLoad(&count);
        workgroupBarrier();
        // At most CHUNK more may come. A list's worth is merged at once, because it raises the bar for the rest.
        if found > ${CAP - CHUNK}u || found >= params.k || (stop == end && found > 0u) {
            if lane == 0u {
                atomicStore(&count, 0u);
            }
            merge_in(lane, found);
        }
        chunk = stop;
        width = ${CHUNK}u;
    }
    for (var i = lane; i < params.k; i += ${LANES}u) {
        list_scores[list + i] = bits_of(best_key[i], best_id[i]);
        list_ids[list + i] = best_id[i];
    }
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> scores: array<u32>;
@group(0) @binding(1) var<storage, read> list_scores: array<u32>;
@group(0) @binding(2) var<storage, read> list_ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> keys: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.rows * params.total {
        return;
    }
    let row = at / params.total;
    let i = at % params.total;
    var key = 0u;
    var id = EMPTY;
    if i < params.k {
        let slot = (params.q0 + row) * params.k + i;
        id = list_ids[slot];
        key = select(key_of(list_scores[slot]), 0u, id == EMPTY);
    } else if i - params.k < params.n {
        id = params.x0 + i - params.k;
        key = key_of(scores[row * params.n + i - params.k]);
    }
    keys[at] = key;
    ids[at] = id;
}
#endif

#if KIND == 3 || KIND == 4 || KIND == 5
@group(0) @binding(0) var<storage, read_write> keys: array<u32>;
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;
#endif

#if KIND == 3
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // `n` elements of each row are sorted: the runs still in play. x0 holds the stride.
    let pair = fold_group(group, groups) * 64u + lane;
    if pair >= params.rows * (params.n / 2u) {
        return;
    }
    let p = pair % (params.n / 2u);
    let i = 2u * p - (p & (params.x0 - 1u));
    let a = pair / (params.n / 2u) * params.total + i;
    let b = a + params.x0;
    let forward = (i & (params.run - 1u) & params.size) == 0u;
    let a_key = keys[a];
    let b_key = keys[b];
    let a_id = ids[a];
    let b_id = ids[b];
    if better(b_key, b_id, a_key, a_id) == forward {
        keys[a] = b_key;
        keys[b] = a_key;
        ids[a] = b_id;
        ids[b] = a_id;
    }
}
#endif

#if KIND == 4
var<workgroup> part_key: array<u32, 512>;
var<workgroup> part_id: array<u32, 512>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // `n` elements of each row, rounded up to 512, are sorted.
    let chunk = fold_group(group, groups);
    let chunks = (params.n + 511u) / 512u;
    if chunk >= params.rows * chunks {
        return;
    }
    let start = chunk % chunks * 512u;
    let base = chunk / chunks * params.total + start;
    for (var i = lane; i < 512u; i += ${LANES}u) {
        part_key[i] = keys[base + i];
        part_id[i] = ids[base + i];
    }
    workgroupBarrier();
    for (var size = params.size; size <= params.last; size = size * 2u) {
        for (var stride = min(size / 2u, 256u); stride > 0u; stride = stride / 2u) {
            for (var p = lane; p < 256u; p += ${LANES}u) {
                let i = 2u * p - (p & (stride - 1u));
                let j = i + stride;
                let forward = ((start + i) & (params.run - 1u) & size) == 0u;
                let a_key = part_key[i];
                let b_key = part_key[j];
                let a_id = part_id[i];
                let b_id = part_id[j];
                if better(b_key, b_id, a_key, a_id) == forward {
                    part_key[i] = b_key;
                    part_key[j] = a_key;
                    part_id[i] = b_id;
                    part_id[j] = a_id;
                }
            }
            workgroupBarrier();
        }
    }
    for (var i = lane; i < 512u; i += ${LANES}u) {
        keys[base + i] = part_key[i];
        ids[base + i] = part_id[i];
    }
}
#endif

#if KIND == 5
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // x0 is the number of runs that stay; runs - x0 of them meet a partner.
    let at = fold_group(group, groups) * 64u + lane;
    let each = (params.runs - params.x0) * params.run;
    if at >= params.rows * each {
        return;
    }
    let base = at / each * params.total;
    let i = at % each;
    let a = base + i;
    let b = base + (i / params.run + params.x0) * params.run + params.run - 1u - i % params.run;
    if better(keys[b], ids[b], keys[a], ids[a]) {
        keys[a] = keys[b];
        ids[a] = ids[b];
    }
}
#endif

#if KIND == 6
@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> list_scores: array<u32>;
@group(0) @binding(3) var<storage, read_write> list_ids: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.rows * params.k {
        return;
    }
    let slot = at / params.k * params.total + at % params.k;
    let id = ids[slot];
    list_scores[params.q0 * params.k + at] = bits_of(keys[slot], id);
    list_ids[params.q0 * params.k + at] = id;
}
#endif

#if KIND == 9
@group(0) @binding(0) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> ids: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> best_keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> best_ids: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

const BINS = 2048u;
const OWN = ${2048 / LANES}u; // bins of an invocation
var<workgroup> bins: array<atomic<u32>, BINS>;
var<workgroup> sums: array<u32, LANES>;
// The digit of the k-th; how many elements with it are wanted; how many there are.
var<workgroup> chosen: array<u32, 3>;
var<workgroup> filled: atomic<u32>;

fn clear_bins(lane: u32) {
    for (var i = lane; i < BINS; i += ${LANES}u) {
        atomicStore(&bins[i], 0u);
    }
    workgroupBarrier();
}

// The bin in which the counts from the greatest digit down reach `wanted`.
fn choose(lane: u32, wanted: u32) {
    workgroupBarrier();
    var own = 0u;
    for (var i = 0u; i < OWN; i++) {
        own += atomicLoad(&bins[lane * OWN + i]);
    }
    sums[lane] = own;
    workgroupBarrier();
    var above = 0u;
    for (var other = lane + 1u; other < ${LANES}u; other++) {
        above += sums[other];
    }
    var bin = (lane + 1u) * OWN;
    while above < wanted && bin > lane * OWN {
        bin -= 1u;
        let count = atomicLoad(&bins[bin]);
        if above + count >= wanted {
            chosen[0] = bin;
            chosen[1] = wanted - above;
            chosen[2] = count;
        }
        above += count;
    }
    workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.rows {
        return;
    }
    let begin = row * (params.total / 4u);
    let end = begin + params.total / 4u;
    if lane == 0u {
        atomicStore(&filled, 0u);
    }
    var wanted = params.k;
    // Digits of 11, 11 and 10 bits.
    var key = 0u;
#for p in 0..3
    clear_bins(lane);
    for (var i = begin + lane; i < end; i += ${LANES}u) {
        let v = keys[i];
    #for c in 0..4
        #if p == 0
        atomicAdd(&bins[v[${c}] >> 21u], 1u);
        #else
        if v[${c}] >> ${32 - 11 * p}u == key >> ${32 - 11 * p}u {
            atomicAdd(&bins[(v[${c}] >> ${(2 - p) * 10}u) & ${2047 - p / 2 * 1024}u], 1u);
        }
        #endif
    #endfor
    }
    choose(lane, wanted);
    key |= chosen[0] << ${21 - 11 * p + p / 2}u;
    wanted = chosen[1];
#endfor
    // Lower ids are better: of their complements the greatest are wanted, all of them where as many are wanted as there are.
    var least = 0u;
    var left = workgroupUniformLoad(&chosen[2]) != wanted;
    while left {
        left = false;
#for p in 0..3
        clear_bins(lane);
        for (var i = begin + lane; i < end; i += ${LANES}u) {
            let v = keys[i];
            let w = ~ids[i];
    #for c in 0..4
        #if p == 0
            if v[${c}] == key {
                atomicAdd(&bins[w[${c}] >> 21u], 1u);
            }
        #else
            if v[${c}] == key && w[${c}] >> ${32 - 11 * p}u == least >> ${32 - 11 * p}u {
                atomicAdd(&bins[(w[${c}] >> ${(2 - p) * 10}u) & ${2047 - p / 2 * 1024}u], 1u);
            }
        #endif
    #endfor
        }
        choose(lane, wanted);
        least |= chosen[0] << ${21 - 11 * p + p / 2}u;
        wanted = chosen[1];
#endfor
    }
    for (var i = begin + lane; i < end; i += ${LANES}u) {
        let v = keys[i];
        let w = ids[i];
    #for c in 0..4
        if w[${c}] != EMPTY && (v[${c}] > key || (v[${c}] == key && ~w[${c}] >= least)) {
            let place = atomicAdd(&filled, 1u);
            // Beyond it only where an id came twice.
            if place < params.run {
                best_keys[row * params.run + place] = v[${c}];
                best_ids[row * params.run + place] = w[${c}];
            }
        }
    #endfor
    }
    workgroupBarrier();
    for (var i = atomicLoad(&filled) + lane; i < params.run; i += ${LANES}u) {
        best_keys[row * params.run + i] = 0u;
        best_ids[row * params.run + i] = EMPTY;
    }
}
#endif

#if KIND == 7
@group(0) @binding(0) var<storage, read_write> list_scores: array<u32>;
@group(0) @binding(1) var<storage, read_write> list_ids: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.rows * params.k {
        return;
    }
    list_scores[at] = 0xff800000u;
    list_ids[at] = EMPTY;
}
#endif

#if KIND == 8
// Queries and rows of a tile are 32 each. Of its scores those that reach their list, a bit a row.
var<workgroup> tile_key: array<u32, 1024>;
var<workgroup> reached: array<atomic<u32>, 32>;
// The least key that reaches a query's list. With BROADCAST it lies in register g / 8 of lane g % 8, which owns query g.
#if !BROADCAST
var<workgroup> bar: array<u32, 32>;
#endif

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = fold_group(group, groups);
    let q_tiles = (params.nq + 31u) / 32u;
    // Neighbouring groups share rows.
    let segment = index / q_tiles;
    if segment >= params.segments {
        return;
    }
    let tile_q = index % q_tiles * 32u;
    let begin = segment * params.length;
    let end = min(begin + params.length, params.n);
    // The lists lie in registers of the invocation that owns the query, the best first. Places before the last k hold what nothing beats.
    let unused = ${KP}u - params.k;
#for j in 0..(32 + LANES - 1) / LANES
    #for i in 0..KP
    var key${j}_${i} = select(0u, 0xffffffffu, ${i}u < unused);
    var id${j}_${i} = select(EMPTY, 0u, ${i}u < unused);
    #endfor
    let own${j} = min(lane + ${j * LANES}u, 31u);
    let before${j} = (params.q0 + min(tile_q + own${j}, params.nq - 1u) + 1u) * params.k - 1u;
    var bar${j} = select(key_of(scores_before[before${j}]), 0u, ids_before[before${j}] == EMPTY);
    atomicStore(&reached[own${j}], 0u);
#endfor
#if BROADCAST
    let first_q = tile_q;
    let own_q = 0u;
#else
    if lane < 32u {
        bar[lane] = bar0;
    }
    let own_q = lane / 8u * ${QT}u;
    let first_q = tile_q + own_q;
#endif
    let own_row = lane % 8u;
    let x_step = 8u;
    workgroupBarrier();
    for (var at = begin; at < end; at += 32u) {
        let first_x = at + own_row;
        #include topk_tile
#for r in 0..RT
        let there${r} = first_x + ${8 * r}u < end;
#endfor
#for h in 0..QT / 4
        {
            var some = false;
    #for g in 4 * h..4 * h + 4
        #if BROADCAST
            let least${g} = subgroupBroadcast(bar${g / 8}, ${g % 8}u);
        #else
            let least${g} = bar[own_q + ${g}u];
        #endif
        #for r in 0..RT
            let key${g}_${r} = key_of(bitcast<u32>(a${g}_${r}));
            // An equal key may still lose by its id.
            let in${g}_${r} = there${r} & (key${g}_${r} >= least${g});
            some = some | in${g}_${r};
        #endfor
    #endfor
            // Where an `if` runs both its sides under a mask, as on llvmpipe, only a loop passes by what is seldom needed.
            while some {
                some = false;
    #for g in 4 * h..4 * h + 4
        #for r in 0..RT
                if in${g}_${r} {
                    tile_key[(own_q + ${g}u) * 32u + own_row + ${8 * r}u] = key${g}_${r};
                    atomicOr(&reached[own_q + ${g}u], 1u << (own_row + ${8 * r}u));
                }
        #endfor
    #endfor
            }
        }
#endfor
        workgroupBarrier();
#if LANES > 32
        if lane < 32u {
#endif
#for j in 0..(32 + LANES - 1) / LANES
            var left${j} = atomicLoad(&reached[own${j}]);
            atomicStore(&reached[own${j}], 0u);
            while left${j} != 0u {
                let row = firstTrailingBit(left${j});
                left${j} = left${j} & (left${j} - 1u);
                var key = tile_key[own${j} * 32u + row];
                var id = params.first_id + at + row;
    #for i in 0..KP
                let first${i} = better(key, id, key${j}_${i}, id${j}_${i});
                let old_key${i} = key${j}_${i};
                let old_id${i} = id${j}_${i};
                key${j}_${i} = select(old_key${i}, key, first${i});
                id${j}_${i} = select(old_id${i}, id, first${i});
                key = select(key, old_key${i}, first${i});
                id = select(id, old_id${i}, first${i});
    #endfor
                bar${j} = max(bar${j}, key${j}_${KP - 1});
            }
#endfor
#if LANES > 32
            bar[lane] = bar0;
        }
#endif
        workgroupBarrier();
    }
#for j in 0..(32 + LANES - 1) / LANES
    if lane < 32u && tile_q + own${j} < params.nq {
        let list${j} = ((tile_q + own${j}) * params.segments + segment) * params.k - unused;
    #for i in 0..KP
        if ${i}u >= unused {
            list_scores[list${j} + ${i}u] = bits_of(key${j}_${i}, id${j}_${i});
            list_ids[list${j} + ${i}u] = id${j}_${i};
        }
    #endfor
    }
#endfor
}
#endif
