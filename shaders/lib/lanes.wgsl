// Reductions over the LANES invocations of a workgroup (a power of two; the variant sets it), in a fixed order.
// All invocations must call them, in uniform control flow; every one gets the result. Workgroup memory: 4 LANES bytes.
var<workgroup> lanes_scratch: array<f32, ${LANES}>;

fn lanes_sum(lane: u32, v: f32) -> f32 {
    lanes_scratch[lane] = v;
    workgroupBarrier();
#if LANES > 16
    for (var half = ${LANES / 2}u; half > 0u; half = half >> 1u) {
        if lane < half {
            lanes_scratch[lane] += lanes_scratch[lane + half];
        }
        workgroupBarrier();
    }
    let all = lanes_scratch[0];
#else
    var all = lanes_scratch[0];
    #for i in 1..LANES
    all += lanes_scratch[${i}];
    #endfor
#endif
    workgroupBarrier();
    return all;
}

fn lanes_max(lane: u32, v: f32) -> f32 {
    lanes_scratch[lane] = v;
    workgroupBarrier();
#if LANES > 16
    for (var half = ${LANES / 2}u; half > 0u; half = half >> 1u) {
        if lane < half {
            lanes_scratch[lane] = max(lanes_scratch[lane], lanes_scratch[lane + half]);
        }
        workgroupBarrier();
    }
    let all = lanes_scratch[0];
#else
    var all = lanes_scratch[0];
    #for i in 1..LANES
    all = max(all, lanes_scratch[${i}]);
    #endfor
#endif
    workgroupBarrier();
    return all;
}
