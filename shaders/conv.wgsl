// Convolution as an implicit matrix product, NHWC, any size, stride, padding, dilation and groups.
//
// y[n,oy,ox,co] = act(bias[co] + sum_{ky,kx,ci} x[n, oy*STRIDE + ky*DIL - PAD_Y, ox*STRIDE + kx*DIL - PAD_X, ci] * w[ky,kx,ci,co])
//   x [N, H, W, CI]   y [N, OH, OW, CO]   w [KH*KW, CI/GROUPS, CO]   (co runs over all groups; group g sees channels g*CI/GROUPS ..)
//
// MODE 0 forward:         x, w, bias, y, params         rows (n,oy,ox)   inner (tap, ci)    columns co
// MODE 1 input gradient:  dy, w, dx, params             rows (n,iy,ix)   inner (tap, co)    columns ci
// MODE 2 weight gradient: x, dy, dw [SPLIT][KH*KW*CI/GROUPS][CO], params
//                                                       rows (tap, ci)   inner (n,oy,ox)    columns co; inner split over SPLIT slices
// MODE 3 weight transpose for MODE 1 of the lane variant: w, wt [KH*KW, CO, CI], params
//
// KIND 0 tiled: TILE x TILE outputs a group of THREADS invocations (PER x PER each), inner tiles of DEPTH in workgroup memory, the loop over
//   them unrolled where UNROLL; any shape. Dispatch: row tiles * column tiles * GROUPS (* SPLIT), folded. Workgroup memory 2 DEPTH (TILE + 4) * 4.
// KIND 1 lanes: a group is one subgroup of LANES; each lane loads one row's vec4 and all get it by subgroupBroadcast, each lane
//   owns COLUMNS fours of columns of ROWS rows. No workgroup memory, no barrier. Needs GROUPS 1, CI % 4 == 0, CO % 4 == 0, w transposed
//   for MODE 1. Loads are dear on a CPU adapter: ROWS + 4 LANES COLUMNS of them feed 16 ROWS LANES COLUMNS multiply-adds.
// KIND 3 cooperative (HALF): KIND 0's tiles in f16, multiplied as matrices of SIDE x SIDE by subgroups of LANES (lib/cooperative). Any shape.
// HALF: factors are rounded to f16; sums and bias are f32.
// SRC, WEIGHTS, DST: f32 or f16, how `src`, `weights` (dy in MODE 2) and `dst` are stored.
#import fold

struct Params {
    n: u32,
    groups: u32,   // workgroups that have work
    slice: u32,    // inner indices a slice (MODE 2)
    pad: u32,
}

// KIND 1 loads and stores fours of channels.
#if KIND == 1
alias Src = vec4<${SRC}>;
alias Weights = vec4<${WEIGHTS}>;
alias Bias = vec4<f32>;
alias Dst = vec4<${DST}>;
#else
alias Src = ${SRC};
alias Weights = ${WEIGHTS};
alias Bias = f32;
alias Dst = ${DST};
#endif

// In this order, without gaps: src, weights (not in MODE 3), bias (in MODE 0), dst, params.
@group(0) @binding(0) var<storage, read> src: array<Src>;
#if MODE != 3
@group(0) @binding(1) var<storage, read> weights: array<Weights>;
#endif
#if MODE == 0
@group(0) @binding(2) var<storage, read> bias: array<Bias>;
#endif
@group(0) @binding(${1 + (MODE != 3) + (MODE == 0)}) var<storage, read_write> dst: array<Dst>;
@group(0) @binding(${2 + (MODE != 3) + (MODE == 0)}) var<uniform> params: Params;

const TAPS = KH * KW;
const CIG = CI / GROUPS;
const COG = CO / GROUPS;

#if MODE == 3
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= u32(TAPS * CI * CO) {
        return;
    }
    // i runs over wt: (tap, co, ci).
    let ci = i % u32(CI);
    let co = (i / u32(CI)) % u32(CO);
    let tap = i / u32(CI * CO);
    dst[i] = src[(tap * u32(CI) + ci) * u32(CO) + co];
}
#endif

#if MODE != 3 && KIND != 1
    #if KIND == 0
#import tile
    #else
#import cooperative
    #endif

    #if MODE == 2
fn row_count() -> u32 { return u32(TAPS * CIG); }
fn inner_count() -> u32 { return params.n * u32(OH * OW); }
const COLUMNS = u32(COG);
    #endif
    #if MODE == 0
fn row_count() -> u32 { return params.n * u32(OH * OW); }
fn inner_count() -> u32 { return u32(TAPS * CIG); }
const COLUMNS = u32(COG);
    #endif
    #if MODE == 1
