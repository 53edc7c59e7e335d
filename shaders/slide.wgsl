// Feature grids slid over each other: a row of D values is a grid of G x G squares with C channels, flattened. Shift s of
// S = (2 REACH + 1)^2 lays square p of the one upon square p + d of the other, d = (s mod (2 REACH + 1), s / (2 REACH + 1)) - REACH; n(s)
// squares overlap, f(s) = G^2 / n(s).
//
// KIND 0  correlate  scores[r, s] = f(s) sum over the overlap of q[owners[r], p] . c[r, p + d]; 0 where the owner is none of the Q
//                    bindings: q [Q, D], c [R, D], owners [R], scores [R, S], params
//         An invocation has the shifts of DOWN of the 2 REACH + 1 dy of a row, their sums in registers: along a line each square of c, once
//         loaded, meets the squares of q around it.
// Below, each row of q has T candidates, of which row q T + k of c [Q T, D] is the k-th, with s = shifts[q T + k]; what is not below S counts
// as the middle one, no shift. y [Q (T + 1), D] has a row more for each, of "none", which is 0.
// KIND 1  common             y[q (T + 1) + k, p] = f(s) q[q, p] c[q T + k, p + d]; 0 where p + d is outside   bindings: q, c, shifts, y, params
// KIND 2  its gradient in c  dc[q T + k, p] = f(s) q[q, p - d] dy[q (T + 1) + k, p - d], or 0                 bindings: q, dy, shifts, dc, params
// KIND 3  its gradient in q  dq[q, p] = sum over k of f(s) c[q T + k, p + d] dy[q (T + 1) + k, p]             bindings: c, dy, shifts, dq, params
// Dispatch: KIND 0 one invocation a row and DOWN dy, the others one SPAN groups of channels of a square of the result, in groups of 64, folded.
// Variant: KIND; REACH and DOWN with KIND 0 (DOWN divides 2 REACH + 1), SPAN with the others; VEC (1 or 4) with T; counts are of T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    total: u32,   // invocations
    side: u32,    // G
    columns: u32, // C / VEC
    reach: u32,   // REACH, below G
    queries: u32, // Q
    top: u32,     // T
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> q: array<V>;
@group(0) @binding(1) var<storage, read> c: array<V>;
@group(0) @binding(2) var<storage, read> owners: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
#else
#if KIND == 3
@group(0) @binding(0) var<storage, read> c: array<V>;
#else
@group(0) @binding(0) var<storage, read> q: array<V>;
#endif
#if KIND == 1
@group(0) @binding(1) var<storage, read> c: array<V>;
#else
@group(0) @binding(1) var<storage, read> dy: array<V>;
#endif
@group(0) @binding(2) var<storage, read> shifts: array<u32>;
// y, dc or dq.
@group(0) @binding(3) var<storage, read_write> out: array<V>;
@group(0) @binding(4) var<uniform> params: Params;
#endif

fn share(d: vec2<i32>) -> f32 {
    let side = i32(params.side);
    return f32(side * side) / f32((side - abs(d.x)) * (side - abs(d.y)));
}

#if KIND != 0
// The shift of a row of c.
fn shift(row: u32) -> vec2<i32> {
    let wide = 2u * params.reach + 1u;
    let named = shifts[row];
    let s = select(wide * wide / 2u, named, named < wide * wide);
    return vec2(i32(s % wide), i32(s / wide)) - vec2(i32(params.reach));
}

