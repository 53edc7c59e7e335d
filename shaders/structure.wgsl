// Plain structure of an image: grey values, oriented gradients, and the last step before a correlation. NHWC; a pixel's validity is
// the last channel of a plane of M channels (the sampler's output as it is); it is valid where that is above 0 and at least `least`.
//
// KIND 0 grey      grey [P] = dot(weights, bands) where the validity is above 0, else 0
//                  bindings: x [P] vec4 (three bands, validity), grey, params
// KIND 1 oriented  out [N, H, W, K]: |gx cos t_k + gy sin t_k| (^ power), t_k = pi k / K, with gx = (g[x + 1] - g[x - 1]) / 2 and gy likewise
//                  down; 0 where one of the four is outside the image or not valid.
//                  bindings: grey [N, H, W], validity [N, H, W, M], out as vec4, params
//                  POWER 0: the magnitude itself, 1: a power of it, 2: its square root
// KIND 2 finish    out [N, h, w, C] = the middle of features [N, H, W, C] where valid, else 0; planes [N, h, w] = (sum of out^2, 1 where
//                  valid or 0)
//                  bindings: features, validity [N, H, W, M], out, planes, params
// Dispatch: groups of 64, folded; KIND 0 and 1: one invocation a pixel; KIND 2: one every 4 pixels, 64 apart. Variant: KIND; KIND 1: K, POWER; KIND 2: VEC (1 or 4) with T. Workgroup memory: none.
#import fold

#if KIND == 0
struct Params {
    total: u32, // pixels
    red: f32,
    green: f32,
    blue: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> grey: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let v = x[i];
    grey[i] = select(0.0, params.red * v.x + params.green * v.y + params.blue * v.z, v.w > 0.0);
}
#endif

#if KIND == 1
struct Params {
    total: u32, // pixels
    h: u32,
    w: u32,
    mask: u32,  // M
    least: f32,
    power: f32,
    // 16 pairs whatever K is.
    #for k in 0..16
    cos${k}: f32,
    sin${k}: f32,
    #endfor
}

@group(0) @binding(0) var<storage, read> grey: array<f32>;
@group(0) @binding(1) var<storage, read> validity: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

fn valid(pixel: u32) -> bool {
    let v = validity[pixel * params.mask + params.mask - 1u];
    return v > 0.0 && v >= params.least;
}

fn channel(v: f32) -> f32 {
    let a = abs(v);
    #if POWER == 0
    return a;
    #endif
    #if POWER == 1
    return select(0.0, pow(a, params.power), a > 0.0);
    #endif
    #if POWER == 2
    return sqrt(a);
    #endif
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let line = i / params.w;
    let x = i - line * params.w;
    let y = line % params.h;
    let inside = x > 0u && x + 1u < params.w && y > 0u && y + 1u < params.h;
    // Four times the pixel itself where there are no neighbours.
    let across = select(0u, 1u, inside);
    let down = select(0u, params.w, inside);
    let all = valid(i - across) && valid(i + across) && valid(i - down) && valid(i + down) && inside;
    let gx = select(0.0, 0.5 * (grey[i + across] - grey[i - across]), all);
    let gy = select(0.0, 0.5 * (grey[i + down] - grey[i - down]), all);
    #for g in 0..K / 4
    out[i * ${K / 4}u + ${g}u] = vec4<f32>(
        channel(gx * params.cos${4 * g} + gy * params.sin${4 * g}),
        channel(gx * params.cos${4 * g + 1} + gy * params.sin${4 * g + 1}),
        channel(gx * params.cos${4 * g + 2} + gy * params.sin${4 * g + 2}),
        channel(gx * params.cos${4 * g + 3} + gy * params.sin${4 * g + 3}));
    #endfor
}
#endif

#if KIND == 2
alias V = ${T};

struct Params {
    pixels: u32,  // N h w
    columns: u32, // C / VEC
    mask: u32,    // M
    least: f32,
    h: u32,
    w: u32,
    source_h: u32,
    source_w: u32,
}

// Where an output pixel lies in the input, whose middle the output is.
fn source(pixel: u32) -> u32 {
    let line = pixel / params.w;
    let image = line / params.h;
    let y = line - image * params.h + (params.source_h - params.h) / 2u;
    let x = pixel - line * params.w + (params.source_w - params.w) / 2u;
    return (image * params.source_h + y) * params.source_w + x;
}

@group(0) @binding(0) var<storage, read> features: array<V>;
@group(0) @binding(1) var<storage, read> validity: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<V>;
@group(0) @binding(3) var<storage, read_write> planes: array<vec2<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = fold_group(group, groups) * 256u + lane;
    if first >= params.pixels {
        return;
    }
    let columns = params.columns;
    #for j in 0..4
    let pixel${j} = first + ${64 * j}u;
    let inside${j} = pixel${j} < params.pixels;
    let source${j} = source(select(first, pixel${j}, inside${j}));
    let share${j} = validity[source${j} * params.mask + params.mask - 1u];
    let valid${j} = share${j} > 0.0 && share${j} >= params.least;
    var energy${j} = V(0.0);
    #endfor
    for (var c = 0u; c < columns; c++) {
    #for j in 0..4
        if inside${j} {
            let origin = source${j} * columns + c;
            let v = select(V(0.0), features[origin], valid${j});
            out[pixel${j} * columns + c] = v;
            energy${j} += v * v;
        }
    #endfor
    }
    #for j in 0..4
    if inside${j} {
    #if VEC == 4
        let energy = (energy${j}.x + energy${j}.y) + (energy${j}.z + energy${j}.w);
    #else
        let energy = energy${j};
    #endif
        planes[pixel${j}] = vec2<f32>(energy, select(0.0, 1.0, valid${j}));
    }
    #endfor
}
#endif