fn row_count() -> u32 { return params.n * u32(H * W); }
fn inner_count() -> u32 { return u32(TAPS * COG); }
const COLUMNS = u32(CIG);
    #endif

fn put(at: u32, channel: u32, sum: f32) {
    var v = sum;
    #if MODE == 0 && BIAS
    v += bias[channel];
    #endif
    #if MODE == 0 && RELU
    v = max(v, 0.0);
    #endif
    dst[at] = ${DST}(v);
}

// x at an output position's tap, zero outside.
fn at_input(n: u32, oy: u32, ox: u32, tap: u32, channel: u32) -> f32 {
    let iy = i32(oy * u32(STRIDE) + (tap / u32(KW)) * u32(DIL)) - PAD_Y;
    let ix = i32(ox * u32(STRIDE) + (tap % u32(KW)) * u32(DIL)) - PAD_X;
    if iy < 0 || iy >= H || ix < 0 || ix >= W {
        return 0.0;
    }
    return f32(src[((n * u32(H) + u32(iy)) * u32(W) + u32(ix)) * u32(CI) + channel]);
}

fn load_a(row: u32, inner: u32, g: u32) -> f32 {
    #if MODE == 0
    let n = row / u32(OH * OW);
    let p = row % u32(OH * OW);
    return at_input(n, p / u32(OW), p % u32(OW), inner / u32(CIG), g * u32(CIG) + inner % u32(CIG));
    #endif
    #if MODE == 2
    let n = inner / u32(OH * OW);
    let p = inner % u32(OH * OW);
    return at_input(n, p / u32(OW), p % u32(OW), row / u32(CIG), g * u32(CIG) + row % u32(CIG));
    #endif
    #if MODE == 1
    let n = row / u32(H * W);
    let p = row % u32(H * W);
    let tap = inner / u32(COG);
    let ty = i32(p / u32(W)) + PAD_Y - i32((tap / u32(KW)) * u32(DIL));
    let tx = i32(p % u32(W)) + PAD_X - i32((tap % u32(KW)) * u32(DIL));
    if ty < 0 || tx < 0 || ty % STRIDE != 0 || tx % STRIDE != 0 || ty / STRIDE >= OH || tx / STRIDE >= OW {
        return 0.0;
    }
    return f32(src[((n * u32(OH) + u32(ty / STRIDE)) * u32(OW) + u32(tx / STRIDE)) * u32(CO) + g * u32(COG) + inner % u32(COG)]);
    #endif
}

fn load_b(inner: u32, column: u32, g: u32) -> f32 {
    #if MODE == 1
    let tap = inner / u32(COG);
    return f32(weights[(tap * u32(CIG) + column) * u32(CO) + g * u32(COG) + inner % u32(COG)]);
    #else
    // w of the forward pass, dy of the weight gradient: both have the inner index first and all output channels last.
    return f32(weights[inner * u32(CO) + g * u32(COG) + column]);
    #endif
}

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
    let rows = row_count();
    let row_tiles = (rows + TILE - 1u) / TILE;
    let column_tiles = (COLUMNS + TILE - 1u) / TILE;
    let column0 = (linear % column_tiles) * TILE;
    let row0 = ((linear / column_tiles) % row_tiles) * TILE;
    let rest = linear / (column_tiles * row_tiles);
    let g = rest % u32(GROUPS);
    #if MODE == 2
    let slice = rest / u32(GROUPS);
    let first = slice * params.slice;
    let last = min(first + params.slice, inner_count());
    #else
    let first = 0u;
    let last = inner_count();
    #endif
    #if KIND == 3
    #include cooperative_begin
    #else
    let ty = lane / ${TILE / PER}u;
    let tx = lane % ${TILE / PER}u;
        #for r in 0..PER
            #for v in 0..PER/4
    var acc${r}_${v} = vec4<f32>(0.0);
            #endfor
        #endfor
    #endif
    for (var k0 = first; k0 < last; k0 += DEPTH) {
        #for s in 0..TILE*DEPTH/THREADS
        {
            // A: DEPTH inner x TILE rows. Neighbouring invocations read neighbouring memory: along the inner index where that is
            // the channel, along the row where that is.
            let e = lane + ${s * THREADS}u;
            #if MODE == 2
            let ar = e % TILE;
            let ak = e / TILE;
            #else
            let ar = e / DEPTH;
            let ak = e % DEPTH;
            #endif
            var a = 0.0;
            if row0 + ar < rows && k0 + ak < last {
                a = load_a(row0 + ar, k0 + ak, g);
            }
            tile_a[ak * PITCH + ar] = tile_value(a);
            #if MODE == 1
            let bc = e / DEPTH;
            let bk = e % DEPTH;
            #else
            let bc = e % TILE;
            let bk = e / TILE;
            #endif
            var b = 0.0;
            if column0 + bc < COLUMNS && k0 + bk < last {
                b = load_b(k0 + bk, column0 + bc, g);
            }
            tile_b[bk * PITCH + bc] = tile_value(b);
        }
        #endfor
        #if KIND == 3
        #include cooperative_multiply
        #else
        #include tile_multiply
        #endif
    }
    // Where the group of channels, and the slice, begin; elements a row.
    #if MODE == 0
    let base = g * u32(COG);
    let pitch = u32(CO);
    #endif
    #if MODE == 1
    let base = g * u32(CIG);
    let pitch = u32(CI);
    #endif
    #if MODE == 2
    let base = slice * rows * u32(CO) + g * u32(COG);
    let pitch = u32(CO);
    #endif
    #if KIND == 3
    let row_end = rows;
    let column_end = COLUMNS;
    #include cooperative_put
    #else
        #for r in 0..PER
    if row0 + ty * 4u + ${r / 4 * 4 * TILE / PER + r % 4}u < rows {
        let row = row0 + ty * 4u + ${r / 4 * 4 * TILE / PER + r % 4}u;
            #for c in 0..PER
        {
            let column = column0 + tx * 4u + ${c / 4 * 4 * TILE / PER + c % 4}u;
            if column < COLUMNS {
                put(base + row * pitch + column, base + column, acc${r}_${c / 4}[${c % 4}]);
            }
        }
            #endfor
    }
        #endfor
    #endif
}
#endif

