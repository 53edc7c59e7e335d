// Message passing over the edges of a graph, sorted by target (CSR), and the gradients over the same edges sorted by source.
// Edge e goes from row sources[e] to row targets[e]; the edges into target i are offsets[i] .. offsets[i + 1], those out of source j are
// order[k] for k in back offsets[j] .. [j + 1]. Every sum runs over its edges in that order: no atomics, the same bits each time.
//
// KIND 0 reduce  y[i, f] = the sum over a segment's edges e of a value, for N segments; 0 where there is none. Forms:
//   sum            x[row(e), f]
//   MEAN           the same over their number
//   MAX            the greatest, the first of equals, NaN above all; winner[i, f] = e (0xffffffff where there is none)
//   WEIGHTED       w[e, h] x[row(e), f], h = f / D; EDGE: w[e, h] (x[row(e), f] + z[e, f])
//   DEGREES        x[row(e), f] / (degrees[row(e) + 1] - degrees[row(e)]): the gradient of MEAN
//   WINNERS        x[row(e), f] where winners[row(e), f] = e, else 0: the gradient of MAX
//   The k-th edge of a segment is e = k, ORDER: order[k]; row(e) = index[e], ROWS: e itself (the gradient of a gather).
//   bindings: x [rows, F], w [E, H] if WEIGHTED, z [E, F] if EDGE, winners [rows, F] if WINNERS, degrees [rows + 1] if DEGREES, offsets [N + 1],
//   order [E] if ORDER, index [E] if not ROWS, owner [E] if HUB, partial [slices, 2, F] (and MAX: of winners) if PARTS, y [N, F],
//   winner [N, F] if MAX, params.
//   A segment of more edges than a slice is a hub. HUB: a first pass over slices of `slice` edges, in which one or two hubs can have a
//   share: slice s leaves sums of the share of the segment that owns its first edge in y[s, 0] and of the one that owns its last edge,
//   if another, in y[s, 1] (winners likewise). PARTS: the pass over segments then adds up a hub's partial sums in order, so no
//   invocation ever walks more edges than a slice.
// KIND 1 spread  y[e, f] = x[index[e], f], WEIGHTED: w[e, h] x[index[e], f]; 0 where index[e] is no row   bindings: x, w, index, y [E, F], params
// KIND 2 dots    dw[e, h] = <dy[targets[e], h, :], x[sources[e], h, :] (+ z[e, h, :] if EDGE)>, 0 in empty slots
//                bindings: dy [N, F], x [M, F], z [E, F] if EDGE, targets, sources, dw [E, H], params
//   LANES 8: eight invocations an edge and head, their sums added up in workgroup memory.
// KIND 3 edge sum  y[e, f] = LeakyReLU(to[targets[e], f] + x[sources[e], f] + z[e, f]) by `slope`, 0 in empty slots
//                bindings: to [N, F], x [M, F], z [E, F], targets, sources, y [E, F], params
//   BACKWARD     dz[e, f] = dy[e, f], times `slope` where y is not above 0 (slope > 0: there the sum was not); 0 in empty slots
//                bindings: y [E, F], dy [E, F], targets, sources, dz [E, F], params
// Dispatch: KIND 0, 1 and 3 `lanes` invocations a segment, slice or edge, each for up to COLS columns `lanes` apart; KIND 2 LANES an edge and head;
// in groups of 64, folded. Variant: VEC (1 or 4) with T and U; counts are of T. UNROLL edges are loaded at once.
// Workgroup memory: KIND 2 with LANES 8: 256 bytes, else none.
#import fold

alias V = ${T};
#if VEC == 4
alias B = vec4<bool>;
#else
alias B = bool;
#endif

struct Params {
    total: u32,   // invocations
    lanes: u32,   // invocations a segment, slice or edge
    columns: u32, // F / VEC
    n: u32,       // segments; KIND 2: rows of dy
    rows: u32,    // rows of x
    slots: u32,   // E
    head: u32,    // D / VEC
    heads: u32,   // H
    slice: u32,   // edges a slice
    slope: f32,
}

#if KIND == 0
alias U = ${U};
const EMPTY = 0xffffffffu;

@group(0) @binding(0) var<storage, read> x: array<V>;
#if WEIGHTED
@group(0) @binding(1) var<storage, read> w: array<f32>;
#endif
#if EDGE
@group(0) @binding(2) var<storage, read> z: array<V>;
#endif
#if WINNERS
@group(0) @binding(1) var<storage, read> winners: array<U>;
#endif
#if DEGREES
@group(0) @binding(1) var<storage, read> degrees: array<u32>;
#endif
@group(0) @binding(${BASE}) var<storage, read> offsets: array<u32>;
#if ORDER
@group(0) @binding(${BASE + 1}) var<storage, read> order: array<u32>;
#endif
#if !ROWS
@group(0) @binding(${BASE + 1 + ORDER}) var<storage, read> index: array<u32>;
#endif
#if HUB
@group(0) @binding(${OUT - 1}) var<storage, read> owner: array<u32>;
#endif
#if PARTS
@group(0) @binding(${OUT - 1 - MAX}) var<storage, read> partial: array<V>;
#if MAX
@group(0) @binding(${OUT - 1}) var<storage, read> partial_winner: array<U>;
#endif
#endif
@group(0) @binding(${OUT}) var<storage, read_write> y: array<V>;
#if MAX
@group(0) @binding(${OUT + 1}) var<storage, read_write> winner: array<U>;
#endif
@group(0) @binding(${OUT + 1 + MAX}) var<uniform> params: Params;

