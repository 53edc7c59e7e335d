// Matrix product c = op(a) op(b), where BIAS + bias [N] in each row: op is the transpose where TA / TB is set.
//   op(a) [M, K], op(b) [K, N], c [M, N], all row-major; a is stored [K, M] where TA, b [N, K] where TB.
//
// KIND 0 tiled: TILE x TILE outputs a group of THREADS invocations (PER x PER each), inner tiles of DEPTH in workgroup memory, the loop over
//   them unrolled where UNROLL; any size. Dispatch: row tiles * column tiles, folded. Workgroup memory 2 DEPTH (TILE + 4) * 4 bytes.
// KIND 1 lanes (K % 4 == 0, N % 4 == 0, M % 4 == 0 where TA): one subgroup of LANES a group; the lanes load the ROWS rows' next four inner
//   indices of a, a vec4 each, and all get them by subgroupBroadcast; each lane owns COLUMNS fours of columns of ROWS rows (a multiple of LANES,
//   where TA of 16, LANES at most 16). Dispatch: row blocks * column blocks, folded. No workgroup memory, no barrier.
//   PAIRS (COLUMNS 2, N % 8 == 0, f32, not TB): a lane's columns are neighbours, and b is loaded two f32 at once (lib/pairs).
// KIND 2 narrow: one invocation an output, in groups of 64, folded; where a tile would be mostly empty. No workgroup memory.
// KIND 3 cooperative (HALF): KIND 0's tiles in f16, multiplied as matrices of SIDE x SIDE by subgroups of LANES (lib/cooperative). Any size.
// HALF: factors are rounded to f16; sums are f32.
// A, B: f32 or f16, how a and b are stored.
// Rows come in runs of `run` (all of them, or a multiple of the group's rows; KIND 2 takes one run alone): b is [M / run, K, N], each run's own one after the other.
// A dispatch sums the inner indices first .. last; where first is not 0, onto what c holds: Mesa's software adapter ends an invocation's
// loops, without a word, once they have turned 65,535 times in all.
#import fold

struct Params {
    m: u32,
    n: u32,
    k: u32,
    groups: u32,
    first: u32, // KIND 1: in fours
    last: u32,
    run: u32,
}

#if KIND == 1
@group(0) @binding(0) var<storage, read> a: array<vec4<${A}>>;
    #if PAIRS
@group(0) @binding(1) var<storage, read> b: array<vec4<u64>>;
    #else
@group(0) @binding(1) var<storage, read> b: array<vec4<${B}>>;
    #endif
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;
    #if BIAS
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
    #endif
#else
@group(0) @binding(0) var<storage, read> a: array<${A}>;
@group(0) @binding(1) var<storage, read> b: array<${B}>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
    #if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
    #endif
#endif
@group(0) @binding(${3 + BIAS}) var<uniform> params: Params;

#if KIND == 0 || KIND == 3
    #if KIND == 0
#import tile
    #else
#import cooperative

fn put(at: u32, column: u32, v: f32) {
    if params.first > 0u {
        c[at] += v;
    } else {
        #if BIAS
        c[at] = v + bias[column];
        #else
        c[at] = v;
        #endif
    }
}
    #endif

