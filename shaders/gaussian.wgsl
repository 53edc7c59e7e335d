// Separable Gaussian blur of NHWC images, with or without a validity plane.
//
// plain   y = G * x, zero outside the image
// masked  y = (G * (m x)) / (G * m) where G * m > 0, else 0; m 0 outside the image
// Two passes along one axis each. Invocations own 8 outputs in a row along the axis and walk the elements under their windows
// in chunks of 8, each loaded once for all 8 outputs; 15 weights meet a chunk, of which 8 are new.
// PASS 0 across: bindings x [N, H, W, C] (mask [N, H, W, M], its last channel is m), weights, s [N, H, W, C] (share [N, H, W]), params
// PASS 1 down:   bindings s (share), weights, y [N, H, W, C], params
//   s = sums of w m x (w x without a mask) along rows, share = sums of w m; those in brackets where MASK.
//   weights: the kernel's 2 radius + 1 values after 7 zeros, zeros to 8 chunks + 8 in all.
// An invocation: element `place` of `inner`, strip of 8 along the axis, line `outer`; in groups of 64, folded.
// Variant: PASS, MASK, VEC (1 or 4) with T; counts are of T. Workgroup memory: none.
#import fold

alias V = ${T};

struct Params {
    total: u32,   // invocations: lines * strips * inner
    inner: u32,   // step along the axis
    length: u32,  // of the axis
    strips: u32,  // ceil(length / 8)
    radius: u32,
    chunks: u32,  // ceil((2 radius + 8) / 8)
    columns: u32, // C / VEC
    across: u32,  // inner / columns: the step along the axis in pixels
    mask: u32,    // M
}

@group(0) @binding(0) var<storage, read> x: array<V>;
#if MASK
@group(0) @binding(1) var<storage, read> mask: array<f32>;
#endif
@group(0) @binding(${1 + MASK}) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(${2 + MASK}) var<storage, read_write> y: array<V>;
#if MASK && PASS == 0
@group(0) @binding(4) var<storage, read_write> share: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
#else
@group(0) @binding(${3 + MASK}) var<uniform> params: Params;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let id = fold_group(group, groups) * 64u + lane;
    if id >= params.total {
        return;
    }
    let inner = params.inner;
    let length = params.length;
    let radius = params.radius;
    let line = id / inner;
    let place = id - line * inner;
    let outer = line / params.strips;
    let first = (line - outer * params.strips) * 8u;
    let base = outer * length * inner + place;
#if MASK
    let across = params.across;
    let pixel = outer * length * across + place / params.columns;
#endif
    #for j in 0..8
    var acc${j} = V(0.0);
        #if MASK
    var sum${j} = 0.0;
        #endif
    #endfor
    // Chunk b covers the elements first + 8 b - radius .. + 7; those without an element of the image are left out.
    let begin = (max(radius, first) - first) / 8u;
    let end = min(params.chunks, (length + radius - first + 7u) / 8u);
    var w0 = weights[2u * begin];
    var w1 = weights[2u * begin + 1u];
    for (var b = begin; b < end; b++) {
        let w2 = weights[2u * b + 2u];
        let w3 = weights[2u * b + 3u];
    #for i in 0..8
        {
            let shifted = first + 8u * b + ${i}u;
            let inside = shifted >= radius && shifted < length + radius;
            let at = select(0u, shifted - radius, inside);
        #if MASK
            #if PASS == 0
            let m = mask[(pixel + at) * params.mask + params.mask - 1u];
            // What is not valid counts nothing, whatever it holds.
            let counts = inside && m > 0.0;
            let v = select(V(0.0), x[base + at * inner] * m, counts);
            let share_here = select(0.0, m, counts);
            #else
            let v = select(V(0.0), x[base + at * inner], inside);
            let share_here = select(0.0, mask[pixel + at * across], inside);
            #endif
        #else
            let v = select(V(0.0), x[base + at * inner], inside);
        #endif
        #for j in 0..8
            acc${j} += w${(i - j + 7) / 4}[${(i - j + 7) % 4}] * v;
            #if MASK
            sum${j} += w${(i - j + 7) / 4}[${(i - j + 7) % 4}] * share_here;
            #endif
        #endfor
        }
    #endfor
        w0 = w2;
        w1 = w3;
    }
    #for j in 0..8
    if first + ${j}u < length {
        let to = first + ${j}u;
        #if MASK && PASS == 1
        y[base + to * inner] = select(V(0.0), acc${j} / max(sum${j}, 1e-30), sum${j} > 0.0);
        #else
        y[base + to * inner] = acc${j};
        #endif
        #if MASK && PASS == 0
        if place == 0u {
            share[pixel + to] = sum${j};
        }
        #endif
    }
    #endfor
}