#if MODE == 0 && KIND == 1
#import factor
const CI4 = CI / 4;
const CO4 = CO / 4;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    if linear >= params.groups {
        return;
    }
    let column_blocks = u32((CO4 + LANES * COLUMNS - 1) / (LANES * COLUMNS));
    let first_row = (linear / column_blocks) * u32(ROWS);
    #for j in 0..COLUMNS
    let column${j} = (linear % column_blocks) * ${LANES * COLUMNS}u + ${j * LANES}u + lane;
    let col${j} = min(column${j}, u32(CO4 - 1));
    #endfor
    let rows = params.n * u32(OH * OW);
    // Each lane is responsible for the addresses of ROWS / LANES rows.
    #for s in 0..ROWS/LANES
    let row${s} = first_row + ${s * LANES}u + lane;
    let in${s} = row${s} < rows;
    let p${s} = min(row${s}, rows - 1u);
    let n${s} = p${s} / u32(OH * OW);
    let q${s} = p${s} % u32(OH * OW);
    let y${s} = i32(q${s} / u32(OW)) * STRIDE - PAD_Y;
    let x${s} = i32(q${s} % u32(OW)) * STRIDE - PAD_X;
    let base${s} = n${s} * u32(H * W);
    #endfor
    #for j in 0..COLUMNS
        #for r in 0..ROWS
    var acc${r}_${j} = vec4<f32>(0.0);
        #endfor
    #endfor
    for (var tap = 0; tap < TAPS; tap++) {
        let ky = (tap / KW) * DIL;
        let kx = (tap % KW) * DIL;
        #for s in 0..ROWS/LANES
        let iy${s} = y${s} + ky;
        let ix${s} = x${s} + kx;
        let ok${s} = in${s} && iy${s} >= 0 && iy${s} < H && ix${s} >= 0 && ix${s} < W;
        let at${s} = select(0u, (base${s} + u32(iy${s} * W + ix${s})) * u32(CI4), ok${s});
        #endfor
        #for j in 0..COLUMNS
        var wi${j} = u32(tap * CI * CO4) + col${j};
        #endfor
        for (var c = 0u; c < u32(CI4); c++) {
            #for s in 0..ROWS/LANES
            let a${s} = factor4(select(vec4<f32>(0.0), vec4<f32>(src[at${s} + c]), ok${s}));
            #endfor
            #for j in 0..COLUMNS
                #for k in 0..4
            let b${k}_${j} = factor4(vec4<f32>(weights[wi${j} + ${k * CO / 4}u]));
                #endfor
            wi${j} += u32(CO);
            #endfor
            #include lane_multiply
        }
    }
    #for j in 0..COLUMNS
    if column${j} < u32(CO4) {
        #if BIAS
        let shift = bias[col${j}];
        #endif
        #for r in 0..ROWS
        if first_row + ${r}u < rows {
            var v = acc${r}_${j};
            #if BIAS
            v += shift;
            #endif
            #if RELU
            v = max(v, vec4<f32>(0.0));
            #endif
            dst[(first_row + ${r}u) * u32(CO4) + col${j}] = vec4<${DST}>(v);
        }
        #endfor
    }
    #endfor
}
#endif

