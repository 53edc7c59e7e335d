// The k best of given scores, merged into running lists; k up to KP. Order: lib/keys.
//
// KIND 0 select  list[q0 + row * segments + segment] of row's candidates [segment * length, +length) below n, and, unless
//                FRESH, of what the list held.    bindings: scores [nq, n], ids [nq, n] if IDS, list scores, list ids, params
//                id = ids[..] or x0 + column. One group of LANES a list, folded. Candidates that beat the k-th go to workgroup memory
//                in any order (atomic counter); a bitonic sort by (key, id) makes the order one. CHUNK scores are read between barriers.
// KIND 1 clear   list empty: score -infinity, id 0xffffffff. One invocation of 64 an element, folded.    bindings: list scores, list ids, params
// Workgroup memory: KIND 0 8 (KP + CAP) + 16 bytes.
#import fold
#import keys

struct Params {
    rows: u32,
    n: u32,
    k: u32,
    q0: u32,
    x0: u32,
    segments: u32,
    length: u32,
}

#if KIND == 0
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

#if KIND == 1
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
