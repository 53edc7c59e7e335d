// One pass of a batched 2-D Fourier transform of real images, channels innermost, along one axis of length N (a power of two).
//
// forward  X(ky, kx) = scale sum_(y, x) x(y, x) e^(-2 pi i (ky y / H + kx x / W)), ky in 0 ..= H / 2, all kx
// inverse  y(y, x) = scale sum_(ky, kx) X(ky, kx) e^(+2 pi i (ky y / H + kx x / W)), ky > H / 2 by symmetry; the imaginary parts
//          that the rows ky = 0 and H / 2 have after the sum over kx are dropped
// images   x, y  [B, h, w, C], h <= H, w <= W, C even
// packed         [B, H, w, C]: channels (2 p, 2 p + 1) are the parts of one complex number Z
// half           [B, H / 2 + 1, w or W, C, 2]: spectra along y (then along x) of each channel; f32, or f16 two to a word
// Forward: image -> (along y) packed -> half -> (along x) half. Inverse: half -> (along x) half -> (along y) packed -> image.
// So columns beyond w never exist before the sum over x (forward) and after it (inverse).
//
// KIND 0   Stockham's autosort: one radix-R step in registers. With J = N / R and j in 0 .. J, an invocation transforms the elements
//          j + r J, r in 0 .. R, each turned by r (j mod S) / (R S) of a circle (S: the product of the radices before; ROLE 0: S = 1
//          and nothing to turn), and writes them to (j - j mod S) R + j mod S + r S. ROLE 0 first, 1 between, 2 last.
//          KEEP: only the first KEEP of the R elements are loaded (ROLE 0) or stored (ROLE 2), below `limit`; the others are zero
//          or not wanted.
//          PAIR 1, the last step of a forward transform along y: j and J - j at once, so both Z(k) and Z(-k) are at hand;
//          X_2p(k) = (Z(k) + conj Z(-k)) / 2, X_2p+1(k) = (Z(k) - conj Z(-k)) / 2i.
//          PAIR 2, the first step of an inverse along y: the same of X_2p(k) + i X_2p+1(k) and conj X_2p(k) + i conj X_2p+1(k).
//          Dispatch: 64 lanes are 64 columns (of lines of `columns`) for one j, so what depends on j is alike in a group; folded.
//          V (WIDE): one (2) or two (4) complex numbers. F16: 1 loads, 2 stores f16. INVERSE: the sign of the angle.
// KIND 1   A whole line of N = A B elements (A <= B <= 2 A) in one dispatch: an invocation transforms B / A times A elements, hands them over
//          in workgroup memory (real parts, then imaginary ones: 4 N L bytes, at most 16 KiB) and transforms B elements. A group is L columns
//          by A invocations. PAIR as above, by a second exchange (1) or by loading k and N - k (2). V is one complex number.
// Bindings: table (cos, sin of k / N of a circle; not for KIND 0, ROLE 0), src, dst, params. Counts are of V; those of half in PAIR of vec4.
// Workgroup memory: KIND 0 none, KIND 1 4 N L bytes.
#import fold
#import circle

alias V = ${T};

struct Params {
    items: u32,     // lines x columns
    columns: u32,
    steps: u32,     // how many j there are
    along: u32,     // 1: neighbouring groups are neighbours in j; 0: in items
    j: u32,         // J
    s: u32,         // S
    turn: u32,      // N / (R S)
    src_line: u32,  // strides of src and dst: from line to line and from element to element
    src_step: u32,
    dst_line: u32,
    dst_step: u32,
    src_base: u32,
    dst_base: u32,
    limit: u32,
    scale: f32,
}

#if KIND == 0 && ROLE == 0
    #if F16 == 1
@group(0) @binding(0) var<storage, read> src: array<vec2<u32>>;
    #else
        #if PAIR == 2
@group(0) @binding(0) var<storage, read> src: array<vec4<f32>>;
        #else
@group(0) @binding(0) var<storage, read> src: array<V>;
        #endif
    #endif
@group(0) @binding(1) var<storage, read_write> dst: array<V>;
@group(0) @binding(2) var<uniform> params: Params;
#else
@group(0) @binding(0) var<storage, read> table: array<vec2<f32>>;
    #if KIND == 1 && F16 == 1
@group(0) @binding(1) var<storage, read> src: array<u32>;
    #else
        #if KIND == 1 && PAIR == 2
@group(0) @binding(1) var<storage, read> src: array<vec4<f32>>;
        #else
