"""False fixes of dense matching on maps of another kind than the features were trained on.

Builds mosaics (GeoTIFF) of pairs of patches, runs `echogrid eval --protocol dense` on each with queries that are on the map and queries
of another area; with --locate N also `echogrid index` and `locate` of N single tiles that are on the map and N that are not. Prints how
many queries got a fix that is accepted at the default threshold and wrong, with 95 % intervals (Wilson).

    python3 studies/domain.py --data DATA --work FOLDER [--echogrid target/release/echogrid] [--queries 300] [--json FILE]

DATA (or $ECHOGRID_DATA) holds scenes/ and pairs/; FOLDER keeps the mosaics, 1 GB at most. Needs rasterio and numpy.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess

import numpy as np
import rasterio
import rasterio.windows
from rasterio.transform import from_origin

# Pixels at a SAR tile's edge without data: tiles side by side are no neighbours, and a patch over a seam is of no place.
MARGIN = 8


def read(path):
    with rasterio.open(path) as f:
        return f.read()


def write(path, bands, pixel_m, corner):
    profile = dict(driver="GTiff", width=bands.shape[2], height=bands.shape[1], count=bands.shape[0], dtype="uint8", nodata=0,
                   crs="EPSG:32631", transform=from_origin(*corner, pixel_m, pixel_m), compress="deflate", tiled=True)
    with rasterio.open(path, "w", **profile) as f:
        f.write(bands)


def tiles(folder, part):
    """Pairs of a folder by name; part 0 or 1 of two keeps every second one of them."""
    names = {p.stem: p for p in sorted((folder / "opt").iterdir())}
    sars = {p.stem: p for p in sorted((folder / "sar").iterdir())}
    both = [n for n in names if n in sars]
    if part is not None:
        both = both[part::2]
    return [(read(names[n]), read(sars[n])) for n in both]


def whole(folder, number):
    """One scene that is given as two pictures."""
    return [(read(folder / f"{number}_opt.jpg"), read(folder / f"{number}_sar.jpg"))]


def mosaic(pairs, out, pixel_m=10.0, most=None, gap=0):
    """Lays tiles side by side, `gap` pixels without data between them. Value 0 is no data, so pixels are 1 and more."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "sar.tif").exists():
        return
    pairs = pairs[:most]
    height, width = pairs[0][0].shape[1:]
    across = math.ceil(math.sqrt(len(pairs)))
    down = math.ceil(len(pairs) / across)
    bands = pairs[0][0].shape[0]
    optical = np.zeros((bands, down * (height + gap), across * (width + gap)), np.uint8)
    sar = np.zeros((1, *optical.shape[1:]), np.uint8)
    for i, (o, s) in enumerate(pairs):
        y, x = (i // across) * (height + gap), (i % across) * (width + gap)
        optical[:, y:y + height, x:x + width] = np.maximum(o, 1)
        m = MARGIN if len(pairs) > 1 else 0
        sar[0, y + m:y + height - m, x + m:x + width - m] = np.maximum(s[0, m:height - m, m:width - m], 1)
    write(out / "optical.tif", optical, pixel_m, (500000, 5000000))
    write(out / "sar.tif", sar, pixel_m, (500000, 5000000))


def wilson(k, n):
    """95 % interval of a share, Wilson's."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.96, k / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


def run(command):
    """Standard output as JSON; the message where it failed."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    return (json.loads(done.stdout), None) if done.returncode in (0, 3) else (None, done.stderr.strip())


def span(k, n):
    low, high = wilson(k, n)
    return f"{k} of {n} ({100 * k / max(n, 1):.1f} % [{100 * low:.1f}, {100 * high:.1f}])"


def locate(args, scenes, name, other, features, side, count):
    """Single tiles of both sets against the map of one: wrong fixes of those on the map, and of the others."""
    index = args.work / f"{name}-{features}.dense"
    result, error = run([args.echogrid, "index", "--method", "dense", "--features", features, "--map", scenes[name] / "optical.tif",
                         "--patch", side, "--out", index, "--json"])
    if error:
        return error
    said = []
    for folder, present in ((name, True), (other, False)):
        wrong, patches = 0, 0
        with rasterio.open(scenes[folder] / "sar.tif") as f:
            size = args.tile
            places = [(x, y) for y in range(0, f.height, size) for x in range(0, f.width, size)]
            for x, y in places[:: max(1, len(places) // count)][:count]:
                window = rasterio.windows.Window(x + MARGIN, y + MARGIN, size - 2 * MARGIN, size - 2 * MARGIN)
                tile = f.read(window=window)
                if (tile == 0).mean() > 0.05:
                    continue
                corner = f.transform * (x + MARGIN, y + MARGIN)
                write(args.work / "tile.tif", tile, f.transform.a, corner)
                r, error = run([args.echogrid, "locate", "--index", index, "--sar", args.work / "tile.tif", "--patch", side, "--step", side,
                                "--features", features, "--out", args.work / "tile.geojson", "--truth", "--json"])
                if error:
                    return error
                right = r["truth"]["right"] if present else 0
                patches, wrong = patches + r["patches"], wrong + r["fixes"] - right
        said.append(span(wrong, patches))
    return "   ".join(said)


def build(data, work, binary):
    """Folders of optical.tif and sar.tif by name."""
    pairs = data / "pairs"
    sets = {
        "ombria_val": lambda o: mosaic(tiles(pairs / "ombria_val", None), o),
        "ombria_train": lambda o: mosaic(tiles(pairs / "ombria_train", None), o, most=210),
        "srif_a": lambda o: mosaic(tiles(pairs / "srif", 0), o),
        "srif_b": lambda o: mosaic(tiles(pairs / "srif", 1), o),
        "sih_1": lambda o: mosaic(whole(pairs / "sih", 1), o),
        "sih_2": lambda o: mosaic(whole(pairs / "sih", 2), o),
    }
    out = {}
    for name, make in sets.items():
        out[name] = work / name
        make(out[name])
    for seed in (1, 2):
        out[f"synth_{seed}"] = work / f"synth_{seed}"
        if not (work / f"synth_{seed}" / "sar.tif").exists():
            subprocess.run([binary, "synth", "--out", work / f"synth_{seed}", "--seed", str(seed)], check=True, stdout=subprocess.DEVNULL)
    for name in ("los-angeles", "inland-west", "inland-east"):
        out[name] = data / "scenes" / name
    return out


# Map, area of the queries that are not on it, sides of the patches.
CASES = [
    ("ombria_val", "ombria_train", (200, 100)),
    ("ombria_train", "ombria_val", (200, 100)),
    ("srif_a", "srif_b", (150, 100)),
    ("srif_b", "srif_a", (150, 100)),
    ("synth_1", "synth_2", (200, 100)),
    ("synth_2", "synth_1", (200, 100)),
    ("sih_1", "sih_2", (200, 100)),
    ("sih_2", "sih_1", (200, 100)),
    ("inland-west", "los-angeles", (200, 100, 64)),
    ("los-angeles", "inland-west", (200, 100, 64)),
    ("inland-east", "inland-west", (200, 100, 64)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=os.environ.get("ECHOGRID_DATA"), required="ECHOGRID_DATA" not in os.environ)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--echogrid", type=pathlib.Path, default=pathlib.Path("target/release/echogrid"))
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--features", nargs="+", default=["learned", "structure"])
    parser.add_argument("--only", nargs="+", help="names of maps")
    parser.add_argument("--dense-model", type=pathlib.Path)
    parser.add_argument("--dumps", action="store_true", help="keep what was said of every query")
    parser.add_argument("--locate", type=int, default=0, help="tiles of ombria_val and as many of ombria_train to locate one by one")
    parser.add_argument("--tile", type=int, default=256, help="side of those tiles, pixels")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    args.data = pathlib.Path(args.data)
    scenes = build(args.data, args.work, args.echogrid)
    results = []
    print(f"{'map':14} {'features':10} px   within 100 m  found, right   wrong of those on the map     of another area")
    for name, other, sides in CASES:
        if args.only and name not in args.only:
            continue
        for features in args.features:
            for side in sides:
                command = [args.echogrid, "eval", "--protocol", "dense", "--features", features, "--patch", side, "--queries", args.queries,
                           "--seed", args.seed, "--map", scenes[name] / "optical.tif", "--sar", scenes[name] / "sar.tif",
                           "--absent", scenes[other] / "optical.tif", scenes[other] / "sar.tif", "--json"]
                if args.dense_model and features == "learned":
                    command += ["--dense-model", args.dense_model]
                if args.dumps:
                    command += ["--dump", args.work / f"{name}-{features}-{side}-{args.seed}.json"]
                r, error = run(command)
                if error:
                    print(f"{name:14} {features:10} {side:3}  {error}", flush=True)
                    continue
                n, found = r["queries"], round(r["accepted"] * r["queries"])
                right = round((r["accepted_right"] or 0.0) * found)
                wrong, absent, of = found - right, r["absent"]["false_fixes"], r["absent"]["queries"]
                print(f"{name:14} {features:10} {side:3} {100 * r['within_m']['100']:10.1f} % {found:5}, {right:5}   {span(wrong, n):28}  "
                      f"{span(absent, of)}", flush=True)
                results.append(dict(map=name, absent=other, features=features, patch=side, queries=n, within_100_m=r["within_m"]["100"],
                                    found=found, right=right, wrong=wrong, absent_queries=of, absent_false=absent, distance=r.get("distance"),
                                    absent_distance=r["absent"].get("distance"),
                                    calibration_error=r["calibration_error"], warnings=r.get("warnings", [])))
    if args.locate:
        for features in args.features:
            for side in (200, 100):
                said = locate(args, scenes, "ombria_val", "ombria_train", features, side, args.locate)
                print(f"locate, tiles  {features:10} {side:3}   {said}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