#if MODE == 1 && KIND == 1
#import factor
const CI4 = CI / 4;
const CO4 = CO / 4;

// Rows of one group lie in one residue class of (iy + PAD_Y, ix + PAD_X) modulo STRIDE, so a tap is used by all or by none.
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    if linear >= params.groups {
        return;
    }
    let column_blocks = u32((CI4 + LANES * COLUMNS - 1) / (LANES * COLUMNS));
    #for j in 0..COLUMNS
    let column${j} = (linear % column_blocks) * ${LANES * COLUMNS}u + ${j * LANES}u + lane;
    let col${j} = min(column${j}, u32(CI4 - 1));
    #endfor
    var block = linear / column_blocks;
    var ry = 0;
    var rx = 0;
    var ch = 0u; // extent of the class
    var cw = 0u;
    var found = false;
    for (var cls = 0; cls < STRIDE * STRIDE; cls++) {
        let cy = cls / STRIDE;
        let cx = cls % STRIDE;
        let h = u32((H - cy + STRIDE - 1) / STRIDE);
        let w = u32((W - cx + STRIDE - 1) / STRIDE);
        let blocks = (params.n * h * w + u32(ROWS - 1)) / u32(ROWS);
        if !found {
            if block < blocks {
                found = true;
                ry = cy;
                rx = cx;
                ch = h;
                cw = w;
            } else {
                block -= blocks;
            }
        }
    }
    let rows = params.n * ch * cw;
    let first_row = block * u32(ROWS);
    #for s in 0..ROWS/LANES
    let row${s} = first_row + ${s * LANES}u + lane;
    let in${s} = row${s} < rows;
    let p${s} = min(row${s}, rows - 1u);
    let n${s} = p${s} / (ch * cw);
    let q${s} = p${s} % (ch * cw);
    let y${s} = i32(q${s} / cw) * STRIDE + ry;
    let x${s} = i32(q${s} % cw) * STRIDE + rx;
    let base${s} = n${s} * u32(OH * OW);
    #endfor
    #for j in 0..COLUMNS
        #for r in 0..ROWS
    var acc${r}_${j} = vec4<f32>(0.0);
        #endfor
    #endfor
    for (var tap = 0; tap < TAPS; tap++) {
        let dy = PAD_Y - (tap / KW) * DIL;
        let dx = PAD_X - (tap % KW) * DIL;
        // The uniform test: + a multiple of STRIDE keeps the remainder non-negative.
        if (ry + dy + STRIDE * KH * DIL) % STRIDE == 0 && (rx + dx + STRIDE * KW * DIL) % STRIDE == 0 {
            #for s in 0..ROWS/LANES
            let ty${s} = y${s} + dy;
            let tx${s} = x${s} + dx;
            let ok${s} = in${s} && ty${s} >= 0 && ty${s} < OH * STRIDE && tx${s} >= 0 && tx${s} < OW * STRIDE;
            let at${s} = select(0u, (base${s} + u32((ty${s} / STRIDE) * OW + tx${s} / STRIDE)) * u32(CO4), ok${s});
            #endfor
            #for j in 0..COLUMNS
            var wi${j} = u32(tap * CO * CI4) + col${j};
            #endfor
            for (var c = 0u; c < u32(CO4); c++) {
                #for s in 0..ROWS/LANES
                let a${s} = factor4(select(vec4<f32>(0.0), vec4<f32>(src[at${s} + c]), ok${s}));
                #endfor
                #for j in 0..COLUMNS
                    #for k in 0..4
                let b${k}_${j} = factor4(vec4<f32>(weights[wi${j} + ${k * CI / 4}u]));
                    #endfor
                wi${j} += u32(CI);
                #endfor
            #include lane_multiply
            }
        }
    }
    // Class position back to the image: the address of the row is its lane's; every lane needs all of them.
    #for s in 0..ROWS/LANES
    let out${s} = (n${s} * u32(H) + u32(y${s})) * u32(W) + u32(x${s});
    #endfor
    #for r in 0..ROWS
    {
        let position = subgroupBroadcast(out${r / LANES}, ${r % LANES}u);
        #for j in 0..COLUMNS
        if column${j} < u32(CI4) && first_row + ${r}u < rows {
            dst[position * u32(CI4) + col${j}] = vec4<${DST}>(acc${r}_${j});
        }
        #endfor
    }
    #endfor
}
#endif