@group(0) @binding(1) var<storage, read> src: array<V>;
        #endif
    #endif
    #if F16 == 2
        #if KIND == 1
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;
        #else
@group(0) @binding(2) var<storage, read_write> dst: array<vec2<u32>>;
        #endif
    #else
        #if PAIR == 1
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<f32>>;
        #else
@group(0) @binding(2) var<storage, read_write> dst: array<V>;
        #endif
    #endif
@group(0) @binding(3) var<uniform> params: Params;
#endif

// i v
fn turned(v: V) -> V {
#if WIDE == 4
    return V(-v.y, v.x, -v.w, v.z);
#else
    return V(-v.y, v.x);
#endif
}

#if INVERSE
fn spin(v: V, cosine: f32, sine: f32) -> V {
    return v * cosine + turned(v) * sine;
}
fn quarter(v: V) -> V {
    return turned(v);
}
#else
fn spin(v: V, cosine: f32, sine: f32) -> V {
    return v * cosine - turned(v) * sine;
}
fn quarter(v: V) -> V {
    return -turned(v);
}
#endif

#if PAIR == 2
// X_2p + i X_2p+1 and conj X_2p + i conj X_2p+1 of (X_2p, X_2p+1).
    #if WIDE == 4
fn direct(a: vec4<f32>, b: vec4<f32>) -> V {
    return V(a.x - a.w, a.y + a.z, b.x - b.w, b.y + b.z);
}
fn mirror(a: vec4<f32>, b: vec4<f32>) -> V {
    return V(a.x + a.w, a.z - a.y, b.x + b.w, b.z - b.y);
}
    #else
fn direct(a: vec4<f32>) -> V {
    return V(a.x - a.w, a.y + a.z);
}
fn mirror(a: vec4<f32>) -> V {
    return V(a.x + a.w, a.z - a.y);
}
    #endif
#endif

#if PAIR == 1
// (X_2p, X_2p+1) twice of Z(k) and Z(-k).
fn parts(z: vec2<f32>, m: vec2<f32>) -> vec4<f32> {
    return vec4<f32>(z.x + m.x, z.y - m.y, z.y + m.y, m.x - z.x);
}
#endif

#if KIND == 1
var<workgroup> parts_of: array<f32, ${A * B * L}>;

// Element i of a line, rows of A rotated among themselves so that neither rows nor columns of them meet in a bank.
fn place(i: u32, column: u32) -> u32 {
    return (i ^ ((i / ${A}u) & ${A - 1}u)) * ${L}u + column;
}

@compute @workgroup_size(${A * L})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = lane % ${L}u;
    let t = lane / ${L}u;
    // No early return: all meet at the barriers. Lanes too many work on the last item and store nothing.
    let item = fold_group(group, groups) * ${L}u + own;
    let live = item < params.items;
    let at = min(item, params.items - 1u);
    let line = at / params.columns;
    let column = at - line * params.columns;
    let src_at = params.src_base + line * params.src_line + column;
    let dst_at = params.dst_base + line * params.dst_line + column;
    #for R in A..A + 1
    #for z in 0..B / A
        #for r in 0..R
    let p${z}_${r} = t + ${z * A + r * B}u;
            #if PAIR == 2
    let k${z}_${r} = min(p${z}_${r}, ${A * B}u - p${z}_${r});
    let x${z}_${r} = src[src_at + k${z}_${r} * params.src_step];
    // The rows 0 and H / 2 are real.
    let o${z}_${r} = select(x${z}_${r}, vec4<f32>(x${z}_${r}.x, 0.0, x${z}_${r}.z, 0.0), k${z}_${r} % ${A * B / 2}u == 0u);
    let e${z}_${r} = select(mirror(o${z}_${r}), direct(o${z}_${r}), k${z}_${r} == p${z}_${r});
            #else
    var e${z}_${r} = V(0.0);
    if ${INVERSE} == 1 || p${z}_${r} < params.limit {
                #if F16 == 1
        e${z}_${r} = unpack2x16float(src[src_at + p${z}_${r} * params.src_step]);
                #else
        e${z}_${r} = src[src_at + p${z}_${r} * params.src_step];
                #endif
    }
            #endif
    var v${z}_${((r % 2) * 16 + (r / 2 % 2) * 8 + (r / 4 % 2) * 4 + (r / 8 % 2) * 2 + r / 16) / (32 / R)} = e${z}_${r};
        #endfor
