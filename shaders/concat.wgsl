// Copy of a slice of channels: dst[r, dst_off + k] = src[r, src_off + k] for k < count.
//
// bindings: src [R, CS], dst [R, CD], params
// Dispatch: chunks * count / VEC invocations in groups of 64, folded; each takes the rows of a chunk (every
// chunks-th, or a run). Variant: VEC (1 or 4); S and D say how src and dst
// are stored, in f32 or f16; counts are of VEC. Workgroup memory: none.
#import fold

alias V = ${T};
alias S = ${S};
alias D = ${D};

struct Params {
    total: u32,  // invocations
    rows: u32,
    chunk_rows: u32, // a chunk is this many rows
    row_step: u32,   // apart by this,
    row_span: u32,   // from chunk * row_span on
    count: u32,
    src_off: u32,
    src_stride: u32,
    dst_off: u32,
    dst_stride: u32,
}

@group(0) @binding(0) var<storage, read> src: array<S>;
@group(0) @binding(1) var<storage, read_write> dst: array<D>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let chunk = i / params.count;
    let c = i - chunk * params.count;
    var r = chunk * params.row_span;
    for (var k = 0u; k < params.chunk_rows && r < params.rows; k++) {
        dst[r * params.dst_stride + params.dst_off + c] = D(V(src[r * params.src_stride + params.src_off + c]));
        r += params.row_step;
    }
}
