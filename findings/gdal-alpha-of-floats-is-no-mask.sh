#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4): an alpha band of 8- or 16-bit unsigned samples is the mask of a GeoTIFF, one of Int16 or Float32 is not:
# the band is still called alpha, and every pixel counts as valid, in GDAL's masks and in rasterio's dataset_mask() alike. Float images
# get such a band from `gdalwarp -dstalpha`. A user of the mask functions takes their empty border for data.
# Seen: mask flags per_dataset and alpha, two of four pixels masked (uint8, uint16); all_valid, none masked (int16, float32).
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"
"$dir/v/bin/pip" -q install "rasterio==1.4.4" "numpy==2.2.6"
cd "$dir"
v/bin/python -W ignore - <<'P'
import numpy as np, rasterio
print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
for dtype, masked in (("uint8", 2), ("uint16", 2), ("int16", 0), ("float32", 0)):
    with rasterio.open("a.tif", "w", driver="GTiff", width=4, height=1, count=2, dtype=dtype, ALPHA="YES") as d:
        d.write(np.full((1, 4), 7, dtype), 1)
        d.write(np.array([[0, 0, 200, 200]], dtype), 2)
    with rasterio.open("a.tif") as d:
        flags = [f.name for f in d.mask_flag_enums[0]]
        left_out = int((d.read_masks(1) == 0).sum())
        print(dtype, d.colorinterp[1].name, flags, "masked:", left_out, "by dataset_mask:", int((d.dataset_mask() == 0).sum()))
        assert d.colorinterp[1].name == "alpha" and left_out == masked and int((d.dataset_mask() == 0).sum()) == masked
P
