#!/usr/bin/env bash
# Pillow 12.0.0: a GeoTIFF that GDAL wrote sparsely (SPARSE_OK: tiles without data are absent, their offset and length are 0, as in mosaics with gaps) opens as an image of the right size. Without compression each
# absent tile is decoded from offset 0: the file's own header, tags and other tiles become its pixels, without a word, where GDAL and tifffile 2025.10.16 give 0. With DEFLATE or LZW the same file raises
# OSError. OpenCV 4.12.0 reads neither (imread gives None). So a check of the size, or one file that reads, says nothing of the next.
# Seen: gdal 0 and tifffile 0 values other than 0 in the absent tile, pillow 65412 of 65536 (NONE) and OSError "decoder error -2" (DEFLATE, LZW), opencv None thrice.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"
"$dir/v/bin/pip" -q install "rasterio==1.4.4" "numpy==2.2.6" "pillow==12.0.0" "tifffile==2025.10.16" "imagecodecs==2025.11.11" "opencv-python-headless==4.12.0.88"
cd "$dir"
v/bin/python -W ignore - 2>/dev/null <<'P'
import cv2, numpy as np, PIL, rasterio, tifffile
from PIL import Image
from rasterio.windows import Window
print("Pillow", PIL.__version__, "rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__, "tifffile", tifffile.__version__, "OpenCV", cv2.__version__)
kind = dict(driver="GTiff", width=512, height=512, count=1, dtype="uint8", tiled=True, blockxsize=256, blockysize=256, SPARSE_OK=True)
for compress in ("NONE", "DEFLATE", "LZW"):
    with rasterio.open("s.tif", "w", compress=compress, **kind) as d:
        d.write(np.full((1, 256, 256), 7, "uint8"), window=Window(256, 256, 256, 256))
    with rasterio.open("s.tif") as d:
        seen = {"gdal": d.read(1)}
    seen["tifffile"] = tifffile.imread("s.tif")
    try:
        seen["pillow"] = np.asarray(Image.open("s.tif"))
    except OSError as e:
        seen["pillow"] = repr(e)
    seen["opencv"] = cv2.imread("s.tif", cv2.IMREAD_UNCHANGED)
    absent = {k: int((v[:256, :256] != 0).sum()) if isinstance(v, np.ndarray) else v for k, v in seen.items()}
    print(compress, "values other than 0 in the absent tile:", absent)
    assert absent["gdal"] == 0 and absent["tifffile"] == 0 and absent["opencv"] is None
    assert all((v[256:, 256:] == 7).all() for v in seen.values() if isinstance(v, np.ndarray))
    assert absent["pillow"] == 65412 if compress == "NONE" else absent["pillow"] == "OSError('decoder error -2')"
P