#include radix
    #endfor
    #endfor
    #for part in 0..2
        #for z in 0..B / A
            #for r in 0..A
    parts_of[place((t + ${z * A}u) * ${A}u + ${r}u, own)] = v${z}_${r}[${part}];
            #endfor
        #endfor
    workgroupBarrier();
        #for r in 0..B
    let f${part}_${r} = parts_of[place(t + ${r * A}u, own)];
        #endfor
    workgroupBarrier();
    #endfor
    #for R in B..B + 1
    #for z in B / A..B / A + 1
        #for r in 0..R
            #if r == 0
    var v${z}_0 = V(f0_0, f1_0);
            #else
    let w_${r} = table[${r}u * t];
    var v${z}_${((r % 2) * 16 + (r / 2 % 2) * 8 + (r / 4 % 2) * 4 + (r / 8 % 2) * 2 + r / 16) / (32 / R)} = spin(V(f0_${r}, f1_${r}), w_${r}.x, w_${r}.y);
            #endif
        #endfor
#include radix
        #if PAIR == 1
            #for part in 0..2
                #for r in 0..R
    parts_of[place(t + ${r * A}u, own)] = v${z}_${r}[${part}];
                #endfor
    workgroupBarrier();
                #for r in 0..B / 2 + 1
    let m${part}_${r} = parts_of[place((${2 * A * B - r * A}u - t) & ${A * B - 1}u, own)];
                #endfor
    workgroupBarrier();
            #endfor
            #for r in 0..B / 2 + 1
    if live && t + ${r * A}u <= ${A * B / 2}u {
        dst[dst_at + (t + ${r * A}u) * params.dst_step] = parts(v${z}_${r}, vec2<f32>(m0_${r}, m1_${r})) * params.scale;
    }
            #endfor
        #else
            #for r in 0..R
    if live && (${INVERSE} == 0 || t + ${r * A}u < params.limit) {
                #if F16 == 2
        dst[dst_at + (t + ${r * A}u) * params.dst_step] = pack2x16float(v${z}_${r} * params.scale);
                #else
        dst[dst_at + (t + ${r * A}u) * params.dst_step] = v${z}_${r} * params.scale;
                #endif
    }
            #endfor
        #endif
    #endfor
    #endfor
}
#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = fold_group(group, groups);
    let blocks = (params.items + 63u) / 64u;
    // No early return: loads that all lanes share stay unmasked. Groups and lanes too many work on the last item and store nothing.
    let block = select(g % blocks, g / params.steps, params.along != 0u);
    let j = min(select(g / blocks, g % params.steps, params.along != 0u), params.steps - 1u);
    let item = block * 64u + lane;
    let live = item < params.items && g < blocks * params.steps;
    let at = min(item, params.items - 1u);
    let line = at / params.columns;
    let column = at - line * params.columns;
    let step = params.src_step;
#if PAIR == 2
    let src_at = params.src_base + line * params.src_line + column * ${WIDE / 2}u;
    let m = params.j - j;
    #for z in 0..2
        #for r in 0..R / 2
    let at${z}_${r} = src_at + (select(j, m, ${z} == 1) + ${r}u * params.j) * step;
        #for p in 0..WIDE / 2
    var x${z}_${r}_${p} = src[at${z}_${r} + ${p}u];
        #endfor
        #endfor
    #endfor
    // The rows 0 and H / 2 are real.
    if j == 0u {
    #for p in 0..WIDE / 2
        x0_0_${p} = vec4<f32>(x0_0_${p}.x, 0.0, x0_0_${p}.z, 0.0);
        x1_${R / 2 - 1}_${p} = vec4<f32>(x1_${R / 2 - 1}_${p}.x, 0.0, x1_${R / 2 - 1}_${p}.z, 0.0);
    #endfor
    }
    #for z in 0..2
        #for r in 0..R / 2
            #if WIDE == 4
    var v${z}_${((r % 2) * 16 + (r / 2 % 2) * 8 + (r / 4 % 2) * 4 + (r / 8 % 2) * 2 + r / 16) / (32 / R)} = direct(x${z}_${r}_0, x${z}_${r}_1);
            #else
    var v${z}_${((r % 2) * 16 + (r / 2 % 2) * 8 + (r / 4 % 2) * 4 + (r / 8 % 2) * 2 + r / 16) / (32 / R)} = direct(x${z}_${r}_0);
            #endif
        #endfor
        #for r in R / 2..R
            #if WIDE == 4
    var v${z}_${((r % 2) * 16 + (r / 2 % 2) * 8 + (r / 4 % 2) * 4 + (r / 8 % 2) * 2 + r / 16) / (32 / R)} =
        mirror(x${1 - z}_${R - 1 - r}_0, x${1 - z}_${R - 1 - r}_1);
            #else
    var v${z}_${((r % 2) * 16 + (r / 2 % 2) * 8 + (r / 4 % 2) * 4 + (r / 8 % 2) * 2 + r / 16) / (32 / R)} = mirror(x${1 - z}_${R - 1 - r}_0);
            #endif
        #endfor
