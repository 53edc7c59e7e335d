// Graphs of nearest neighbours in a batch of B graphs of up to K nodes: node i of graph b is row b K + i, of which the first counts[b] exist.
// Into each node go edges from the min(S, counts[b] - 1) nodes of its graph nearest to it, nearest first; of equals the lower number first.
// A place that is no number is farther than any other. Edges are sorted by target without a gap, so that where a graph's edges begin follows from
// the counts alone, by target and by source alike. Slots beyond the last edge get 0xffffffff.
//
// KIND 0 starts     starts[b] = edges of the graphs before b, b <= B            bindings: counts [B], starts [B + 1], params
// KIND 1 select     offsets [B K + 1], sources, targets [B K S] and delta [B K S, 2] = place of the source less that of the target (0 in slots
//                   without an edge)   bindings: positions [B, K, 2], counts, starts, offsets, sources, targets, delta, params
//                   All candidates pass by SLOTS at a time: those kept lie sorted in registers; more neighbours take more rounds.
// KIND 2 transpose  back offsets [B K + 1], back edges [B K S]: of its graph's edges each node counts those out of nodes before it, then writes its own
//                   bindings: counts, starts, sources, back_offsets, back_edges, params
// Dispatch: KIND 0 one group of 256; KIND 1 and 2 one invocation a node, groups of 64; with LANES a group is one subgroup of 8, nodes of one graph, which
// load a candidate each and spread them by broadcast; folded. Workgroup memory: KIND 0 1 KiB, else none.
// Loops take four or eight at a time: Mesa's software adapter ends an invocation's loops, without a word, after 65,535 turns in all.
#import fold
#import eights

const EMPTY = 0xffffffffu;

struct Params {
    batch: u32, // B
    k: u32,     // K
    near: u32,  // S
    slots: u32, // B K S
}

// Edges into each node of a graph of `count`.
fn degree(count: u32) -> u32 {
    return min(params.near, max(min(count, params.k), 1u) - 1u);
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> starts: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

fn edges_of(b: u32) -> u32 {
    let count = min(counts[b], params.k);
    return count * degree(count);
}

var<workgroup> sums: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    let run = (params.batch + 255u) / 256u;
    let first = min(lane * run, params.batch);
    let last = min(first + run, params.batch);
    var sum = 0u;
    for (var b = first; b < last; b += 4u) {
        #for q in 0..4
        if b + ${q}u < last {
            sum += edges_of(b + ${q}u);
        }
        #endfor
    }
    sums[lane] = sum;
    workgroupBarrier();
    var at = 0u;
    for (var l = 0u; l < lane; l++) {
        at += sums[l];
    }
    for (var b = first; b < last; b += 4u) {
        #for q in 0..4
        if b + ${q}u < last {
            starts[b + ${q}u] = at;
            at += edges_of(b + ${q}u);
        }
        #endfor
    }
    if lane == 255u {
        starts[params.batch] = at;
    }
}
#else

#if KIND == 1
@group(0) @binding(0) var<storage, read> positions: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> sources: array<u32>;
@group(0) @binding(5) var<storage, read_write> targets: array<u32>;
@group(0) @binding(6) var<storage, read_write> delta: array<vec2<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

// Squared distances as integers of the same order. Bits alone: fast modes take every float for a number.
fn key_of(d: vec2<f32>) -> u32 {
    let bits = bitcast<u32>(dot(d, d)) & 0x7fffffffu;
    return min(bits, 0x7f800001u);
}
#else
@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> sources: array<u32>;
@group(0) @binding(3) var<storage, read_write> back_offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> back_edges: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;
#endif

