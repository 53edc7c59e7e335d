// Non-maximum suppression: of B rows of N boxes those whose overlap with a box of greater score that is kept, of their row and group, does not
// exceed `iou`. A box of greater score comes first, of equals the one of the lower index (kernels::topk sorts).
//
// Sorted boxes are taken by blocks of 1,024: which of a block overlap is a matrix of bits, a walk over it in order finds those kept, and they
// strike out what lies behind the block. So memory grows with N, and work with N times the boxes that are kept.
// Overlap: common > iou * (a + b - common), true of no two empty boxes; products by lib/overlap.
//
// KIND 0 order     sorted [B, N] = boxes by score; marks [B, N] = (group, 1 where the box is out: its score not above `least`, or no number in it);
//                  kept [B, K] = none, count [B] = 0
//                  bindings: boxes [B, N], groups [B, N], scores [B, N] and ids [B, N] sorted, sorted, marks, kept, count, params
// KIND 1 overlaps  bits [B, 1024, 32]: bit t of word w of row i = box `start` + i overlaps box `start` + 32 w + t, which comes later; rows of boxes
//                  that are out, and words before a row's own, are not written    bindings: sorted, marks, bits, params
// KIND 2 walk      32 boxes at a time: kept and count go on, until there are K; list [B, 1024] and list_groups [B, 1025] = the block's kept boxes
//                  and, last, their number     bindings: sorted, marks, ids, bits, kept, count, list, list_groups, params
// KIND 3 strike    marks of the boxes from `start` on: out where one of the list overlaps  bindings: sorted, list, list_groups, marks, params
// Dispatch: KIND 0 one invocation a box, KIND 1 one for a row's word, KIND 3 one for a box from `start` on, in groups of 64; with LANES a group is one
// subgroup of 8, of one row of B, which load a box each and spread them by broadcast; KIND 2 one group of WALKERS a row of B; folded.
// Workgroup memory: KIND 2 144 bytes, else none.
#import fold
#import eights

const NONE = 0xffffffffu;
const BLOCK = 1024u;
const WORDS = 32u;

struct Params {
    batch: u32, // B
    n: u32,     // N
    k: u32,     // K
    start: u32, // first box of a block; KIND 3: first behind it
    size: u32,  // boxes from `start` on that a dispatch is for; KIND 1 and 2: up to whole words
    iou: f32,
    least: f32,
    ones: u32,
}

#if KIND != 0 && KIND != 2
#import overlap

fn overlaps(a: vec4<f32>, b: vec4<f32>) -> bool {
    let both = common_area(a, b);
    return both > rounded(params.iou * (area_of(a) + area_of(b) - both));
}
#endif

#if KIND == 0
#import nan
@group(0) @binding(0) var<storage, read> boxes: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> groups_in: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> sorted: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> marks: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> kept: array<u32>;
@group(0) @binding(7) var<storage, read_write> count: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

