#!/usr/bin/env python3
"""How often `echogrid locate` and `register` find images that do not say how they lie.

Crops of a scene's SAR image at random places, turned at random over the whole circle, scaled by 0.8 to 1.25 and mirrored every fourth time, without a
georeference, are given with a pixel size up to 25 % off. Prints the share within 60 m of the truth, and how long a command took.

    ECHOGRID_DATA=DATA python3 studies/poses.py --echogrid target/release/echogrid [--scene inland-east] [--crops 12] [--seed 1] [--absent inland-west]

Needs numpy and rasterio.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import rasterio


def sample(a, x, y):
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - x0, y - y0
    g = lambda yy, xx: a[np.clip(yy, 0, a.shape[0] - 1), np.clip(xx, 0, a.shape[1] - 1)].astype(float)
    return (g(y0, x0) * (1 - fx) + g(y0, x0 + 1) * fx) * (1 - fy) + (g(y0 + 1, x0) * (1 - fx) + g(y0 + 1, x0 + 1) * fx) * fy


def crop(a, rng, path):
    """Writes a crop; its middle (pixels of the scene), side, turn, scale and whether it is mirrored."""
    while True:
        side, turn, scale = int(rng.integers(400, 801)), rng.uniform(0, 360), math.exp(rng.uniform(math.log(0.8), math.log(1.25)))
        reach = side * scale / math.sqrt(2)
        cx, cy = (rng.uniform(reach, n - reach) for n in (a.shape[1], a.shape[0]))
        window = a[int(cy - reach):int(cy + reach), int(cx - reach):int(cx + reach)]
        if (window > 0).mean() > 0.97:
            break
    flip = rng.uniform() < 0.25
    y, x = np.mgrid[0:side, 0:side]
    u, v = (x + 0.5 - side / 2) * scale * (-1 if flip else 1), (y + 0.5 - side / 2) * scale
    t = math.radians(turn)
    image = sample(a, cx + math.cos(t) * u - math.sin(t) * v - 0.5, cy + math.sin(t) * u + math.cos(t) * v - 0.5)
    with rasterio.open(path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8") as d:
        d.write(np.clip(image, 0, 255).astype("uint8"), 1)
    return (cx, cy), side, turn, scale, flip


def metres(a, b):
    east = (a[0] - b[0]) * 111319.5 * math.cos(math.radians(a[1]))
    return math.hypot(east, (a[1] - b[1]) * 111000.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--echogrid", default="echogrid")
    parser.add_argument("--scene", default="inland-east")
    parser.add_argument("--absent", help="crops of this scene instead: none must be found")
    parser.add_argument("--crops", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--register", action="store_true", help="by `register` instead of `locate`")
    args = parser.parse_args()
    data = pathlib.Path(os.environ["ECHOGRID_DATA"]) / "scenes"
    rng = np.random.default_rng(args.seed)
    optical = data / args.scene / "optical.tif"
    with rasterio.open(data / (args.absent or args.scene) / "sar.tif") as d:
        sar, place, crs = d.read(1), d.transform, d.crs
    from rasterio.warp import transform as warp
    ground = 10.0
    with tempfile.TemporaryDirectory() as folder:
        db, tif, out = (f"{folder}/{name}" for name in ("map.dense", "crop.tif", "out"))
        index = [args.echogrid, "-q", "index", "--method", "dense", "--map", optical, "--out", db]
        subprocess.run(index, check=True, stdout=subprocess.DEVNULL)
        found, right, seconds = 0, 0, []
        for i in range(args.crops):
            (cx, cy), side, turn, scale, flip = crop(sar, rng, tif)
            lon, lat = (v[0] for v in warp(crs, "EPSG:4326", *([v] for v in place * (cx, cy))))
            ground = 10.0 * math.cos(math.radians(lat))
            given = ground * scale * rng.uniform(0.8, 1.25)
            more = ["--map", optical, "--sar", tif, "--pixel-size", f"{given:.3f}", "--json"]
            if args.register:
                command = [args.echogrid, "-q", "register", "--out", f"{out}.tif", "--extent", "sar", *more]
            else:
                command = [args.echogrid, "-q", "locate", "--index", db, "--out", f"{out}.geojson", *more]
            start = time.time()
            done = subprocess.run(command, capture_output=True, text=True)
            seconds.append(time.time() - start)
            off, said = None, "failed"
            if done.stdout.strip():
                value = json.loads(done.stdout)
                if args.register:
                    m = value["affine"]["sar_to_map"]
                    middle = [row[0] * side / 2 + row[1] * side / 2 + row[2] for row in m]
                    with rasterio.open(optical) as d:
                        x, y = d.transform * middle
                    lonlat = [v[0] for v in warp(crs, "EPSG:4326", [x], [y])]
                    off, said = metres(lonlat, (lon, lat)), "registered"
                else:
                    image = value["images"][0]
                    said = f"{image['verdict']}, {image['probability']}"
                    if "lon" in image:
                        off = metres((image["lon"], image["lat"]), (lon, lat))
            found += off is not None
            right += off is not None and off <= 60
            print(f"{side} px, {turn:.0f} deg, {scale:.2f} times, given {given / ground / scale:.2f} of it{', mirrored' if flip else ''}: "
                  f"{said}, {'-' if off is None else f'{off:.0f} m off'}, {seconds[-1]:.0f} s", flush=True)
    print(f"{args.crops} crops: {found} found, {right} within 60 m; median {sorted(seconds)[len(seconds) // 2]:.0f} s, at most {max(seconds):.0f} s")


main()
