// Products of feature maps' half spectra, frequency by frequency: the correlation theorem over channels, and its gradients.
// All are complex, (re, im) last; f is one of F frequencies.
//
// KIND 0  out[q, f, w] = sum_c conj(a[q, f, c]) b[w, f, c]
// KIND 1  out[w, f, c] = sum_q a[q, f, c] d[q, f, w]           (gradient of b)
// KIND 2  out[q, f, c] = sum_w conj(d[q, f, w]) b[w, f, c]     (gradient of a)
// a [Q, F, C], b [W, F, C], d [Q, F, W]
// KIND 0: bindings a, b, out, params. An invocation computes QT x WT sums of one frequency; channels by PAIR complex numbers (2, or 4 where C allows).
// KIND 1, 2: bindings (a or b), d, out, params. An invocation computes MT rows of PAIR channels of one frequency.
// F16: b is f16, two to a word (KIND 0). Rows beyond the last read the last and store nothing.
// Dispatch: frequencies innermost, 64 a group, folded. Workgroup memory: none.
#import fold

struct Params {
    q: u32,
    w: u32,
    c: u32, // channels / 2
    f: u32,
    blocks: u32, // of frequencies, 64 each
    tiles: u32,  // of w (KIND 0), of channels (KIND 1, 2)
    groups: u32,
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
    #if F16
        #if PAIR == 4
@group(0) @binding(1) var<storage, read> b: array<vec4<u32>>;
        #else
@group(0) @binding(1) var<storage, read> b: array<vec2<u32>>;
        #endif
    #else
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
    #endif
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> d: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
#endif
@group(0) @binding(3) var<uniform> params: Params;

// conj(x) y of two pairs, summed.
fn against(x: vec4<f32>, y: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w, x.x * y.y - x.y * y.x + x.z * y.w - x.w * y.z);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = fold_group(group, groups);
    if g >= params.groups {
        return;
    }
    let outer = g / params.blocks;
    let f = (g - outer * params.blocks) * 64u + lane;
    if f >= params.f {
        return;
    }
    let c = params.c;
#if KIND == 0
    let tile = outer / params.tiles;
    let w0 = (outer - tile * params.tiles) * ${WT}u;
    let q0 = tile * ${QT}u;
    #for q in 0..QT
    let a${q} = (min(q0 + ${q}u, params.q - 1u) * params.f + f) * c;
    #endfor
    #for w in 0..WT
    let b${w} = (min(w0 + ${w}u, params.w - 1u) * params.f + f) * c;
        #for q in 0..QT
    var s${q}_${w} = vec2<f32>(0.0);
        #endfor
    #endfor
    for (var k = 0u; k < c; k += ${PAIR / 2}u) {
    #for q in 0..QT
        #for h in 0..PAIR / 2
        let x${q}_${h} = a[a${q} + k + ${h}u];
        #endfor
    #endfor
    #for w in 0..WT
        #if F16
            #if PAIR == 4
        let word${w} = b[(b${w} + k) / 2u];
        let y${w}_0 = vec4<f32>(unpack2x16float(word${w}.x), unpack2x16float(word${w}.y));
        let y${w}_1 = vec4<f32>(unpack2x16float(word${w}.z), unpack2x16float(word${w}.w));
            #else
        let word${w} = b[b${w} + k];
        let y${w}_0 = vec4<f32>(unpack2x16float(word${w}.x), unpack2x16float(word${w}.y));
            #endif
        #else
            #for h in 0..PAIR / 2
        let y${w}_${h} = b[b${w} + k + ${h}u];
            #endfor
        #endif
        #for q in 0..QT
            #for h in 0..PAIR / 2
        s${q}_${w} += against(x${q}_${h}, y${w}_${h});
            #endfor
        #endfor
    #endfor
    }
    #for q in 0..QT
    if q0 + ${q}u < params.q {
        let to = ((q0 + ${q}u) * params.f + f) * (params.w / 2u) + w0 / 2u;
        #for w in 0..WT / 2
        if w0 + ${2 * w}u < params.w {
            out[to + ${w}u] = vec4<f32>(s${q}_${2 * w}, s${q}_${2 * w + 1});
        }
        #endfor
    }
    #endfor
#else
    // Rows of the result: w (KIND 1) or q; terms of a sum: the other.
    #if KIND == 1
    let count = params.w;
    let terms = params.q;
    #else
    let count = params.q;
    let terms = params.w;
    #endif
    let tile = outer / params.tiles;
    let k = (outer - tile * params.tiles) * ${PAIR / 2}u;
    let r0 = tile * ${MT}u;
    #for m in 0..MT
        #for h in 0..PAIR / 2
    var s${m}_${h} = vec4<f32>(0.0);
        #endfor
    #endfor
    for (var t = 0u; t < terms; t++) {
    #for h in 0..PAIR / 2
        let x${h} = rows[(t * params.f + f) * c + k + ${h}u];
        let i${h} = vec4<f32>(-x${h}.y, x${h}.x, -x${h}.w, x${h}.z);
    #endfor
    #for m in 0..MT
        #if KIND == 1
        let d${m} = d[(t * params.f + f) * params.w + min(r0 + ${m}u, count - 1u)];
        #else
        let d${m} = d[(min(r0 + ${m}u, count - 1u) * params.f + f) * params.w + t];
        #endif
        #for h in 0..PAIR / 2
            #if KIND == 1
        s${m}_${h} += x${h} * d${m}.x + i${h} * d${m}.y;
            #else
        s${m}_${h} += x${h} * d${m}.x - i${h} * d${m}.y;
            #endif
        #endfor
    #endfor
    }
    #for m in 0..MT
    if r0 + ${m}u < count {
        #for h in 0..PAIR / 2
        out[((r0 + ${m}u) * params.f + f) * c + k + ${h}u] = s${m}_${h};
        #endfor
    }
    #endfor
#endif
}
