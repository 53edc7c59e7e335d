// Included in a loop over inner tiles, once both tiles are written: acc += tile_a * tile_b for the invocation's rows and columns.
        workgroupBarrier();
        #if UNROLL
            #for u in 0..DEPTH
        {
            let k = ${u}u;
            #include tile_step
        }
            #endfor
        #else
        for (var k = 0u; k < DEPTH; k++) {
            #include tile_step
        }
        #endif
        workgroupBarrier();