// Infinite or NaN, by its bits.
fn not_finite(v: vec4<f32>) -> bool {
    return any((bitcast<vec4<u32>>(v) & vec4(0x7f800000u)) == vec4(0x7f800000u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i < params.batch * params.k {
        kept[i] = NONE;
    }
    if i < params.batch {
        count[i] = 0u;
    }
    if i < params.batch * params.n {
        let origin = i / params.n * params.n + min(ids[i], params.n - 1u);
        let box = boxes[origin];
        let score = scores[i];
        sorted[i] = box;
        marks[i] = vec2<u32>(groups_in[origin], select(1u, 0u, !is_nan(score) && score > params.least && !not_finite(box)));
    }
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> sorted: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> marks: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> bits: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(${64 - 56 * LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Rows lie next to one another, so that those of a subgroup share a word.
    let item = fold_group(group, groups) * ${64 - 56 * LANES}u + lane;
    let words = params.size / 32u;
    let row = item % params.size;
    let word = item / params.size % words;
    let image = item / (params.size * words);
    if image >= params.batch || word < row / 32u {
        return;
    }
    let base = image * params.n;
    let last = params.n - 1u;
    let at = base + min(params.start + row, last);
    let box = sorted[at];
    let mark = marks[at];
    // Rows of boxes that are out are read by none; they lie at the end, so whole subgroups leave.
    #if LANES
    if subgroupAll(mark.y != 0u) {
    #else
    if mark.y != 0u {
    #endif
        return;
    }
    var out = 0u;
    for (var t = 0u; t < 32u; t += 8u) {
        let first = params.start + 32u * word + t;
    #if LANES
        let other = base + min(first + lane, last);
        let loaded = sorted[other];
        let loaded_mark = marks[other];
    #endif
    #for l in 0..8
        {
    #if LANES
            let b = subgroupBroadcast(loaded, ${l}u);
            let m = subgroupBroadcast(loaded_mark, ${l}u);
    #else
            let b = sorted[base + min(first + ${l}u, last)];
            let m = marks[base + min(first + ${l}u, last)];
    #endif
            let hit = m.x == mark.x && first + ${l}u > params.start + row && overlaps(box, b);
            out |= select(0u, 1u << (t + ${l}u), hit);
        }
    #endfor
    }
    if mark.y == 0u && params.start + row <= last {
        bits[(image * BLOCK + row) * WORDS + word] = out;
    }
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> sorted: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> marks: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read> bits: array<u32>;
@group(0) @binding(4) var<storage, read_write> kept: array<u32>;
@group(0) @binding(5) var<storage, read_write> count: array<u32>;
@group(0) @binding(6) var<storage, read_write> list: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> list_groups: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

// What is out of the block, a bit a box.
var<workgroup> gone: array<u32, 32>;

@compute @workgroup_size(${WALKERS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let image = fold_group(group, groups);
    if image >= params.batch {
        return;
    }
    let base = image * params.n;
    let last = params.n - 1u;
    let words = params.size / 32u;
    for (var w = lane; w < words; w += ${WALKERS}u) {
        var out = 0u;
    #for t in 0..32
        {
            let at = params.start + 32u * w + ${t}u;
            out |= select(0u, 1u << ${t}u, at > last || marks[base + min(at, last)].y != 0u);
        }
    #endfor
        gone[w] = out;
    }
    let before = count[image];
    workgroupBarrier();
    var total = before;
    for (var tile = 0u; tile < words; tile++) {
        // Every lane walks the same 32 boxes.
        let first = (image * BLOCK + 32u * tile) * WORDS;
        let begun = total;
        var out = gone[tile];
        var stay = 0u;
    #for t in 0..32
        if (out & (1u << ${t}u)) == 0u && total < params.k {
            stay |= 1u << ${t}u;
            out |= bits[first + ${t}u * WORDS + tile];
            total += 1u;
        }
    #endfor
        for (var t = lane; t < 32u; t += ${WALKERS}u) {
            if (stay & (1u << t)) != 0u {
                let place = begun + countOneBits(stay & ((1u << t) - 1u));
                let at = base + params.start + 32u * tile + t;
                kept[image * params.k + place] = ids[at];
                list[image * BLOCK + place - before] = sorted[at];
                list_groups[image * (BLOCK + 1u) + place - before] = marks[at].x;
            }
        }
        for (var w = lane; w < words; w += ${WALKERS}u) {
            if w > tile {
                var struck = gone[w];
    #for t in 0..32
                if (stay & (1u << ${t}u)) != 0u {
                    struck |= bits[first + ${t}u * WORDS + w];
                }
    #endfor
                gone[w] = struck;
            }
        }
        workgroupBarrier();
    }
    if lane == 0u {
        count[image] = total;
        list_groups[image * (BLOCK + 1u) + BLOCK] = total - before;
    }
}
#endif

#if KIND == 3
@group(0) @binding(0) var<storage, read> sorted: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> list: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> list_groups: array<u32>;
@group(0) @binding(3) var<storage, read_write> marks: array<vec2<u32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(${64 - 56 * LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let spot = row_and_place(group, groups, lane, params.size);
    let image = spot.x;
    let place = spot.y;
    if image >= params.batch {
        return;
    }
    // Lanes beyond the last box go along, because the others need what they load.
    let at = image * params.n + min(params.start + place, params.n - 1u);
    let box = sorted[at];
    let mark = marks[at];
    let listed = list_groups[image * (BLOCK + 1u) + BLOCK];
    let boxes = image * BLOCK;
    let box_groups = image * (BLOCK + 1u);
    var out = mark.y != 0u;
    #if LANES
    for (var t = 0u; t < listed && !subgroupAll(out); t += 8u) {
        let own = min(t + lane, listed - 1u);
        let loaded = list[boxes + own];
        let loaded_group = list_groups[box_groups + own];
    #for l in 0..8
        {
            // Beyond the last: that one again.
            let b = subgroupBroadcast(loaded, ${l}u);
            let g = subgroupBroadcast(loaded_group, ${l}u);
            out = out || (g == mark.x && overlaps(b, box));
        }
    #endfor
    }
    #else
    for (var t = 0u; t < listed && !out; t += 8u) {
    #for l in 0..8
        {
            let entry = min(t + ${l}u, listed - 1u);
            out = out || (list_groups[box_groups + entry] == mark.x && overlaps(list[boxes + entry], box));
        }
    #endfor
    }
    #endif
    if place < params.size && out && mark.y == 0u {
        marks[at].y = 1u;
    }
}
#endif
