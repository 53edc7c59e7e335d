// Feature grids slid over each other: row r of x and of y is a grid of G x G squares with C channels, flattened. Shift s of S = (2 REACH + 1)^2
// lays square p of one upon square p + d of the other, d = (s mod (2 REACH + 1), s / (2 REACH + 1)) - REACH; n(s) squares overlap.
//
// KIND 0  correlate  scores[r, s] = G^2 / n(s) sum over the overlap of q[owners[r], p] . c[r, p + d]   bindings: q [Q, D], c [R, D], owners [R], scores [R, S], params
//         An invocation has the shifts of one dy, their sums in registers: along a line each square of q meets the 2 REACH + 1 squares
//         of c around it, of which one is new.
// KIND 1  shift      y[r, p] = G^2 / n(s) x[r, p + d], s = shifts[r]; 0 where p + d is outside      bindings: x [R, D], shifts [R], y [R, D], params
//         With BACKWARD from y's gradient that of x: the same with -d.
// A shift that is not below S counts as the middle one, no shift.
// Dispatch: KIND 0 one invocation a row and dy, KIND 1 one a group of channels, in groups of 64, folded. Variant: KIND; REACH with KIND 0, BACKWARD
// with KIND 1; VEC (1 or 4) with T; counts are of T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    total: u32,   // invocations
    side: u32,    // G
    columns: u32, // C / VEC
    reach: u32,   // REACH, below G
    queries: u32, // Q; a row of an owner beyond them is given to the last
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> q: array<V>;
@group(0) @binding(1) var<storage, read> c: array<V>;
@group(0) @binding(2) var<storage, read> owners: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
#else
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> shifts: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif

fn share(d: vec2<i32>) -> f32 {
    let side = i32(params.side);
    return f32(side * side) / f32((side - abs(d.x)) * (side - abs(d.y)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let side = params.side;
    let columns = params.columns;
    let wide = 2u * params.reach + 1u;
    let size = side * side * columns;
#if KIND == 0
    let row = i / ${2 * REACH + 1}u;
    let down = i - row * ${2 * REACH + 1}u;
    let dy = i32(down) - ${REACH};
    let height = side - u32(abs(dy));
    let line = side * columns;
    let start = min(owners[row], params.queries - 1u) * size + u32(max(-dy, 0)) * line;
    let there = row * size + u32(max(dy, 0)) * line;
    #for s in 0..2 * REACH + 1
    var sum${s} = V(0.0);
    #endfor
    for (var j = 0u; j < height; j++) {
        for (var k = 0u; k < columns; k++) {
            let from_q = start + j * line + k;
            let from_c = there + j * line + k;
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
                let value = q[from_q + x * columns];
                #for s in 0..2 * REACH + 1
                sum${s} += value * c${s};
                #endfor
                #for s in 0..2 * REACH
                c${s} = c${s + 1};
                #endfor
            }
        }
    }
    let out = row * ${(2 * REACH + 1) * (2 * REACH + 1)}u + down * ${2 * REACH + 1}u;
    #for s in 0..2 * REACH + 1
    #if VEC == 4
    scores[out + ${s}u] = share(vec2(${s} - ${REACH}, dy)) * dot(sum${s}, V(1.0));
    #else
    scores[out + ${s}u] = share(vec2(${s} - ${REACH}, dy)) * sum${s};
    #endif
    #endfor
#else
    let row = i / size;
    let inner = i - row * size;
    let square = inner / columns;
    let channel = inner - square * columns;
    let named = shifts[row];
    let s = select(2u * params.reach * (params.reach + 1u), named, named < wide * wide);
    #if BACKWARD
    let d = vec2(i32(params.reach)) - vec2(i32(s % wide), i32(s / wide));
    #else
    let d = vec2(i32(s % wide), i32(s / wide)) - vec2(i32(params.reach));
    #endif
    let at = vec2(i32(square % side), i32(square / side)) + d;
    var value = V(0.0);
    if all(at >= vec2(0)) && all(at < vec2(i32(side))) {
        value = share(d) * x[row * size + u32(at.y * i32(side) + at.x) * columns + channel];
    }
    y[i] = value;
#endif
}