@compute @workgroup_size(${64 - 56 * LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = row_and_place(group, groups, lane, params.k);
    let b = at.x;
    let i = at.y;
    if b >= params.batch {
        return;
    }
    let node = b * params.k + i;
    // LANES: those beyond the graph's rows go along, because the others need what they load.
    let present = i < params.k;
    let count = min(counts[b], params.k);
    let near = degree(count);
    let begin = starts[b];
    let all = starts[params.batch];
    let base = b * params.k;
#if KIND == 1
    let mine = positions[base + min(i, params.k - 1u)];
    if present {
        offsets[node] = begin + min(i, count) * near;
        if node == params.batch * params.k - 1u {
            offsets[node + 1u] = all;
        }
        for (var s = max(node * params.near, all); s < (node + 1u) * params.near; s++) {
            sources[s] = EMPTY;
            targets[s] = EMPTY;
            delta[s] = vec2(0.0);
        }
    }
    // Candidates up to (last_key, next_id - 1) have their edges already.
    var last_key = 0u;
    var next_id = 0u;
    for (var done = 0u; done < near; done += ${SLOTS}u) {
        #for t in 0..SLOTS
        var key${t} = EMPTY;
        var id${t} = EMPTY;
        #endfor
        for (var j0 = 0u; j0 < count; j0 += 8u) {
            #if LANES
            let loaded = positions[base + min(j0 + lane, count - 1u)];
            #endif
            #for l in 0..8
            {
                let j = j0 + ${l}u;
                #if LANES
                let place = subgroupBroadcast(loaded, ${l}u);
                #else
                let place = positions[base + min(j, count - 1u)];
                #endif
                let own_key = key_of(place - mine);
                let gone = own_key < last_key || (own_key == last_key && j < next_id);
                let key = select(own_key, EMPTY, gone || j == i || j >= count);
                // Equals stay behind those that came before them.
                if key < key${SLOTS - 1} {
                    #for back in 1..SLOTS
                    id${SLOTS - back} = select(select(id${SLOTS - back}, j, key < key${SLOTS - back}), id${SLOTS - back - 1}, key < key${SLOTS - back - 1});
                    key${SLOTS - back} = select(select(key${SLOTS - back}, key, key < key${SLOTS - back}), key${SLOTS - back - 1}, key < key${SLOTS - back - 1});
                    #endfor
                    id0 = select(id0, j, key < key0);
                    key0 = min(key, key0);
                }
            }
            #endfor
        }
        if present && i < count {
            #for t in 0..SLOTS
            if done + ${t}u < near {
                let slot = begin + i * near + done + ${t}u;
                let source = base + min(id${t}, count - 1u);
                sources[slot] = source;
                targets[slot] = node;
                delta[slot] = positions[source] - mine;
            }
            #endfor
        }
        last_key = key${SLOTS - 1};
        next_id = id${SLOTS - 1} + 1u;
    }
#else
    if present {
        for (var s = max(node * params.near, all); s < (node + 1u) * params.near; s++) {
            back_edges[s] = EMPTY;
        }
    }
    // Edges out of nodes before this one come before its own.
    let edges = count * near;
    var next = begin;
    for (var e0 = 0u; e0 < edges; e0 += 8u) {
        #if LANES
        let loaded = sources[begin + min(e0 + lane, edges - 1u)];
        #endif
        #for l in 0..8
        {
            #if LANES
            let source = subgroupBroadcast(loaded, ${l}u);
            #else
            let source = sources[begin + min(e0 + ${l}u, edges - 1u)];
            #endif
            next += select(0u, 1u, source < node && e0 + ${l}u < edges);
        }
        #endfor
    }
    if present {
        back_offsets[node] = next;
        if node == params.batch * params.k - 1u {
            back_offsets[node + 1u] = all;
        }
    }
    for (var e0 = 0u; e0 < edges; e0 += 8u) {
        #if LANES
        let loaded = sources[begin + min(e0 + lane, edges - 1u)];
        #endif
        #for l in 0..8
        {
            #if LANES
            let source = subgroupBroadcast(loaded, ${l}u);
            #else
            let source = sources[begin + min(e0 + ${l}u, edges - 1u)];
            #endif
            if present && source == node && e0 + ${l}u < edges {
                back_edges[next] = begin + e0 + ${l}u;
                next++;
            }
        }
        #endfor
    }
#endif
}
#endif
