// The k best of given scores where lists are long: the running list and a block of scores as (key, id), the best of them selected or all
// sorted in runs of k, and the first k stored. Order: lib/keys.
//
// KIND 0 load    keys, ids [nq, total]: the running list's k, then the block's n, then empty  bindings: scores, list scores, list ids, keys, ids, params
// KIND 1 sort    one bitonic pass (size, stride x0) over runs of `run`                            bindings: keys, ids, params
// KIND 2 local   all passes of sizes size..=last with strides below 512, in workgroup memory    bindings: keys, ids, params
// KIND 3 halve   run r = better of run r and run r + half reversed, bitonic, for r + half < runs bindings: keys, ids, params
// KIND 4 store   list = the first k of keys, ids                              bindings: keys, ids, list scores, list ids, params
// KIND 5 radix   best keys, ids [nq, run] = the k best of keys, ids [nq, total], in any order, then empty: the k-th is found digit by digit, by
//                counting; first of the keys, then, where not all that equal the k-th are wanted, of the ids. No two elements but empty ones
//                are alike. One group of LANES a query, folded.    bindings: keys, ids, best keys, best ids, params
// Dispatch: KIND 0, 1, 3, 4 one invocation of 64 an element or pair, folded; 2 one group of LANES for each 512 elements.
// Workgroup memory: KIND 2 4 KiB; KIND 5 9 KiB.
#import fold
#import keys

struct Params {
    rows: u32,
    n: u32,
    k: u32,
    q0: u32,
    x0: u32,
    // Elements a row, elements a run (a power of two).
    total: u32,
    run: u32,
    size: u32,
    last: u32,
    runs: u32,
}

#if KIND == 0
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

#if KIND == 1 || KIND == 2 || KIND == 3
@group(0) @binding(0) var<storage, read_write> keys: array<u32>;
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;
#endif

#if KIND == 1
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

#if KIND == 2
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

#if KIND == 3
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

#if KIND == 4
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

#if KIND == 5
@group(0) @binding(0) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> ids: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> best_keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> best_ids: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

const BINS = 2048u;
const OWN = ${2048 / LANES}u; // bins of an invocation
// Three digits, the greatest first: where each begins, its bits, and those above it.
const SHIFT = array(21u, 10u, 0u);
const DIGIT = array(0x7ffu, 0x7ffu, 0x3ffu);
const ABOVE = array(0u, 0xffe00000u, 0xfffffc00u);
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
    // The k-th key. Of those that equal it, where not all are wanted, the lowest ids are: the greatest complements.
    var key = 0u;
    var least = 0u;
    var left = true;
#for of_ids in 0..2
    #if of_ids
    left = workgroupUniformLoad(&chosen[2]) != wanted;
    #endif
    while left {
        left = false;
    #for p in 0..3
        clear_bins(lane);
        for (var i = begin + lane; i < end; i += ${LANES}u) {
            let v = keys[i];
        #if of_ids
            let w = ~ids[i];
            #for c in 0..4
            if v[${c}] == key && (w[${c}] & ABOVE[${p}]) == least {
                atomicAdd(&bins[(w[${c}] >> SHIFT[${p}]) & DIGIT[${p}]], 1u);
            }
            #endfor
        #else
            #for c in 0..4
            if (v[${c}] & ABOVE[${p}]) == key {
                atomicAdd(&bins[(v[${c}] >> SHIFT[${p}]) & DIGIT[${p}]], 1u);
            }
            #endfor
        #endif
        }
        choose(lane, wanted);
        #if of_ids
        least |= chosen[0] << SHIFT[${p}];
        #else
        key |= chosen[0] << SHIFT[${p}];
        #endif
        wanted = chosen[1];
    #endfor
    }
#endfor
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