#if MODE == 2 && KIND == 1
#import factor
const CI4 = CI / 4;
const CO4 = CO / 4;
const CHUNKS = TAPS * CI / 4; // vec4s of rows (tap, ci)

// ROWS are sixteens, each 4 vec4 chunks of (tap, ci): each lane loads one chunk of one of LANES / 4 pixels.
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    if linear >= params.groups {
        return;
    }
    let column_blocks = u32((CO4 + LANES * COLUMNS - 1) / (LANES * COLUMNS));
    let row_blocks = u32((CHUNKS + ROWS / 4 - 1) / (ROWS / 4));
    #for j in 0..COLUMNS
    let column${j} = (linear % column_blocks) * ${LANES * COLUMNS}u + ${j * LANES}u + lane;
    let col${j} = min(column${j}, u32(CO4 - 1));
    #endfor
    let first_chunk = ((linear / column_blocks) % row_blocks) * ${ROWS / 4}u;
    let slice = linear / (column_blocks * row_blocks);
    let pixels = params.n * u32(OH * OW);
    let first = slice * params.slice;
    let last = min(first + params.slice, pixels);
    #for t in 0..ROWS/16
    let own_chunk${t} = min(first_chunk + ${4 * t}u + lane % 4u, u32(CHUNKS - 1));
    let tap${t} = i32(own_chunk${t} / u32(CI4));
    let c${t} = own_chunk${t} % u32(CI4);
    let ky${t} = (tap${t} / KW) * DIL - PAD_Y;
    let kx${t} = (tap${t} % KW) * DIL - PAD_X;
    #endfor
    // The lane's pixel, kept as (n * H rows, oy, ox) and moved on without divisions where a row is long enough.
    var pixel = first + lane / 4u;
    var plane = (pixel / u32(OH * OW)) * u32(H);
    var oy = i32((pixel % u32(OH * OW)) / u32(OW));
    var ox = i32(pixel % u32(OW));
    #for j in 0..COLUMNS
        #for r in 0..ROWS
    var acc${r}_${j} = vec4<f32>(0.0);
        #endfor
    #endfor
    for (var p = first; p < last; p += u32(LANES / 4)) {
        #for t in 0..ROWS/16
        let iy${t} = oy * STRIDE + ky${t};
        let ix${t} = ox * STRIDE + kx${t};
        let ok${t} = pixel < last && iy${t} >= 0 && iy${t} < H && ix${t} >= 0 && ix${t} < W;
        let at${t} = select(0u, ((plane + u32(iy${t})) * u32(W) + u32(ix${t})) * u32(CI4) + c${t}, ok${t});
        let a${t} = factor4(select(vec4<f32>(0.0), vec4<f32>(src[at${t}]), ok${t}));
        #endfor
        #for s in 0..LANES/4
        {
            // Past the end the factor is zero: any address in range will do.
            #for j in 0..COLUMNS
            let b${j} = factor4(vec4<f32>(weights[min(p + ${s}u, pixels - 1u) * u32(CO4) + col${j}]));
            #endfor
            #for t in 0..ROWS/16
                #for q in 0..4
            {
                let v = subgroupBroadcast(a${t}, ${s * 4 + q}u);
                    #for j in 0..COLUMNS
                        #for i in 0..4
                acc${16 * t + q * 4 + i}_${j} += v[${i}] * b${j};
                        #endfor
                    #endfor
            }
                #endfor
            #endfor
        }
        #endfor
        pixel += u32(LANES / 4);
        #if OW >= LANES / 4
        ox += LANES / 4;
        let wrap = ox >= OW;
        ox = select(ox, ox - OW, wrap);
        oy = select(oy, oy + 1, wrap);
        let turn = oy >= OH;
        oy = select(oy, 0, turn);
        plane = select(plane, plane + u32(H), turn);
        #else
        plane = (pixel / u32(OH * OW)) * u32(H);
        oy = i32((pixel % u32(OH * OW)) / u32(OW));
        ox = i32(pixel % u32(OW));
        #endif
    }
    #for j in 0..COLUMNS
    if column${j} < u32(CO4) {
        #for r in 0..ROWS
        if first_chunk + ${r / 4}u < u32(CHUNKS) {
            dst[(slice * u32(TAPS * CI) + first_chunk * 4u + ${r}u) * u32(CO4) + col${j}] = vec4<${DST}>(acc${r}_${j});
        }
        #endfor
    }
    #endfor
}
#endif
