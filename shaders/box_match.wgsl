// Boxes held against boxes: intersection over union (IoU), and the assignment of anchors to the boxes of their images by it, without a matrix. The boxes
// of B images are one list, those of image b at starts[b] .. starts[b + 1]. Anchors are A of each image, or, with SHARED, the same A of all.
//
// KIND 0 parts    parts [G, chunks] = the greatest IoU of box g with the anchors of a chunk of its image
//                 bindings: anchors, boxes [G], starts [B + 1], parts, params
// KIND 1 reach    reach [G] = what an anchor's IoU with box g must be to be its best: with BEST the greatest of all, if that is above `least`, else 2, which
//                 none is; -1 for a box that is to be ignored    bindings: parts if BEST, ignored [G], reach, params
// KIND 2 assign   of each anchor rows [B, A] = the box of greatest IoU, the first of equals, overlaps [B, A] = that IoU, labels [B, A]: 1 where it is at
//                 least `high` or reaches a box's `reach`; else 0 where it is below `low` and no box to be ignored covers more than `cover`
//                 of the anchor; else none     bindings: anchors, boxes, starts, reach, rows, overlaps, labels, params
// KIND 3 matrix   out [N, M] = the IoU of boxes a [N] and b [M]    bindings: a, b, out, params
// IoU is common / (a + b - common), 0 of two empty boxes; its products by lib/overlap, so that KIND 0 and KIND 2 find the same.
// Dispatch: KIND 0 one invocation a box and chunk, KIND 2 one an anchor; in groups of 64, or with LANES a group is one subgroup of 8, which load a box each and
// spread them by broadcast; KIND 1 one a box, KIND 3 one a column and 16 rows; in groups of 64; folded. Workgroup memory: none.
// Loops take eight at a time: Mesa's software adapter ends an invocation's loops, without a word, after 65,535 turns in all.
#import fold
#import eights
#import overlap

const NONE = 0xffffffffu;

struct Params {
    images: u32,  // B; KIND 3: N
    anchors: u32, // A; KIND 3: M
    boxes: u32,   // G
    chunk: u32,   // anchors of a chunk
    chunks: u32,
    high: f32,
    low: f32,
    least: f32,
    cover: f32,
    ones: u32,
}

fn iou(a: vec4<f32>, b: vec4<f32>) -> f32 {
    let both = common_area(a, b);
    let all = area_of(a) + area_of(b) - both;
    return select(0.0, both / all, all > 0.0);
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> anchors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> boxes: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(${64 - 56 * LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = row_and_place(group, groups, lane, params.boxes);
    let chunk = at.x;
    let g = at.y;
    if chunk >= params.chunks {
        return;
    }
    let box = boxes[min(g, params.boxes - 1u)];
    let begin = chunk * params.chunk;
    let end = min(begin + params.chunk, params.anchors);
    var image = 0u;
    #if !SHARED
    // Eight at a time; boxes beyond the last image go with it.
    for (var b = 1u; b < params.images; b += 8u) {
        #for l in 0..8
        image += select(0u, 1u, b + ${l}u < params.images && starts[min(b + ${l}u, params.images)] <= g);
        #endfor
    }
    #endif
    var best = 0.0;
    #if LANES
    // The images whose boxes the lanes have; those of others look on.
    let last = subgroupMax(image);
    for (var now = subgroupMin(image); now <= last; now++) {
        let base = now * params.anchors;
        for (var a = begin; a < end; a += 8u) {
            let loaded = anchors[base + min(a + lane, end - 1u)];
        #for l in 0..8
            {
                // Beyond the last: that one again.
                let v = iou(subgroupBroadcast(loaded, ${l}u), box);
                best = select(best, max(best, v), now == image);
            }
        #endfor
        }
    }
    #else
    let base = image * params.anchors;
    for (var a = begin; a < end; a += 8u) {
        #for l in 0..8
        best = max(best, iou(anchors[base + min(a + ${l}u, end - 1u)], box));
        #endfor
    }
    #endif
    if g < params.boxes {
        parts[g * params.chunks + chunk] = best;
    }
}
#endif

#if KIND == 1
    #if BEST
@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> ignored: array<u32>;
@group(0) @binding(2) var<storage, read_write> reach: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
    #else
@group(0) @binding(0) var<storage, read> ignored: array<u32>;
@group(0) @binding(1) var<storage, read_write> reach: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
    #endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = fold_group(group, groups) * 64u + lane;
    if g >= params.boxes {
        return;
    }
    var need = 2.0;
    #if BEST
    var best = 0.0;
    for (var c = 0u; c < params.chunks; c++) {
        best = max(best, parts[g * params.chunks + c]);
    }
    need = select(2.0, best, best > params.least);
    #endif
    reach[g] = select(need, -1.0, ignored[g] != 0u);
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> anchors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> boxes: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> reach: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> overlaps: array<f32>;
@group(0) @binding(6) var<storage, read_write> labels: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(${64 - 56 * LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = row_and_place(group, groups, lane, params.anchors);
    let image = at.x;
    let a = at.y;
    if image >= params.images {
        return;
    }
    let known = min(a, params.anchors - 1u);
    #if SHARED
    let anchor = anchors[known];
    #else
    let anchor = anchors[image * params.anchors + known];
    #endif
    let area = area_of(anchor);
    let begin = min(starts[image], params.boxes);
    let end = min(starts[image + 1u], params.boxes);
    var best = -1.0;
    var row = NONE;
    var reaches = false;
    var covered = false;
    for (var g = begin; g < end; g += 8u) {
    #if LANES
        let loaded = boxes[min(g + lane, end - 1u)];
        let loaded_reach = reach[min(g + lane, end - 1u)];
    #endif
    #for l in 0..8
        {
            // Beyond the last: that one again, which changes nothing.
            let now = min(g + ${l}u, end - 1u);
    #if LANES
            let box = subgroupBroadcast(loaded, ${l}u);
            let need = subgroupBroadcast(loaded_reach, ${l}u);
    #else
            let box = boxes[now];
            let need = reach[now];
    #endif
            let v = iou(anchor, box);
            let real = need >= 0.0;
            let better = real && v > best;
            row = select(row, now, better);
            best = select(best, v, better);
            reaches = reaches || (real && v >= need);
            covered = covered || (!real && common_area(anchor, box) > rounded(params.cover * area));
        }
    #endfor
    }
    if a < params.anchors {
        let to = image * params.anchors + a;
        let positive = best >= params.high || reaches;
        let negative = best < params.low && !covered;
        rows[to] = row;
        overlaps[to] = max(best, 0.0);
        labels[to] = select(select(NONE, 0u, negative), 1u, positive);
    }
}
#endif

#if KIND == 3
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    let strip = i / params.anchors;
    let column = i - strip * params.anchors;
    if strip * 16u >= params.images {
        return;
    }
    let other = b[column];
    for (var row = strip * 16u; row < min(strip * 16u + 16u, params.images); row++) {
        out[row * params.anchors + column] = iou(a[row], other);
    }
}
#endif
