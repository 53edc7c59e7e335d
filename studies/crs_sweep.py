"""Holds src/scene/crs against PROJ: every code, every method, every spelling.

    pip install pyproj rasterio tifffile numpy
    python studies/crs_sweep.py             # about two minutes on two cores; no grids of PROJ may be installed

Places are written to a file that the ignored test `crs_sweep` reads (`ECHOGRID_CRS_POINTS`); it writes beside it what the module makes of
them. A system is right where all its places lie within 10 m of PROJ's there and back, and refused where it or some places are, by name;
what is neither is printed and makes the exit status 1. Places for which PROJ itself knows no shift ("ballpark") count for nothing,
unless it knows none in the whole area. The module may refuse a place that PROJ computes, never the other way round.
"""

import collections, json, math, multiprocessing, os, pathlib, random, re, subprocess, sys, tempfile, warnings

import numpy as np
import pyproj, rasterio, tifffile

import crs_samples
from crs_tables import ROOT, definitions, observe

warnings.filterwarnings("ignore")
# Projections with odd parameters: words, how many, and ranges of the random ones.
AT = dict(lat=(-75, 75), lon=(-170, 170))
METHODS = [
    ("tmerc +lat_0={lat} +lon_0={lon} +k=0.9996 +x_0=500000", 6, {}),
    ("lcc +lat_0={lat} +lon_0={lon} +lat_1={a} +lat_2={b}", 6, dict(a=(20, 40), b=(45, 70))),
    ("lcc +lat_0={lat} +lon_0={lon} +lat_1={a} +lat_2={b}", 3, dict(a=(-20, -40), b=(-45, -70))),
    ("lcc +lat_0={a} +lon_0={lon} +lat_1={a} +k_0=0.999", 3, dict(a=(20, 60))),
    ("laea +lat_0={lat} +lon_0={lon}", 6, {}),
    ("laea +lat_0={a} +lon_0={lon}", 3, dict(a=(90, 90))),
    ("laea +lat_0={a} +lon_0={lon}", 3, dict(a=(-90, -90))),
    ("aeqd +lat_0={lat} +lon_0={lon}", 6, {}),
    ("aeqd +lat_0={a} +lon_0={lon}", 3, dict(a=(90, 90))),
    ("aeqd +lat_0={a} +lon_0={lon}", 3, dict(a=(0, 0))),
    ("aea +lat_0={lat} +lon_0={lon} +lat_1={a} +lat_2={b}", 6, dict(a=(10, 30), b=(35, 60))),
    ("aea +lat_0={lat} +lon_0={lon} +lat_1={a} +lat_2={b}", 3, dict(a=(-10, -30), b=(-35, -60))),
    ("eqdc +lat_0={lat} +lon_0={lon} +lat_1={a} +lat_2={b}", 4, dict(a=(10, 30), b=(35, 60))),
    ("stere +lat_0={lat} +lon_0={lon} +k=0.999", 6, {}),
    ("stere +lat_0=90 +lat_ts={a} +lon_0={lon}", 4, dict(a=(50, 85))),
    ("stere +lat_0=-90 +lat_ts={a} +lon_0={lon}", 4, dict(a=(-85, -50))),
    ("stere +lat_0=-90 +k=.994 +lon_0={lon} +x_0=2000000", 3, {}),
    ("sterea +lat_0={lat} +lon_0={lon} +k=0.9999", 6, {}),
    ("merc +lon_0={lon} +lat_ts={a}", 4, dict(a=(-60, 60))),
    ("merc +lon_0={lon} +k=.99", 3, {}),
    ("eqc +lat_ts={a} +lat_0={lat} +lon_0={lon}", 4, dict(a=(-60, 60))),
    ("cass +lat_0={lat} +lon_0={lon}", 6, {}),
    ("gnom +lat_0={lat} +lon_0={lon}", 3, {}),
    ("ortho +lat_0={lat} +lon_0={lon}", 4, {}),
    ("mill +lon_0={lon}", 2, {}),
    ("poly +lat_0={lat} +lon_0={lon}", 4, {}),
    ("robin +lon_0={lon}", 3, {}),
    ("sinu +lon_0={lon}", 3, {}),
    ("moll +lon_0={lon}", 3, {}),
    ("eqearth +lon_0={lon}", 3, {}),
    ("cea +lat_ts={a} +lon_0={lon}", 3, dict(a=(-60, 60))),
    ("omerc +lat_0={lat} +lonc={lon} +alpha={a} +gamma={a} +k=.9996", 6, dict(a=(-80, 80))),
    ("omerc +no_uoff +lat_0={lat} +lonc={lon} +alpha={a} +gamma={b} +k=.9996 +x_0=1000", 6, dict(a=(10, 80), b=(10, 80))),
    ("somerc +lat_0={lat} +lon_0={lon} +k_0=1", 6, {}),
]
DATUMS = ["+datum=WGS84", "+R=6371000", "+ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7"]
METRES = 111320.0


