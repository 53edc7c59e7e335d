// Enlarging images by a whole factor F, or to any size, and the gradient; images are NHWC.
//
// forward   y [N, F H, F W, C] from x [N, H, W, C]      bindings: x, y, params
// backward  dx from dy, a gather                        bindings: dy, dx, params
// LINEAR 0  nearest: y[o] = x[o / F]; dx = sum of the F x F elements
// LINEAR 1  bilinear, corners not aligned: source (o + 1/2) / F - 1/2, not below 0, the upper neighbour not beyond the last;
//           dx gathers the at most (2 F + 1)^2 elements whose source lies within one of it, with the same weights
// SIZED     nearest, to OH x OW: y[o] = x[floor(o H / OH)]; dx[i] = the sum of the elements from ceil(i OH / H) to below ceil((i + 1) OH / H), none where
//           an image is made smaller
// Dispatch: forward: one invocation a group of channels of a strip of `run` columns of y for one row of x (it writes
// F rows), SIZED: of y; backward: of a strip of dx; in groups of 64, folded. Variant: BACKWARD, LINEAR, SIZED, FACTOR (2 or 4, 0 for others), VEC (1 or 4) with T; counts are of T;
// X how x and dx are stored, Y how y and dy are, in f32 or f16.
// Workgroup memory: none.
#import fold

alias V = ${T};
alias X = ${X};
alias Y = ${Y};

struct Params {
    total: u32,   // invocations
    columns: u32, // C / VEC
    h: u32,
    w: u32,
    factor: u32,
    run: u32,     // pixels an invocation
    oh: u32,      // SIZED: of y
    ow: u32,
}

#if BACKWARD
@group(0) @binding(0) var<storage, read> dy: array<Y>;
@group(0) @binding(1) var<storage, read_write> dx: array<X>;
#else
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
#endif
@group(0) @binding(2) var<uniform> params: Params;

fn factor() -> u32 {
#if FACTOR > 0
    return ${FACTOR}u;
#else
    return params.factor;
#endif
}

#if SIZED
// [first, end) of the elements of y, `large` in a line, that are element i of x, `size` in a line.
fn copies(i: u32, large: u32, size: u32) -> vec2<u32> {
    return vec2<u32>(i * large + size - 1u, (i + 1u) * large + size - 1u) / size;
}
#endif

#if LINEAR
struct Source {
    low: u32,
    high: u32,
    weight: f32, // of high
}

// Whole numbers: the source is (2 o + 1 - F) / (2 F).
fn source(o: u32, size: u32) -> Source {
    let f = factor();
    let twice = max(2u * o + 1u, f) - f;
    let low = twice / (2u * f);
    return Source(low, min(low + 1u, size - 1u), f32(twice - low * 2u * f) / f32(2u * f));
}

