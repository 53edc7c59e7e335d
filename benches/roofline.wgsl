// A device's arithmetic limit: every invocation keeps eight independent chains of y = y * a + b busy, four wide.
// y [64 groups]: so that nothing is left out. Dispatch: groups of 64, folded.
#import fold

struct Params {
    groups: u32,
    turns: u32,
    a: f32,
    b: f32,
}

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