#if MAX
// By bits: fast modes take every float for a number.
fn no_number(v: V) -> B {
    return (bitcast<U>(v) & U(0x7fffffffu)) > U(0x7f800000u);
}

fn wins(v: V, best: V, holder: U) -> B {
    return (v > best) | (holder == U(EMPTY)) | (no_number(v) & !no_number(best));
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let columns = params.columns;
    let slots = params.slots;
    let unit = i / params.lanes;
    let c = i - unit * params.lanes;
    // Columns beyond the last read it and write nothing.
    #for t in 0..COLS
    let col${t} = min(c + ${t}u * params.lanes, columns - 1u);
    #if WEIGHTED
    let head${t} = col${t} / params.head;
    #endif
    #endfor
#if HUB
    let first = unit * params.slice;
    let all = min(offsets[params.n], slots);
    if first >= all {
        return;
    }
    let last = min(first + params.slice, all);
#endif
    for (var side = 0u; side < ${1 + HUB}u; side++) {
#if HUB
        let at = select(first, last - 1u, side == 1u);
    #if ORDER
        let node = min(owner[min(order[at], slots - 1u)], params.n - 1u);
    #else
        let node = min(owner[at], params.n - 1u);
    #endif
#else
        let node = unit;
#endif
        let low = min(offsets[node], slots);
        let high = min(offsets[node + 1u], slots);
        #for t in 0..COLS
        var acc${t} = V(0.0);
        #if MAX
        var win${t} = U(EMPTY);
        #endif
        #endfor
#if HUB
        if high <= low + params.slice || (side == 1u && low <= first) {
            continue;
        }
        var k = max(low, first);
        let end = min(high, last);
#else
        var k = low;
        let end = high;
    #if PARTS
        if high > low + params.slice {
            for (var s = low / params.slice; s * params.slice < high; s++) {
                let at = (2u * s + select(1u, 0u, s * params.slice >= low)) * columns;
                #for t in 0..COLS
                #if MAX
                {
                    let v = partial[at + col${t}];
                    let take = wins(v, acc${t}, win${t});
                    acc${t} = select(acc${t}, v, take);
                    win${t} = select(win${t}, partial_winner[at + col${t}], take);
                }
                #else
                acc${t} += partial[at + col${t}];
                #endif
                #endfor
            }
            k = end;
        }
    #endif
#endif
        // UNROLL edges at a time, so that their loads do not wait for each other; then one by one.
        #for part in (UNROLL == 1)..2
        for (; k + ${(UNROLL - 1) * (part == 0)}u < end; k += ${1 + (UNROLL - 1) * (part == 0)}u) {
            #for q in 0..1 + (UNROLL - 1) * (part == 0)
            #if ORDER
            let e${q} = min(order[k + ${q}u], slots - 1u);
            #else
            let e${q} = k + ${q}u;
            #endif
            #if ROWS
            let row${q} = e${q};
            #else
            let row${q} = min(index[e${q}], params.rows - 1u);
            #endif
            #if DEGREES
            let share${q} = 1.0 / f32(max(degrees[row${q} + 1u] - degrees[row${q}], 1u));
            #endif
            #for t in 0..COLS
            let v${q}_${t} = x[row${q} * columns + col${t}];
            #if WEIGHTED
            let w${q}_${t} = w[e${q} * params.heads + head${t}];
            #endif
            #if EDGE
            let z${q}_${t} = z[e${q} * columns + col${t}];
            #endif
            #if WINNERS
            let o${q}_${t} = winners[row${q} * columns + col${t}];
            #endif
            #endfor
            #endfor
            #for q in 0..1 + (UNROLL - 1) * (part == 0)
            #for t in 0..COLS
            #if MAX
            let take${q}_${t} = wins(v${q}_${t}, acc${t}, win${t});
            acc${t} = select(acc${t}, v${q}_${t}, take${q}_${t});
            win${t} = select(win${t}, U(e${q}), take${q}_${t});
            #else
            #if WEIGHTED
            #if EDGE
            acc${t} += w${q}_${t} * (v${q}_${t} + z${q}_${t});
            #else
            acc${t} += w${q}_${t} * v${q}_${t};
            #endif
            #else
            #if DEGREES
            acc${t} += share${q} * v${q}_${t};
            #else
            #if WINNERS
            acc${t} += select(V(0.0), v${q}_${t}, o${q}_${t} == U(e${q}));
            #else
            acc${t} += v${q}_${t};
            #endif
            #endif
            #endif
            #endif
            #endfor
            #endfor
        }
        #endfor
#if HUB
        let out = (2u * unit + side) * columns;
#else
        let out = node * columns;
#endif
        #for t in 0..COLS
        if c + ${t}u * params.lanes < columns {
            #if MEAN && !HUB
            y[out + col${t}] = acc${t} / f32(max(high - low, 1u));
            #else
            y[out + col${t}] = acc${t};
            #endif
            #if MAX
            winner[out + col${t}] = win${t};
            #endif
        }
        #endfor
    }
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> x: array<V>;
#if WEIGHTED
@group(0) @binding(1) var<storage, read> w: array<f32>;
#endif
@group(0) @binding(${1 + WEIGHTED}) var<storage, read> index: array<u32>;
@group(0) @binding(${2 + WEIGHTED}) var<storage, read_write> y: array<V>;
@group(0) @binding(${3 + WEIGHTED}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let e = i / params.lanes;
    let c = i - e * params.lanes;
    let columns = params.columns;
    let at = index[e];
    let live = at < params.rows;
    let row = min(at, params.rows - 1u) * columns;
    #for t in 0..COLS
    let col${t} = c + ${t}u * params.lanes;
    if col${t} < columns {
        #if WEIGHTED
        let v = w[e * params.heads + col${t} / params.head] * x[row + col${t}];
        #else
        let v = x[row + col${t}];
        #endif
        y[e * columns + col${t}] = select(V(0.0), v, live);
    }
    #endfor
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> dy: array<V>;
@group(0) @binding(1) var<storage, read> x: array<V>;
#if EDGE
@group(0) @binding(2) var<storage, read> z: array<V>;
#endif
@group(0) @binding(${2 + EDGE}) var<storage, read> targets: array<u32>;
@group(0) @binding(${3 + EDGE}) var<storage, read> sources: array<u32>;
@group(0) @binding(${4 + EDGE}) var<storage, read_write> dw: array<f32>;
@group(0) @binding(${5 + EDGE}) var<uniform> params: Params;

fn product(a: V, b: V) -> f32 {
#if VEC == 4
    return dot(a, b);
#else
    return a * b;
#endif
}

#if LANES > 1
var<workgroup> parts: array<f32, 64>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    let pairs = params.slots * params.heads;
    let pair = min(i / ${LANES}u, pairs - 1u);
    let e = pair / params.heads;
    let h = pair - e * params.heads;
    let row = targets[e];
    let source = sources[e];
    let live = row < params.n && source < params.rows;
    let a = min(row, params.n - 1u) * params.columns + h * params.head;
    let b = min(source, params.rows - 1u) * params.columns + h * params.head;
    #if EDGE
    let d = e * params.columns + h * params.head;
    #endif
    var sum = 0.0;
    for (var c = lane % ${LANES}u; c < params.head; c += ${LANES}u) {
        #if EDGE
        sum += product(dy[a + c], x[b + c] + z[d + c]);
        #else
        sum += product(dy[a + c], x[b + c]);
        #endif
    }
#if LANES > 1
    parts[lane] = sum;
    workgroupBarrier();
    if lane % ${LANES}u == 0u && i / ${LANES}u < pairs {
        sum = parts[lane];
        #for q in 1..LANES
        sum += parts[lane + ${q}u];
        #endfor
        dw[pair] = select(0.0, sum, live);
    }
#else
    if i < pairs {
        dw[pair] = select(0.0, sum, live);
    }
#endif
}
#endif

#if KIND == 3
#if BACKWARD
@group(0) @binding(0) var<storage, read> y: array<V>;
@group(0) @binding(1) var<storage, read> dy: array<V>;
#else
@group(0) @binding(0) var<storage, read> to: array<V>;
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read> z: array<V>;
#endif
@group(0) @binding(${3 - BACKWARD}) var<storage, read> targets: array<u32>;
@group(0) @binding(${4 - BACKWARD}) var<storage, read> sources: array<u32>;
@group(0) @binding(${5 - BACKWARD}) var<storage, read_write> out: array<V>;
@group(0) @binding(${6 - BACKWARD}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let e = i / params.lanes;
    let c = i - e * params.lanes;
    let columns = params.columns;
    let target_row = targets[e];
    let source = sources[e];
    let live = target_row < params.n && source < params.rows;
    #if !BACKWARD
    let a = min(target_row, params.n - 1u) * columns;
    let b = min(source, params.rows - 1u) * columns;
    #endif
    #for t in 0..COLS
    let col${t} = c + ${t}u * params.lanes;
    if col${t} < columns {
        let at = e * columns + col${t};
        #if BACKWARD
        let v = dy[at] * select(V(params.slope), V(1.0), y[at] > V(0.0));
        #else
        let s = to[a + col${t}] + x[b + col${t}] + z[at];
        let v = select(params.slope * s, s, s > V(0.0));
        #endif
        out[at] = select(V(0.0), v, live);
    }
    #endfor
}
#endif
