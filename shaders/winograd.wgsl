// 3 x 3 convolutions of stride 1 with 16 multiplications for 4 outputs in place of 36: F(2 x 2, 3 x 3) of Lavin and Gray, "Fast algorithms for
// convolutional neural networks", 2016. Outputs are cut into tiles of 2 x 2, tile t = (image * tiles_y + y) * tiles_x + x; the 4 x 4 inputs d of a
// tile, one channel, and the 3 x 3 weights g become B' d B and G g G', whose products, summed over channels by `matmul`, become outputs as A' m A.
//
// KIND 0 weights   u [16, I, O] = G g G', from w [9, CI, CO]: I = CI, O = CO; where FLIP I = CO, O = CI and the taps turned by 180 degrees, for
//                  the gradient with respect to the input                   bindings: w, u, params; one invocation of 64 a pair of channels, folded
// KIND 1 inputs    v [16, run, C] = B' d B of `count` tiles from `first` on, from x [N, H, W, C] with pad_y zeros above, pad_x left, and as many
//                  as needed below and right; rows from `count` on stay as they are   bindings: x, v, params
// KIND 2 outputs   y [N, H, W, C] = A' m A (BIAS: + bias [C]; RELU: at least 0) of those tiles, from m [16, run, C]    bindings: m, bias, y, params
// KIND 1, 2: C is a multiple of 4; dispatch: one invocation of 64 a tile and four channels, folded.
#import fold

struct Params {
    // Of the image that is read or written; KIND 0: CI, CO.
    h: u32,
    w: u32,
    c4: u32,
    pad_y: u32,
    pad_x: u32,
    tiles_y: u32,
    tiles_x: u32,
    first: u32,
    count: u32,
    run: u32,
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read_write> u: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    let pairs = params.h * params.w;
    if at >= pairs {
        return;
    }
    #if FLIP
    let tap = at % params.h * params.w + at / params.h;
    #else
    let tap = at;
    #endif
    #for i in 0..3
        #for j in 0..3
            #if FLIP
    let g${i}${j} = w[tap + ${8 - 3 * i - j}u * pairs];
            #else
    let g${i}${j} = w[tap + ${3 * i + j}u * pairs];
            #endif
        #endfor
    #endfor
    // G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1].
    #for j in 0..3
    let r0${j} = g0${j};
    let r1${j} = 0.5 * (g0${j} + g2${j} + g1${j});
    let r2${j} = 0.5 * (g0${j} + g2${j} - g1${j});
    let r3${j} = g2${j};
    #endfor
    #for i in 0..4
    u[at + ${4 * i}u * pairs] = r${i}0;
    u[at + ${4 * i + 1}u * pairs] = 0.5 * (r${i}0 + r${i}2 + r${i}1);
    u[at + ${4 * i + 2}u * pairs] = 0.5 * (r${i}0 + r${i}2 - r${i}1);
    u[at + ${4 * i + 3}u * pairs] = r${i}2;
    #endfor
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;
#endif
#if KIND == 2
@group(0) @binding(0) var<storage, read> m: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;
#endif

#if KIND == 1 || KIND == 2
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.count * params.c4 {
        return;
    }
    let c = at % params.c4;
    let tile = params.first + at / params.c4;
    let column = tile % params.tiles_x;
    let row = tile / params.tiles_x;
    let image = row / params.tiles_y * params.h;
    // Beyond the image also where it is less than 0.
    let top = 2u * (row % params.tiles_y) - params.pad_y;
    let left = 2u * column - params.pad_x;
    let step = params.run * params.c4;
    #if KIND == 1
        #for i in 0..4
            #for j in 0..4
    var d${i}${j} = vec4<f32>(0.0);
    if top + ${i}u < params.h && left + ${j}u < params.w {
        d${i}${j} = x[((image + top + ${i}u) * params.w + left + ${j}u) * params.c4 + c];
    }
            #endfor
        #endfor
    // B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].
        #for j in 0..4
    let r0${j} = d0${j} - d2${j};
    let r1${j} = d1${j} + d2${j};
    let r2${j} = d2${j} - d1${j};
    let r3${j} = d1${j} - d3${j};
        #endfor
        #for i in 0..4
    v[at + ${4 * i}u * step] = r${i}0 - r${i}2;
    v[at + ${4 * i + 1}u * step] = r${i}1 + r${i}2;
    v[at + ${4 * i + 2}u * step] = r${i}2 - r${i}1;
    v[at + ${4 * i + 3}u * step] = r${i}1 - r${i}3;
        #endfor
    #else
        #for i in 0..4
            #for j in 0..4
    let m${i}${j} = m[at + ${4 * i + j}u * step];
            #endfor
        #endfor
    // A' = [1 1 1 0; 0 1 -1 -1].
        #for j in 0..4
    let r0${j} = m0${j} + m1${j} + m2${j};
    let r1${j} = m1${j} - m2${j} - m3${j};
        #endfor
        #for i in 0..2
    var y${i}0 = r${i}0 + r${i}1 + r${i}2;
    var y${i}1 = r${i}1 - r${i}2 - r${i}3;
            #for j in 0..2
    if top + ${i}u < params.h && left + ${j}u < params.w {
                #if BIAS
        y${i}${j} += bias[c];
                #endif
                #if RELU
        y${i}${j} = max(y${i}${j}, vec4<f32>(0.0));
                #endif
        y[((image + top + ${i}u) * params.w + left + ${j}u) * params.c4 + c] = y${i}${j};
    }
            #endfor
        #endfor
    #endif
}
#endif