@compute @workgroup_size(THREADS)
#if KIND == 3
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) member: u32,
) {
#else
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
#endif
    // fold_group, in place: naga takes what a function returns for different in each invocation, and cooperative matrices must not be used then.
    let linear = group.x + group.y * groups.x;
    if linear >= params.groups {
        return;
    }
    let column_tiles = (params.n + TILE - 1u) / TILE;
    let column0 = (linear % column_tiles) * TILE;
    let row0 = (linear / column_tiles) * TILE;
    let own_b = row0 / params.run * (params.k * params.n);
    #if KIND == 3
    #include cooperative_begin
    #else
    let ty = lane / ${TILE / PER}u;
    let tx = lane % ${TILE / PER}u;
        #for v in 0..PER/4
    let own_column${v} = column0 + tx * 4u + ${4 * TILE / PER * v}u;
            #if BIAS
                #for c in 0..4
    let begin${v}_${c} = bias[min(own_column${v} + ${c}u, params.n - 1u)];
                #endfor
            #endif
        #endfor
        #for r in 0..PER
    let own_row${r} = row0 + ty * 4u + ${r / 4 * 4 * TILE / PER + r % 4}u;
            #for v in 0..PER/4
                #if BIAS
    var acc${r}_${v} = vec4<f32>(begin${v}_0, begin${v}_1, begin${v}_2, begin${v}_3);
                #else
    var acc${r}_${v} = vec4<f32>(0.0);
                #endif
            #endfor
        #endfor
    if params.first > 0u {
        #for r in 0..PER
        if own_row${r} < params.m {
            #for c in 0..PER
            if own_column${c / 4} + ${c % 4}u < params.n {
                acc${r}_${c / 4}[${c % 4}] = c[own_row${r} * params.n + own_column${c / 4} + ${c % 4}u];
            }
            #endfor
        }
        #endfor
    }
    #endif
    for (var k0 = params.first; k0 < params.last; k0 += DEPTH) {
        #for s in 0..TILE*DEPTH/THREADS
        {
            // Neighbouring invocations read neighbouring memory.
            let e = lane + ${s * THREADS}u;
            #if TA
            let ar = e % TILE;
            let ak = e / TILE;
            let a_at = (k0 + ak) * params.m + row0 + ar;
            #else
            let ar = e / DEPTH;
            let ak = e % DEPTH;
            let a_at = (row0 + ar) * params.k + k0 + ak;
            #endif
            var av = 0.0;
            if row0 + ar < params.m && k0 + ak < params.k {
                av = f32(a[a_at]);
            }
            tile_a[ak * PITCH + ar] = tile_value(av);
            #if TB
            let bc = e / DEPTH;
            let bk = e % DEPTH;
            let b_at = own_b + (column0 + bc) * params.k + k0 + bk;
            #else
            let bc = e % TILE;
            let bk = e / TILE;
            let b_at = own_b + (k0 + bk) * params.n + column0 + bc;
            #endif
            var bv = 0.0;
            if column0 + bc < params.n && k0 + bk < params.k {
                bv = f32(b[b_at]);
            }
            tile_b[bk * PITCH + bc] = tile_value(bv);
        }
        #endfor
        #if KIND == 3
        #include cooperative_multiply
        #else
        #include tile_multiply
        #endif
    }
    #if KIND == 3
    let base = 0u;
    let pitch = params.n;
    let row_end = params.m;
    let column_end = params.n;
    #include cooperative_put
    #else
        #for r in 0..PER
    if own_row${r} < params.m {
            #for c in 0..PER
        if own_column${c / 4} + ${c % 4}u < params.n {
            c[own_row${r} * params.n + own_column${c / 4} + ${c % 4}u] = acc${r}_${c / 4}[${c % 4}];
        }
            #endfor
    }
        #endfor
    #endif
}
#endif
#if KIND == 2
#import factor

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.m * params.n {
        return;
    }
    let row = i / params.n;
    let column = i - row * params.n;
    #if TA
    let a_at = row;
    let a_step = params.m;
    #else
    let a_at = row * params.k;
    let a_step = 1u;
    #endif
    #if TB
    let b_at = column * params.k;
    let b_step = 1u;
    #else
    let b_at = column;
    let b_step = params.n;
    #endif
    #if BIAS
    var sum = bias[column];
    #else
    var sum = 0.0;
    #endif
    if params.first > 0u {
        sum = c[i];
    }
    var p = params.first;
    for (; p + 4u <= params.last; p += 4u) {
        #for q in 0..4
        sum += factor(f32(a[a_at + (p + ${q}u) * a_step])) * factor(f32(b[b_at + (p + ${q}u) * b_step]));
        #endfor
    }
    for (; p < params.last; p++) {
        sum += factor(f32(a[a_at + p * a_step])) * factor(f32(b[b_at + p * b_step]));
    }
    c[i] = sum;
}
#endif
#if KIND == 1
#import factor
    #if PAIRS