// How much of x[i] is in y[o].
fn share(o: u32, i: u32, size: u32) -> f32 {
    let s = source(o, size);
    return select(0.0, 1.0 - s.weight, s.low == i) + select(0.0, s.weight, s.high == i);
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let columns = params.columns;
#if SIZED
    let wide = params.ow;
#else
    let f = factor();
    let wide = params.w * f;
#endif
#if BACKWARD
    let strips = (params.w + params.run - 1u) / params.run;
    let strip = i / columns;
    let c = i - strip * columns;
    let row = strip / strips;
    let left = (strip - row * strips) * params.run;
    let image = row / params.h;
    let iy = row - image * params.h;
    #if SIZED
    let base = image * params.oh;
    let ys = copies(iy, params.oh, params.h);
    #else
    let base = image * params.h * f;
    #endif
    for (var ix = left; ix < min(left + params.run, params.w); ix++) {
        var sum = V(0.0);
    #if LINEAR
        // Elements whose source is above i - 1 and below i + 1.
        let half = f / 2u;
        let y_end = min(f * iy + 3u * f / 2u, params.h * f);
        let x_end = min(f * ix + 3u * f / 2u, wide);
        #if FACTOR > 0
        // An even factor has 2 F elements in a row; those outside the image count nothing and read its border.
            #for t in 0..2 * FACTOR
        let x${t} = max(f * ix + ${t}u, half) - half;
        let o${t} = min(x${t}, wide - 1u) * columns;
        let w${t} = select(0.0, share(x${t}, ix, params.w), f * ix + ${t}u >= half && x${t} < wide);
            #endfor
        #endif
        for (var oy = max(f * iy, half) - half; oy < y_end; oy++) {
            let line = ((base + oy) * wide) * columns + c;
            let wy = share(oy, iy, params.h);
        #if FACTOR > 0
            #for t in 0..2 * FACTOR
            sum += (wy * w${t}) * V(dy[line + o${t}]);
            #endfor
        #else
            for (var ox = max(f * ix, half) - half; ox < x_end; ox++) {
                sum += (wy * share(ox, ix, params.w)) * V(dy[line + ox * columns]);
            }
        #endif
        }
    #endif
    #if SIZED
        let xs = copies(ix, wide, params.w);
        for (var oy = ys.x; oy < ys.y; oy++) {
            for (var ox = xs.x; ox < xs.y; ox++) {
                sum += V(dy[((base + oy) * wide + ox) * columns + c]);
            }
        }
    #endif
    #if !LINEAR && !SIZED
        for (var oy = f * iy; oy < f * iy + f; oy++) {
            for (var ox = f * ix; ox < f * ix + f; ox++) {
                sum += V(dy[((base + oy) * wide + ox) * columns + c]);
            }
        }
    #endif
        dx[(row * params.w + ix) * columns + c] = X(sum);
    }
#else
    let strips = (wide + params.run - 1u) / params.run;
    let strip = i / columns;
    let c = i - strip * columns;
    let row = strip / strips;
    let left = (strip - row * strips) * params.run;
    #if LINEAR
    // The F rows of y above row iy of x need the rows iy - 1, iy and iy + 1 of x (kept inside the image) alone.
    let image = row / params.h;
    let iy = row - image * params.h;
    let top = image * params.h;
    let width = params.w * columns;
    let above = (top + max(iy, 1u) - 1u) * width;
    let here = row * width;
    let below = (top + min(iy + 1u, params.h - 1u)) * width;
    for (var ox = left; ox < min(left + params.run, wide); ox++) {
        let sx = source(ox, params.w);
        let low = sx.low * columns + c;
        let high = sx.high * columns + c;
        let a = mix(V(x[above + low]), V(x[above + high]), V(sx.weight));
        let b = mix(V(x[here + low]), V(x[here + high]), V(sx.weight));
        let d = mix(V(x[below + low]), V(x[below + high]), V(sx.weight));
        for (var k = 0u; k < f; k++) {
            let sy = source(iy * f + k, params.h);
            // low is iy - 1 or iy.
            let first = select(b, a, sy.low < iy);
            let second = select(d, b, sy.low < iy);
            y[((row * f + k) * wide + ox) * columns + c] = Y(mix(first, second, V(sy.weight)));
        }
    }
    #endif
    #if SIZED
    let image = row / params.oh;
    let line = image * params.h + (row - image * params.oh) * params.h / params.oh;
    for (var ox = left; ox < min(left + params.run, wide); ox++) {
        y[(row * wide + ox) * columns + c] = Y(V(x[(line * params.w + ox * params.w / wide) * columns + c]));
    }
    #endif
    #if !LINEAR && !SIZED
    for (var ox = left; ox < min(left + params.run, wide); ox++) {
        let v = Y(V(x[(row * params.w + ox / f) * columns + c]));
        for (var k = 0u; k < f; k++) {
            y[((row * f + k) * wide + ox) * columns + c] = v;
        }
    }
    #endif
#endif
}
