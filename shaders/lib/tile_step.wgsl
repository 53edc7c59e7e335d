// One inner index k of tile_multiply.
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
