// A device's arithmetic limit. SIDE 0: every invocation of a group of 64 keeps eight independent chains of y = y * a + b busy, four wide. Else every
// group, a subgroup of LANES, keeps eight cooperative matrices of SIDE x SIDE busy: y += a b, f16 factors and f32 sums.
// y [64 groups] of four: so that nothing is left out. Dispatch: groups, folded.
#import fold

struct Params {
    groups: u32,
    turns: u32,
    a: f32,
    b: f32,
}

#if SIDE == 0
@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = fold_group(group, groups);
    if linear >= params.groups {
        return;
    }
    let at = linear * 64u + lane;
    let a = vec4(params.a);
    let b = vec4(params.b);
    #for c in 0..8
    var y${c} = vec4(f32(at + ${c}u) * 1e-6);
    #endfor
    for (var t = 0u; t < params.turns; t++) {
        #for u in 0..8
            #for c in 0..8
        y${c} = y${c} * a + b;
            #endfor
        #endfor
    }
    y[at] = ((y0 + y1) + (y2 + y3)) + ((y4 + y5) + (y6 + y7));
}
#else
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

var<workgroup> tile_a: array<f16, ${SIDE * SIDE}>;
var<workgroup> tile_b: array<f16, ${SIDE * SIDE}>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let linear = group.y * groups.x + group.x;
    if linear >= params.groups {
        return;
    }
    for (var i = lane; i < ${SIDE * SIDE}u; i += ${LANES}u) {
        tile_a[i] = f16(params.a * f32(i) * 1e-3);
        tile_b[i] = f16(params.b * f32(i));
    }
    workgroupBarrier();
    let a = coopLoad<coop_mat${SIDE}x${SIDE}<f16, A>>(&tile_a[0], ${SIDE}u);
    let b = coopLoadT<coop_mat${SIDE}x${SIDE}<f16, B>>(&tile_b[0], ${SIDE}u);
    #for c in 0..8
    var y${c}: coop_mat${SIDE}x${SIDE}<f32, C>;
    #endfor
    for (var t = 0u; t < params.turns; t++) {
        #for u in 0..4
            #for c in 0..8
        y${c} = coopMultiplyAdd(a, b, y${c});
            #endfor
        #endfor
    }
    let sum = ((y0 + y1) + (y2 + y3)) + ((y4 + y5) + (y6 + y7));
    coopStoreT(sum, &y[linear * ${SIDE * SIDE}u], ${SIDE}u);
}
#endif
