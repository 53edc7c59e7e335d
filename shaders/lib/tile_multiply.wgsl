// Included in a loop over inner tiles, once both tiles are written: acc0 .. acc3 += tile_a * tile_b for rows 4 ty .. and columns 4 tx ..
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let at = k * PITCH + tx * 4u;
            let b = vec4<f32>(tile_b[at], tile_b[at + 1u], tile_b[at + 2u], tile_b[at + 3u]);
            #for r in 0..4
            acc${r} += tile_a[k * PITCH + ty * 4u + ${r}u] * b;
            #endfor
        }
        workgroupBarrier();
