// Included in a loop over z where v{z}_0 .. v{z}_(R-1) hold complex numbers (of type V, functions `spin` and `quarter`) in
// bit-reversed order: their discrete Fourier transform of length R (a power of two up to 32) in place, in natural order.
        #for m in 1..R
        #if R % m == 0
        #for b in 0..R / (2 * m)
        #for k in 0..m
        {
            #if k == 0
            let t = v${z}_${b * 2 * m + m};
            #else
            #if 2 * k == m
            let t = quarter(v${z}_${b * 2 * m + m + k});
            #else
            let t = spin(v${z}_${b * 2 * m + m + k}, COS${k * 16 / m}, SIN${k * 16 / m});
            #endif
            #endif
            let a = v${z}_${b * 2 * m + k};
            v${z}_${b * 2 * m + k} = a + t;
            v${z}_${b * 2 * m + m + k} = a - t;
        }
        #endfor
        #endfor
        #endif
        #endfor
