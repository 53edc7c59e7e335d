// Included where a tile is at hand: a{g}_{r} = <q[q0 + first_q + g], x[x0 + first_x + r x_step]>, places beyond the last query or row clamped to it.
    let steps = params.d / ${WIDTH}u;
#for r in 0..RT
    let x${r} = (params.x0 + min(first_x + ${r}u * x_step, params.n - 1u)) * steps;
#endfor
#if BROADCAST
    #for g in 0..(QT + 7) / 8
    let q${g} = (params.q0 + min(first_q + ${8 * g}u + lane, params.nq - 1u)) * steps;
    #endfor
#else
    #for g in 0..QT
    let q${g} = (params.q0 + min(first_q + ${g}u, params.nq - 1u)) * steps;
    #endfor
#endif
#for g in 0..QT
    #for r in 0..RT
    var a${g}_${r} = 0.0;
    #endfor
#endfor
    for (var k = 0u; k < steps; k++) {
#for r in 0..RT
        let v${r} = load_x(x${r} + k);
#endfor
#if BROADCAST
    #for g in 0..(QT + 7) / 8
        let u${g} = query(q[q${g} + k]);
    #endfor
    #for g in 0..QT
        #if WIDTH == 8
        let b${g} = V(subgroupBroadcast(u${g / 8}.even, ${g % 8}u), subgroupBroadcast(u${g / 8}.odd, ${g % 8}u));
        #else
        let b${g} = subgroupBroadcast(u${g / 8}, ${g % 8}u);
        #endif
        #for r in 0..RT
        a${g}_${r} += product(b${g}, v${r});
        #endfor
    #endfor
#else
    #for g in 0..QT
        let b${g} = query(q[q${g} + k]);
        #for r in 0..RT
        a${g}_${r} += product(b${g}, v${r});
        #endfor
    #endfor
#endif
    }
