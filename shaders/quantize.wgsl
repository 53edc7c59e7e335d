// Rows as whole numbers of eight bits, and what no product with them can exceed: a first pass over a database reads a half of what f16 takes,
// and a second makes the products of the best again, from the rows themselves.
//
// A row v is kept as scale * w, w whole in -127 .. 127, scale = max |v| / 127. Its statistics are scale, error |v - scale w| and norm |scale w|.
// packed: 16 values a vec4, rows in blocks of 8: vec4 c of row r at ((r / 8) chunks + c) 8 + r % 8, so that neighbours read neighbours, and each the next.
// KIND 0 quantize  packed, stats of rows x [n, d], F16 two to a word, else f32. A row that is not finite gets error 3e38: nothing bounds it.
//                  One group of LANES a row, folded.    bindings: x, packed, stats, params
// KIND 1 bounds    scores[i, j] = an upper bound of <q[q0 + i], x[x0 + j]>, i < nq, j < n: of q = q' + dq and x = x' + dx it is
//                  <q', x'> + |q'| |dx| + |dq| |x'| + |dq| |dx|, and slack (|q'| + |dq|) (|x'| + |dx|) for what f32 rounds.
//                  Groups of 64 invocations, each of RT rows by QT queries, folded.    bindings: packed q, stats q, packed x, stats x, scores, params
// KIND 2 again     scores[i, j] = <q[i], x[ids[i, j] - first_id]> where that is one of the n rows of x; others stay.
//                  One invocation a score, folded.    bindings: q [nq, d], x, ids [nq, k], scores [nq, k], params
// KIND 3 whole     whole[i] = 1 where no row outside the k of greatest bounds can be among the `best` best: the last of these is finite and above
//                  the least of those bounds, or there were fewer rows than k. bindings: bounds [nq, k], ids of them, scores [nq, best], whole [nq], params
#import fold

struct Params {
    nq: u32,
    n: u32,
    d: u32,
    chunks: u32,
    q0: u32,
    x0: u32,
    k: u32,
    best: u32,
    first_id: u32,
    slack: f32,
}

#if KIND == 0
#import lanes
#import rows
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = fold_group(group, groups);
    if row >= params.n {
        return;
    }
    let begin = row * params.d;
    var most = 0.0;
    var odd = 0.0;
    for (var i = lane; i < params.d; i += ${LANES}u) {
        let v = load_x(begin + i);
        // By its bits: to some compilers every number is finite.
        if (bitcast<u32>(v) & 0x7f800000u) == 0x7f800000u {
            odd = 1.0;
        } else {
            most = max(most, abs(v));
        }
    }
    most = lanes_max(lane, most);
    odd = lanes_max(lane, odd);
    // A row of numbers too small to divide by is all error.
    let tiny = most < 1e-30;
    let scale = select(most / 127.0, 1.0, tiny || odd > 0.0);
    // In units of scale, so that no square is too small or too large.
    var error = 0.0;
    var norm = 0.0;
    for (var c = lane; c < params.chunks; c += ${LANES}u) {
        var words: vec4<u32>;
        for (var q = 0u; q < 4u; q++) {
            var word = 0u;
            for (var b = 0u; b < 4u; b++) {
                let i = c * 16u + q * 4u + b;
                if i < params.d && odd == 0.0 {
                    let v = load_x(begin + i);
                    let units = v / scale;
                    let w = round(units);
                    error += (units - w) * (units - w);
                    norm += w * w;
                    word |= (u32(i32(w)) & 0xffu) << (8u * b);
                }
            }
            words[q] = word;
        }
        packed[((row / 8u) * params.chunks + c) * 8u + row % 8u] = words;
    }
    error = sqrt(lanes_sum(lane, error)) * scale;
    norm = min(sqrt(lanes_sum(lane, norm)) * scale, 3e38);
    if lane == 0u {
        let least = select(error, most * sqrt(f32(params.d)), tiny);
        stats[row] = vec4(scale, select(least, 3e38, odd > 0.0), norm, 0.0);
    }
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> packed_q: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> stats_q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> packed_x: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> stats_x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = fold_group(group, groups);
    let q_tiles = (params.nq + ${QT - 1}u) / ${QT}u;
    let first_q = tile % q_tiles * ${QT}u;
    let first_x = tile / q_tiles * ${64 * RT}u + lane;
#for r in 0..RT
    // Past the end the last row stands in.
    let row${r} = params.x0 + min(first_x + ${64 * r}u, params.n - 1u);
    let x_at${r} = (row${r} / 8u) * params.chunks * 8u + row${r} % 8u;
#endfor
#for g in 0..QT
    let query${g} = params.q0 + min(first_q + ${g}u, params.nq - 1u);
    let q_at${g} = (query${g} / 8u) * params.chunks * 8u + query${g} % 8u;
    #for r in 0..RT
    var sum${g}_${r} = 0;
    #endfor
#endfor
    for (var c = 0u; c < params.chunks; c++) {
#for r in 0..RT
        let v${r} = packed_x[x_at${r} + c * 8u];
#endfor
#for g in 0..QT
        {
            let w = packed_q[q_at${g} + c * 8u];
    #for r in 0..RT
            sum${g}_${r} += dot4I8Packed(v${r}.x, w.x) + dot4I8Packed(v${r}.y, w.y) + dot4I8Packed(v${r}.z, w.z) + dot4I8Packed(v${r}.w, w.w);
    #endfor
        }
#endfor
    }
#for r in 0..RT
    if first_x + ${64 * r}u < params.n {
        let of_x = stats_x[row${r}];
    #for g in 0..QT
        if first_q + ${g}u < params.nq {
            let of_q = stats_q[query${g}];
            let off = of_q.z * of_x.y + of_q.y * of_x.z + of_q.y * of_x.y + params.slack * (of_q.z + of_q.y) * (of_x.z + of_x.y);
            let bound = bitcast<u32>((of_q.x * f32(sum${g}_${r})) * of_x.x + off);
            // What is too large to be reckoned bounds nothing: infinity. By its bits: to some compilers nothing is NaN.
            let odd = (bound & 0x7f800000u) == 0x7f800000u;
            scores[(first_q + ${g}u) * params.n + first_x + ${64 * r}u] = bitcast<f32>(select(bound, 0x7f800000u, odd));
        }
    #endfor
    }
#endfor
}
#endif

#if KIND == 2
#import rows
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.nq * params.k {
        return;
    }
    let id = ids[at];
    // Ids below first_id, and the empty one, come out beyond the end.
    let row = id - params.first_id;
    if id < params.first_id || row >= params.n {
        return;
    }
    let query = at / params.k * params.d;
    var sum = 0.0;
    for (var i = 0u; i < params.d; i++) {
        sum += q[query + i] * load_x(row * params.d + i);
    }
    scores[at] = sum;
}
#endif

#if KIND == 3
#import keys
@group(0) @binding(0) var<storage, read> bounds: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read_write> whole: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.nq {
        return;
    }
    let last = (i + 1u) * params.k - 1u;
    let all = ids[last] == EMPTY;
    let least = scores[(i + 1u) * params.best - 1u];
    // A product that is not finite is above no bound.
    let finite = (bitcast<u32>(least) & 0x7f800000u) != 0x7f800000u;
    whole[i] = select(0u, 1u, all || (finite && least > bounds[last]));
}
#endif
