// The k best database rows for each query: scores of a block, then selection into running lists.
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
// Dispatch: KIND 2, 3, 5, 6, 7 one invocation of 64 an element or pair, folded; 4 one group of LANES for each 512 elements.
// Workgroup memory: KIND 1 8 (KP + CAP) + 16 bytes; KIND 4 4 KiB.
#import fold

#if KIND == 0
struct Params {
    nq: u32,
    n: u32,
    d: u32,
    q0: u32,
    x0: u32,
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
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

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
#if VEC
    let steps = params.d / 4u;
#else
    let steps = params.d;
#endif
#for r in 0..RT
    let x${r} = (params.x0 + min(first_x + ${r}u * x_step, params.n - 1u)) * steps;
#endfor
#if BROADCAST
    #for g in 0..(QT + 7) / 8
    let q${g} = (params.q0 + min(first_q + ${8 * g}u + lane, params.nq - 1u)) * steps;
    #endfor
#else
    #for g in 0..QT
    let q${g} = (params.q0 + min(first_q + ${g}u, params.nq - 1u)) * steps;
    #endfor
#endif
#for g in 0..QT
    #for r in 0..RT
    var a${g}_${r} = 0.0;
    #endfor
#endfor
    for (var k = 0u; k < steps; k++) {
#for r in 0..RT
        let v${r} = load_x(x${r} + k);
#endfor
#if BROADCAST
    #for g in 0..(QT + 7) / 8
        let u${g} = q[q${g} + k];
    #endfor
    #for g in 0..QT
        let b${g} = subgroupBroadcast(u${g / 8}, ${g % 8}u);
        #for r in 0..RT
        a${g}_${r} += product(b${g}, v${r});
        #endfor
    #endfor
#else
    #for g in 0..QT
        let b${g} = q[q${g} + k];
        #for r in 0..RT
        a${g}_${r} += product(b${g}, v${r});
        #endfor
    #endfor
#endif
    }
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
#else

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
#endif