fn inside(at: vec2<i32>) -> bool {
    return all(at >= vec2(0)) && all(at < vec2(i32(params.side)));
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let side = params.side;
    let columns = params.columns;
    let line = side * columns;
    let size = side * line;
#if KIND == 0
    let row = i / ${(2 * REACH + 1) / DOWN}u;
    // The first dy of this invocation, and the lines of c that are laid upon by any of them.
    let down = (i - row * ${(2 * REACH + 1) / DOWN}u) * ${DOWN}u;
    let dy = i32(down) - ${REACH};
    let first = max(dy, 0);
    let last = i32(side) + min(dy + ${DOWN - 1}, 0);
    let owner = owners[row];
    #for t in 0..DOWN
    #for s in 0..2 * REACH + 1
    var sum${t}_${s} = V(0.0);
    #endfor
    #endfor
    if owner < params.queries {
        for (var j = first; j < last; j++) {
            for (var k = 0u; k < columns; k++) {
                let from_c = row * size + u32(j) * line + k;
                // The squares from REACH to the left of q's to REACH to the right.
                #for s in 0..REACH
                var c${s} = V(0.0);
                #endfor
                #for s in 0..REACH
                var c${REACH + s} = c[from_c + min(${s}u, side - 1u) * columns];
                #endfor
                for (var x = 0u; x < side; x++) {
                    let at = x + ${REACH}u;
                    let c${2 * REACH} = select(V(0.0), c[from_c + min(at, side - 1u) * columns], at < side);
                    #for t in 0..DOWN
                    let j${t} = j - dy - ${t};
                    if j${t} >= 0 && j${t} < i32(side) {
                        let value = q[owner * size + u32(j${t}) * line + x * columns + k];
                        #for s in 0..2 * REACH + 1
                        sum${t}_${s} += value * c${s};
                        #endfor
                    }
                    #endfor
                    #for s in 0..2 * REACH
                    c${s} = c${s + 1};
                    #endfor
                }
            }
        }
    }
    let out = row * ${(2 * REACH + 1) * (2 * REACH + 1)}u + down * ${2 * REACH + 1}u;
    #for t in 0..DOWN
    #for s in 0..2 * REACH + 1
    #if VEC == 4
    scores[out + ${t * (2 * REACH + 1) + s}u] = share(vec2(${s} - ${REACH}, dy + ${t})) * dot(sum${t}_${s}, V(1.0));
    #else
    scores[out + ${t * (2 * REACH + 1) + s}u] = share(vec2(${s} - ${REACH}, dy + ${t})) * sum${t}_${s};
    #endif
    #endfor
    #endfor
#else
    // Row, square and first channels of the result.
    let parts = (columns + ${SPAN - 1}u) / ${SPAN}u;
    let cell = i / parts;
    let part = (i - cell * parts) * ${SPAN}u;
    let end = min(part + ${SPAN}u, columns);
    let row = cell / (side * side);
    let square = cell - row * side * side;
    let v = square / side;
    let p = vec2(i32(square - v * side), i32(v));
    let here = square * columns;
    #if KIND == 1
    let query = row / (params.top + 1u);
    let k = row - query * (params.top + 1u);
    let other = query * params.top + min(k, params.top - 1u);
    let d = shift(other);
    let at = p + d;
    let f = select(0.0, share(d), k < params.top && inside(at));
    let there = u32(at.y) * line + u32(at.x) * columns;
    for (var j = part; j < end; j++) {
        var value = V(0.0);
        if f > 0.0 {
            value = f * q[query * size + here + j] * c[other * size + there + j];
        }
        out[cell * columns + j] = value;
    }
    #endif
    #if KIND == 2
    let query = row / params.top;
    let d = shift(row);
    let at = p - d;
    let f = select(0.0, share(d), inside(at));
    let there = u32(at.y) * line + u32(at.x) * columns;
    for (var j = part; j < end; j++) {
        var value = V(0.0);
        if f > 0.0 {
            value = f * q[query * size + there + j] * dy[(row + query) * size + there + j];
        }
        out[cell * columns + j] = value;
    }
    #endif
    #if KIND == 3
    #for j in 0..SPAN
    var sum${j} = V(0.0);
    #endfor
    for (var k = 0u; k < params.top; k++) {
        let other = row * params.top + k;
        let d = shift(other);
        let at = p + d;
        if inside(at) {
            let f = share(d);
            let in_c = other * size + u32(at.y) * line + u32(at.x) * columns + part;
            let in_dy = (other + row) * size + here + part;
            #for j in 0..SPAN
            if part + ${j}u < columns {
                sum${j} += f * c[in_c + ${j}u] * dy[in_dy + ${j}u];
            }
            #endfor
        }
    }
    #for j in 0..SPAN
    if part + ${j}u < columns {
        out[cell * columns + part + ${j}u] = sum${j};
    }
    #endfor
    #endif
#endif
}