#import pairs
    #endif

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    if linear >= params.groups {
        return;
    }
    let k4 = params.k / 4u;
    let n4 = params.n / 4u;
    // Rows run fastest, so that neighbouring groups read the same columns of b.
    let row_blocks = (params.m + u32(ROWS - 1)) / u32(ROWS);
    let first_row = (linear % row_blocks) * u32(ROWS);
    let own_b = first_row / params.run * (params.k * n4);
    #for j in 0..COLUMNS
        #if PAIRS
    let column${j} = (linear / row_blocks) * ${COLUMNS * LANES}u + ${COLUMNS}u * lane + ${j}u;
    let col${j} = min(column${j}, n4 - ${COLUMNS - j}u);
        #else
    let column${j} = (linear / row_blocks) * ${COLUMNS * LANES}u + ${j * LANES}u + lane;
    let col${j} = min(column${j}, n4 - 1u);
        #endif
        #for r in 0..ROWS
            #if BIAS
    var acc${r}_${j} = bias[col${j}];
            #else
    var acc${r}_${j} = vec4<f32>(0.0);
            #endif
        #endfor
    if params.first > 0u && column${j} < n4 {
        #for r in 0..ROWS
        if first_row + ${r}u < params.m {
            acc${r}_${j} = c[(first_row + ${r}u) * n4 + col${j}];
        }
        #endfor
    }
        #if TB
    let bt${j} = own_b + col${j} * params.k;
        #else
    var bi${j} = own_b + col${j} + params.first * params.n;
        #endif
    #endfor
    #if TA
    // The vec4 of four rows at one inner index: lane / 4 of LANES / 4 inner indices, four lane % 4 of sixteen rows.
    let m4 = params.m / 4u;
        #for t in 0..ROWS/16
    var at${t} = (lane / 4u) * m4 + min(first_row / 4u + ${4 * t}u + lane % 4u, m4 - 1u) + params.first * params.m;
        #endfor
    #else
        #for s in 0..ROWS/LANES
    let at${s} = min(first_row + ${s * LANES}u + lane, params.m - 1u) * k4;
        #endfor
    #endif
    for (var k = params.first; k < params.last; k++) {
        #if PAIRS
            #for q in 0..4
        let pairs${q} = b[(bi0 + ${q}u * n4) / 2u];
        let even${q} = factor4(even(pairs${q}));
        let odd${q} = factor4(odd(pairs${q}));
        let b${q}_0 = vec4<f32>(even${q}.x, odd${q}.x, even${q}.y, odd${q}.y);
        let b${q}_1 = vec4<f32>(even${q}.z, odd${q}.z, even${q}.w, odd${q}.w);
            #endfor
        bi0 += params.n;
        #else
            #for j in 0..COLUMNS
                #if TB
                    #for q in 0..4
        let t${q}_${j} = factor4(vec4<f32>(b[bt${j} + ${q}u * k4 + k]));
                    #endfor
                    #for q in 0..4
        let b${q}_${j} = vec4<f32>(t0_${j}[${q}], t1_${j}[${q}], t2_${j}[${q}], t3_${j}[${q}]);
                    #endfor
                #else
                    #for q in 0..4
        let b${q}_${j} = factor4(vec4<f32>(b[bi${j} + ${q}u * n4]));
                    #endfor
        bi${j} += params.n;
                #endif
            #endfor
        #endif
        #if TA
            #for t in 0..ROWS/16
                #for s in 0..16/LANES
        let a${t}_${s} = factor4(vec4<f32>(a[at${t} + ${s * LANES / 4}u * m4]));
                #endfor
        at${t} += params.m;
                #for e in 0..16
        {
            let v = subgroupBroadcast(a${t}_${e / LANES}, ${e % LANES}u);
                    #for j in 0..COLUMNS
                        #for i in 0..4
            acc${16 * t + (e % 4) * 4 + i}_${j} += v[${i}] * b${e / 4}_${j};
                        #endfor
                    #endfor
        }
                #endfor
            #endfor
        #else
            #for s in 0..ROWS/LANES
        let a${s} = factor4(vec4<f32>(a[at${s} + k]));
            #endfor
        #include lane_multiply
        #endif
    }
    #for j in 0..COLUMNS
    if column${j} < n4 {
        #for r in 0..ROWS
        if first_row + ${r}u < params.m {
            c[(first_row + ${r}u) * n4 + col${j}] = acc${r}_${j};
        }
        #endfor
    }
    #endfor
}
#endif
