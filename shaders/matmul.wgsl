// Matrix product c = op(a) op(b): op is the transpose where TA / TB is set.
//   op(a) [M, K], op(b) [K, N], c [M, N], all row-major; a is stored [K, M] where TA, b [N, K] where TB.
//
// KIND 0 tiled: 64 x 64 outputs a group of 256 invocations (4 x 4 each), inner tiles of 16 in workgroup memory; any size.
//   Dispatch: row tiles * column tiles, folded. Workgroup memory 2 * 16 * 68 * 4 = 8,704 bytes.
// KIND 1 lanes (K % 4 == 0, N % 4 == 0, M % 4 == 0 where TA; LANES 8, ROWS 16): one subgroup of LANES a group; the lanes load the
//   ROWS rows' next four inner indices of a, a vec4 each, and all get them by subgroupBroadcast; each lane owns 4 columns of ROWS rows.
//   No workgroup memory, no barrier.
// KIND 2 narrow: one invocation an output, in groups of 64, folded; where a tile would be mostly empty. No workgroup memory.
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
}

#if KIND == 1
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
#endif
@group(0) @binding(3) var<uniform> params: Params;

#if KIND == 0
#import tile

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    if linear >= params.groups {
        return;
    }
    let column_tiles = (params.n + TILE - 1u) / TILE;
    let column0 = (linear % column_tiles) * TILE;
    let row0 = (linear / column_tiles) * TILE;
    let ty = lane / 16u;
    let tx = lane % 16u;
    #for r in 0..4
    var acc${r} = vec4<f32>(0.0);
    #endfor
    if params.first > 0u {
        #for r in 0..4
        if row0 + ty * 4u + ${r}u < params.m {
            #for q in 0..4
            if column0 + tx * 4u + ${q}u < params.n {
                acc${r}[${q}] = c[(row0 + ty * 4u + ${r}u) * params.n + column0 + tx * 4u + ${q}u];
            }
            #endfor
        }
        #endfor
    }
    for (var k0 = params.first; k0 < params.last; k0 += DEPTH) {
        #for s in 0..4
        {
            // Neighbouring invocations read neighbouring memory.
            let e = lane + ${s * 256}u;
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
                av = a[a_at];
            }
            tile_a[ak * PITCH + ar] = av;
            #if TB
            let bc = e / DEPTH;
            let bk = e % DEPTH;
            let b_at = (column0 + bc) * params.k + k0 + bk;
            #else
            let bc = e % TILE;
            let bk = e / TILE;
            let b_at = (k0 + bk) * params.n + column0 + bc;
            #endif
            var bv = 0.0;
            if column0 + bc < params.n && k0 + bk < params.k {
                bv = b[b_at];
            }
            tile_b[bk * PITCH + bc] = bv;
        }
        #endfor
        #include tile_multiply
    }
    #for r in 0..4
    if row0 + ty * 4u + ${r}u < params.m {
        #for q in 0..4
        if column0 + tx * 4u + ${q}u < params.n {
            c[(row0 + ty * 4u + ${r}u) * params.n + column0 + tx * 4u + ${q}u] = acc${r}[${q}];
        }
        #endfor
    }
    #endfor
}
#endif
#if KIND == 2
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
    var sum = 0.0;
    if params.first > 0u {
        sum = c[i];
    }
    var p = params.first;
    for (; p + 4u <= params.last; p += 4u) {
        #for q in 0..4
        sum += a[a_at + (p + ${q}u) * a_step] * b[b_at + (p + ${q}u) * b_step];
        #endfor
    }
    for (; p < params.last; p++) {
        sum += a[a_at + p * a_step] * b[b_at + p * b_step];
    }
    c[i] = sum;
}
#endif
#if KIND == 1
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
    let column = (linear / row_blocks) * u32(LANES) + lane;
    let col = min(column, n4 - 1u);
    #for r in 0..ROWS
    var acc${r} = vec4<f32>(0.0);
    #endfor
    if params.first > 0u && column < n4 {
        #for r in 0..ROWS
        if first_row + ${r}u < params.m {
            acc${r} = c[(first_row + ${r}u) * n4 + col];
        }
        #endfor
    }
    #if TA
    // The vec4 of four rows at one inner index: inner index s * LANES / 4 + lane / 4 of the next four, rows lane % 4 of the ROWS / 4 fours.
    let m4 = params.m / 4u;
    var ai = (lane / 4u) * m4 + min(first_row / 4u + lane % 4u, m4 - 1u) + params.first * params.m;
    #else
    #for s in 0..ROWS/LANES
    let at${s} = min(first_row + ${s * LANES}u + lane, params.m - 1u) * k4;
    #endfor
    #endif
    #if TB
    let bt = col * params.k;
    #else
    var bi = col + params.first * params.n;
    #endif
    for (var k = params.first; k < params.last; k++) {
        #if TB
        #for q in 0..4
        let t${q} = b[bt + ${q}u * k4 + k];
        #endfor
        #for q in 0..4
        let b${q} = vec4<f32>(t0[${q}], t1[${q}], t2[${q}], t3[${q}]);
        #endfor
        #else
        #for q in 0..4
        let b${q} = b[bi + ${q}u * n4];
        #endfor
        bi += params.n;
        #endif
        #if TA
        #for s in 0..2
        let a${s} = a[ai + ${2 * s}u * m4];
        #endfor
        ai += params.m;
        #for e in 0..16
        {
            let v = subgroupBroadcast(a${e / 8}, ${e % 8}u);
            #for i in 0..4
            acc${(e % 4) * 4 + i} += v[${i}] * b${e / 4};
            #endfor
        }
        #endfor
        #else
        #for s in 0..ROWS/LANES
        let a${s} = a[at${s} + k];
        #endfor
            #include lane_multiply
        #endif
    }
    if column < n4 {
        #for r in 0..ROWS
        if first_row + ${r}u < params.m {
            c[(first_row + ${r}u) * n4 + col] = acc${r};
        }
        #endfor
    }
}
#endif
