// Included in a loop over inner tiles, once both tiles are written: acc += tile_a * tile_b for the invocation's rows and columns.
        workgroupBarrier();
        #if UNROLL
            #for k in 0..DEPTH
        {
            #for v in 0..PER/4
            let b${v} = vec4<f32>(tile_b[${k}u * PITCH + ${4 * TILE / PER * v}u + tx * 4u], tile_b[${k}u * PITCH + ${4 * TILE / PER * v + 1}u + tx * 4u], tile_b[${k}u * PITCH + ${4 * TILE / PER * v + 2}u + tx * 4u], tile_b[${k}u * PITCH + ${4 * TILE / PER * v + 3}u + tx * 4u]);
            #endfor
            #for r in 0..PER
            {
                let a = tile_a[${k}u * PITCH + ${r / 4 * 4 * TILE / PER + r % 4}u + ty * 4u];
                #for v in 0..PER/4
                acc${r}_${v} += a * b${v};
                #endfor
            }
            #endfor
        }
            #endfor
        #else
        for (var k = 0u; k < DEPTH; k++) {
            #for v in 0..PER/4
            let at${v} = k * PITCH + ${4 * TILE / PER * v}u + tx * 4u;
            let b${v} = vec4<f32>(tile_b[at${v}], tile_b[at${v} + 1u], tile_b[at${v} + 2u], tile_b[at${v} + 3u]);
            #endfor
            #for r in 0..PER
            {
                let a = tile_a[k * PITCH + ${r / 4 * 4 * TILE / PER + r % 4}u + ty * 4u];
                #for v in 0..PER/4
                acc${r}_${v} += a * b${v};
                #endfor
            }
            #endfor
        }
        #endif
        workgroupBarrier();
