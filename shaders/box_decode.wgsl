// What a detector's numbers say of boxes, x0 y0 x1 y1, and the gradient.
//
// A box has a centre c and sides s; grown(l) = exp(min(l, limit)), whose slope beyond the limit is 0.
// Deltas: rows d of an anchor with centre a and sides b. c = a + b deviation d.xy, s = b grown(deviation d.zw). Row r is of anchor
//         r / classes mod m.
// KIND 0 forward   bindings: d [n], anchors [m], y [n], params             rows of vec4
// KIND 1 backward  bindings: d, anchors, dy [n], dd [n], params
// YOLO:   rows x of width 5 + classes, row r of anchor r mod anchors in the cell r / anchors of its image's grid. c = (sigmoid(x[0..2]) + cell)
//         stride, s = anchor grown(x[2..4]); what follows stays as it is.
// KIND 2 forward   bindings: x [n width], anchors [m] vec2, y [n width], params
// KIND 3 backward  bindings: x, anchors, dy [n width], dx [n width], params
// Dispatch: one invocation a row, KIND 2 and 3 an element, in groups of 64, folded. Variant: KIND. Workgroup memory: none.
#import fold
#import nan

#if KIND < 2
struct Params {
    n: u32,
    classes: u32,
    m: u32,
    limit: f32,
    dx: f32, // deviations
    dy: f32,
    dw: f32,
    dh: f32,
}

alias V = vec4<f32>;
#else
struct Params {
    n: u32, // elements
    width: u32,
    m: u32,
    down: u32,   // cells of the grid
    across: u32,
    limit: f32,
    stride_x: f32,
    stride_y: f32,
}

alias V = f32;
#endif

@group(0) @binding(0) var<storage, read> x: array<V>;
#if KIND < 2
@group(0) @binding(1) var<storage, read> anchors: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> anchors: array<vec2<f32>>;
#endif
#if KIND == 0 || KIND == 2
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#else
@group(0) @binding(2) var<storage, read> dy: array<V>;
@group(0) @binding(3) var<storage, read_write> dx: array<V>;
@group(0) @binding(4) var<uniform> params: Params;
#endif

// By how much sides grow, and where they still do.
fn grown(l: f32) -> f32 {
    return select(exp(min(l, params.limit)), l, is_nan(l));
}

fn grows(l: f32) -> bool {
    return !(l >= params.limit);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.n {
        return;
    }
#if KIND < 2
    let anchor = anchors[i / params.classes % params.m];
    let side = anchor.zw - anchor.xy;
    let d = x[i] * vec4(params.dx, params.dy, params.dw, params.dh);
    let sides = side * vec2(grown(d.z), grown(d.w));
    #if KIND == 0
    let centre = anchor.xy + 0.5 * side + side * d.xy;
    y[i] = vec4(centre - 0.5 * sides, centre + 0.5 * sides);
    #else
    let g = dy[i];
    let of_centre = (g.xy + g.zw) * side * vec2(params.dx, params.dy);
    let of_sides = 0.5 * (g.zw - g.xy) * sides * vec2(params.dw, params.dh);
    dx[i] = vec4(of_centre, select(vec2(0.0), of_sides, vec2(grows(d.z), grows(d.w))));
    #endif
#else
    let row = i / params.width;
    let column = i - row * params.width;
    if column >= 4u {
        #if KIND == 2
        y[i] = x[i];
        #else
        dx[i] = dy[i];
        #endif
        return;
    }
    // Columns 0 and 2 are of x, 1 and 3 of y.
    let axis = column & 1u;
    let first = row * params.width + axis;
    let cell = row / params.m;
    let anchor = anchors[row - cell * params.m];
    let side = select(anchor.x, anchor.y, axis == 1u);
    let stride = select(params.stride_x, params.stride_y, axis == 1u);
    #if KIND == 2
    let place = select(cell % params.across, cell / params.across % params.down, axis == 1u);
    let t = x[first];
    let small = exp_or_nan(-abs(t));
    let centre = (select(small, 1.0, t >= 0.0) / (1.0 + small) + f32(place)) * stride;
    let half = 0.5 * side * grown(x[first + 2u]);
    y[i] = centre + select(-half, half, column >= 2u);
    #else
    let low = dy[first];
    let high = dy[first + 2u];
    let t = x[i];
    if column < 2u {
        let small = exp_or_nan(-abs(t));
        let e = 1.0 + small;
        dx[i] = (low + high) * stride * (small / (e * e));
    } else {
        dx[i] = select(0.0, 0.5 * (high - low) * side * grown(t), grows(t));
    }
    #endif
#endif
}