def module(cases):
    """(there, back, keys) by the module for each (text, place, point): pairs or messages."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "points"
        line = lambda c: "\t".join([re.sub(r"\s*\n\s*", "", c[0])] + [repr(float(v)) for v in (*c[1], *c[2])]) + "\n"
        path.write_text("".join(map(line, cases)))
        run = ["cargo", "test", "--release", "--lib", "-q", "crs_sweep", "--", "--ignored"]
        subprocess.run(run, cwd=ROOT, env=dict(os.environ, ECHOGRID_CRS_POINTS=str(path)), stdout=subprocess.DEVNULL, check=True)
        for text in pathlib.Path(str(path) + ".out").read_text().splitlines():
            fields, out = text.split("\t"), []
            if len(fields) == 1:
                yield fields[0], fields[0], fields[0]
                continue
            while len(out) < 2:
                if fields[0].startswith("!"):
                    out.append(fields.pop(0))
                else:
                    out.append((float(fields.pop(0)), float(fields.pop(0))))
            yield out[0], out[1], fields[0]


def apart(p, q):
    """Metres between places."""
    return math.hypot(((p[0] - q[0] + 540) % 360 - 180) * math.cos(math.radians(p[1])), p[1] - q[1]) * METRES


def codes(pool, wrong):
    """All codes, at a raster of other places than those of the tables."""
    known = sorted({int(c) for c in re.findall(r"\bEPSG_(\d+)\b", definitions())})
    seen = [r for r in pool.map(observe, [(c, 4, 8, False) for c in known], chunksize=8) if r]
    cases = [(r, i) for r in seen for i in range(len(r["lon"])) if np.isfinite(r["x"][i]) and (r["ball"].all() or not r["ball"][i])]
    place = lambda r, i: (r["lon"][i], r["lat"][i])
    found = module([("EPSG:%d" % r["code"], place(r, i), (r["x"][i], r["y"][i])) for r, i in cases])
    verdict, counts = collections.defaultdict(set), collections.Counter()
    for (r, i), (there, back, _) in zip(cases, found):
        if isinstance(there, str) or isinstance(back, str):
            text = there if isinstance(there, str) else back
            reason = next((w for w in ("datum", "axes", "unit", "projection", "method", "scale", "meridian") if w in text.split("; ")[0]), text)
            verdict[r["code"]].add("refused: " + reason)
            continue
        unit = math.degrees(r["unit"][0]) * METRES if r["geographic"] else r["unit"][0]
        off = max(math.hypot(there[0] - r["x"][i], there[1] - r["y"][i]) * unit, apart(back, place(r, i)))
        verdict[r["code"]].add("right" if off <= 10 else "wrong")
        if off > 10:
            wrong.append("EPSG:%d %s: %.1f m at %.3f %.3f" % (r["code"], r["name"], off, *place(r, i)))
    for kinds in verdict.values():
        first = min(kinds, key=lambda k: (k != "wrong", k != "right", k))
        partly = first == "right" and len(kinds) > 1
        counts["right in part, elsewhere refused" if partly else first] += 1
    print("codes of horizontal systems:", len(verdict), dict(counts.most_common()))


def methods(wrong):
    """Projections with odd parameters, near their centre and far from it."""
    random.seed(5)
    cases, closes, counts = [], [], collections.defaultdict(collections.Counter)
    for words, count, ranges in METHODS:
        for i in range(count):
            text = "+proj=" + words.format(**{k: "%.6g" % random.uniform(*v) for k, v in {**AT, **ranges}.items()}) + " " + DATUMS[i % 3]
            to, (lon, lat) = pyproj.Transformer.from_crs(4326, pyproj.CRS(text), always_xy=True), crs_samples.place_of(text)
            around = [(lon + dx, lat + dy) for dx in (-6, -2, 0.3, 3, 7) for dy in (-5, -1, 2, 6)]
            for place in around + [(lon + dx, dy) for dx in (-150, -80, -40, 20, 60, 120, 175) for dy in (-70, -35, -5, 10, 45, 80)]:
                place = ((place[0] + 540) % 360 - 180, max(-89.0, min(89.0, place[1])))
                point = to.transform(*place)
                again = to.transform(*point, direction="INVERSE") if np.isfinite(point[0]) else (math.inf, math.inf)
                cases.append((text, place, point if np.isfinite(point[0]) else (math.nan, math.nan)))
                closes.append(np.isfinite(again[0]) and apart(again, place) < 1)
    for (text, place, point), close, (there, back, _) in zip(cases, closes, module(cases)):
        if isinstance(there, str) or isinstance(back, str):
            kind = "refused" if not close else "refused, PROJ computes it"
        else:
            off = max(math.hypot(there[0] - point[0], there[1] - point[1]), apart(back, place))
            kind = "right" if off <= 10 else "wrong" if close else "neither PROJ nor the module closes"
            if kind == "wrong":
                wrong.append("%s: %.1f m at %.3f %.3f" % (text, off, *place))
        counts[text.split()[0]][kind] += 1
    total = sum(counts.values(), collections.Counter())
    print("places of %d methods:" % len(counts), dict(total), {m: dict(c) for m, c in counts.items() if set(c) - {"right"}})


def spellings(wrong):
    """All samples, and whether GDAL reads back the keys that the module writes."""
    cases, counts = list(crs_samples.all_samples()), collections.Counter()
    for (text, place, point), (there, back, keys) in zip(cases, module(cases)):
        geographic = not text.startswith(("KEYS", "EPSG")) and pyproj.CRS(text).is_geographic
        unit = METRES if geographic or abs(point[0]) <= 360 and abs(point[1]) <= 180 else 1
        refused = isinstance(there, str) or isinstance(back, str)
        off = math.inf if refused else max(math.hypot(there[0] - point[0], there[1] - point[1]) * unit, apart(back, place))
        counts["right" if off <= 10 else "wrong"] += 1
        if off > 10:
            wrong.append("%s: %s" % (text, there if refused else "%.1f m" % off))
        if refused or keys.startswith("!"):
            counts["keys refused"] += 1
            continue
        directory, doubles, ascii_ = json.loads(keys)
        extra = [(34735, "H", len(directory), directory, True), (33550, "d", 3, [1.0, 1.0, 0.0], True), (33922, "d", 6, [0.0, 0, 0, 1, 1, 0], True)]
        extra += [(34736, "d", len(doubles), doubles, True)] if doubles else []
        extra += [(34737, "s", 0, ascii_, True)] if ascii_ else []
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "ours.tif"
            tifffile.imwrite(path, np.zeros((1, 1), "uint8"), extratags=extra, photometric="minisblack", metadata=None)
            with rasterio.open(path) as f:
                read = crs_samples.proj(pyproj.CRS.from_wkt(f.crs.to_wkt()), place) if f.crs else (math.inf, math.inf)
        # PROJ's own shift of a datum may be another than ours, within what is allowed.
        off = math.hypot(read[0] - there[0], read[1] - there[1]) * unit
        by_code = 34737 not in [e[0] for e in extra]
        counts["keys read by GDAL"] += 1
        if off > (10 if by_code else 1):
            wrong.append("keys of %s: GDAL is %.1f m off" % (text, off))
    print("spellings:", dict(counts))


if __name__ == "__main__":
    failures = []
    with multiprocessing.Pool() as workers:
        codes(workers, failures)
    methods(failures)
    spellings(failures)
    print(*failures, "wrong: %d" % len(failures), sep="\n")
    sys.exit(bool(failures))