#include radix
    #endfor
    let dst_at = params.dst_base + line * params.dst_line + column;
    if live {
    #for r in 0..R
        dst[dst_at + (j * ${R}u + ${r}u) * params.dst_step] = v0_${r};
    #endfor
        // The partner of 0 is 0 again, and J / 2 is its own.
        if j != 0u && j != m {
    #for r in 0..R
            dst[dst_at + (m * ${R}u + ${r}u) * params.dst_step] = v1_${r};
    #endfor
        }
    }
#else
    let src_at = params.src_base + line * params.src_line + column;
    #if PAIR == 1
    let m = params.j - j;
    #endif
    #if ROLE > 0
    let k = j & (params.s - 1u);
    #else
    let k = 0u;
    #endif
    #for z in 0..SETS
        #if z == 0
    let first${z} = j;
    let turn${z} = k * params.turn;
        #else
    // Its elements are those of (J - j) mod J; turned by J - j they give the results from J - j on, 0 .. J included.
    let first${z} = m & (params.j - 1u);
    let turn${z} = m * params.turn;
        #endif
        #for r in 0..R
            #if ROLE == 0
                #if r < KEEP
    let p${z}_${r} = j + ${r}u * params.j;
                    #if F16 == 1
    let word${z}_${r} = src[src_at + min(p${z}_${r}, params.limit - 1u) * step];
    let x${z}_${r} = V(unpack2x16float(word${z}_${r}.x), unpack2x16float(word${z}_${r}.y));
                    #else
    let x${z}_${r} = src[src_at + min(p${z}_${r}, params.limit - 1u) * step];
                    #endif
    let e${z}_${r} = select(V(0.0), x${z}_${r}, p${z}_${r} < params.limit);
                #else
    let e${z}_${r} = V(0.0);
                #endif
            #else
    let x${z}_${r} = src[src_at + (first${z} + ${r}u * params.j) * step];
                #if r == 0
    let e${z}_${r} = x${z}_${r};
                #else
    let w${z}_${r} = table[${r}u * turn${z}];
    let e${z}_${r} = spin(x${z}_${r}, w${z}_${r}.x, w${z}_${r}.y);
                #endif
            #endif
    var v${z}_${((r % 2) * 16 + (r / 2 % 2) * 8 + (r / 4 % 2) * 4 + (r / 8 % 2) * 2 + r / 16) / (32 / R)} = e${z}_${r};
        #endfor
#include radix
    #endfor
    #if PAIR == 1
    let dst_at = params.dst_base + line * params.dst_line + column * ${WIDE / 2}u;
    if live {
        #for z in 0..2
            #for r in 0..R / 2
        {
            let to = dst_at + (select(j, m, ${z} == 1) + ${r}u * params.j) * params.dst_step;
            dst[to] = parts(v${z}_${r}.xy, v${1 - z}_${R - 1 - r}.xy) * params.scale;
                #if WIDE == 4
            dst[to + 1u] = parts(v${z}_${r}.zw, v${1 - z}_${R - 1 - r}.zw) * params.scale;
                #endif
        }
            #endfor
        #endfor
    }
    #else
    let dst_at = params.dst_base + line * params.dst_line + column;
    if live {
        #if ROLE == 2
            #for r in 0..KEEP
        if j + ${r}u * params.j < params.limit {
                #if F16 == 2
            let y = v0_${r} * params.scale;
            dst[dst_at + (j + ${r}u * params.j) * params.dst_step] = vec2<u32>(pack2x16float(y.xy), pack2x16float(y.zw));
                #else
            dst[dst_at + (j + ${r}u * params.j) * params.dst_step] = v0_${r} * params.scale;
                #endif
        }
            #endfor
        #else
        let base = (j - k) * ${R}u + k;
            #for r in 0..R
        dst[dst_at + (base + ${r}u * params.s) * params.dst_step] = v0_${r};
            #endfor
        #endif
    }
    #endif
#endif
}
#endif
