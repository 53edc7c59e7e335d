#!/usr/bin/env python3
"""Features for dense matching: the towers, loss, sampler and course of `echogrid train --dense`, trained in PyTorch, for hours if need be.

    echogrid train --dense --config FILE ... --epochs 1 --out TEMPLATE
    python3 benches/peers/dense_training.py TEMPLATE --scene MAP SAR [--scene ..] [--pairs SAR OPT ..] --out MODEL [--epochs N] [--resume] [--bf16]
    echogrid eval --protocol dense ... --dense-model MODEL

    echogrid train --dense --config FILE ... --export FOLDER
    python3 benches/peers/dense_training.py --batches FOLDER [--ours MODEL.log.jsonl]

Needs PyTorch, safetensors, rasterio and numpy. The template (`steps = 1` makes one in seconds) says all but the weights: towers, course, augmentation, how each scene is standardised. Its scenes and then its
folders of pairs are named again in its order; a map and its SAR image must share one grid. Windows and patches are drawn by echogrid's rules from numbers of their own, and cut as its sampler cuts: the pixels nearest to as many
taps as a feature pixel has, and their mean. Every --every minutes a checkpoint (OUT.pt, from which --resume goes on, for more passes too while the rate holds) and the model so far are written; the manifest says what trained it, by this script's
digest too. With --batches nothing is written: losses on echogrid's batches from its start values, beside its own.
"""

import argparse
import hashlib
import json
import math
import os
import re
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from cmpc import batches as exported
from networks import Descent, learning_rate, start_from, to_echogrid

CLIP, BLOCK, VALID = 4.0, 8, 0.5
WINDOW_VALID, PATCH_VALID, OFFSETS = 0.75, (0.9, 0.999), 64
HOPELESS, HARD, MOVED = 0.1, 0.25, 0.25
MOST_LOOKS = 16


class Unit(nn.Module):
    """Convolution without bias, batch normalisation, and ReLU where asked."""

    def __init__(self, i, o, k=3, stride=1, dilation=1, relu=True):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(i, o, k, stride, dilation * (k - 1) // 2, dilation, bias=False), nn.BatchNorm2d(o), relu

    def forward(self, x):
        y = self.bn(self.conv(x))
        return F.relu(y) if self.relu else y


class Tower(nn.Module):
    """A unit vector a pixel, 0 where the patch has no data; parameters under echogrid's names."""

    def __init__(self, c):
        super().__init__()
        self.levels, self.skip, widths = c["levels"], c["skip"], [lv["width"] for lv in c["levels"]]
        self.stems = [f"stem{i + 1}" for i in range(c["stem"])]
        for i, name in enumerate(self.stems):
            self.add_module(name, Unit(4 if i == 0 else widths[0], widths[0]))
        for i, level in enumerate(self.levels):
            if i:
                self.add_module(f"down{i}", Unit(widths[i - 1], widths[i], stride=2))
            blocks = nn.Module()
            for b, d in enumerate(level["dilations"]):
                block = nn.Module()
                block.add_module("1", Unit(widths[i], widths[i], dilation=d))
                block.add_module("2", Unit(widths[i], widths[i], dilation=d, relu=False))
                blocks.add_module(str(b), block)
            self.add_module(f"level{i}", blocks)
        for i, (fine, coarse) in enumerate(zip(widths, widths[1:])):
            if self.skip == "add" and fine != coarse:
                self.add_module(f"fit{i}", Unit(coarse, fine, 1, relu=False))
            self.add_module(f"join{i}", Unit(fine if self.skip == "add" else fine + coarse, fine))
        self.head = nn.Conv2d(widths[0], c["channels"], 1)

    def blocks(self, i, x):
        for block in self.get_submodule(f"level{i}").children():
            x = F.relu(x + block.get_submodule("2")(block.get_submodule("1")(x)))
        return x

    def forward(self, patch):
        x, seen = patch, []
        for name in self.stems:
            x = self.get_submodule(name)(x)
        x = self.blocks(0, x)
        for i in range(1, len(self.levels)):
            seen.append(x)
            x = self.blocks(i, self.get_submodule(f"down{i}")(x))
        for i, finer in reversed(list(enumerate(seen))):
            x = self.get_submodule(f"fit{i}")(x) if hasattr(self, f"fit{i}") else x
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.get_submodule(f"join{i}")(x + finer if self.skip == "add" else torch.cat([x, finer], 1))
        return F.normalize(self.head(x).float(), dim=1, eps=1e-6) * (patch[:, 3:] >= VALID)


def fourier(n, m):
    """The transform of m values, and zeros behind them, as a matrix [n, m]."""
    turns = torch.arange(n)[:, None] * torch.arange(m)[None, :] % n
    return torch.polar(torch.ones(n, m), -2 * math.pi / n * turns)


def spectra(images, side):
    """Of images [N, C, s, s] and zeros around them, [F, N, C]: columns by a product with a matrix, which lays frequencies first; PyTorch 2.15's transforms along columns and the copies to that order take twice as long."""
    n, c, s, _ = images.shape
    rows = torch.fft.rfft(images, n=side).permute(3, 2, 0, 1).reshape(side // 2 + 1, s, n * c)
    return torch.matmul(fourier(side, s), rows).view(-1, n, c)


def correlate(windows, patches):
    """Scores [P, V, n, n] of patches [P, C, s, s] at every offset in windows [V, C, S, S]."""
    side, n = windows.shape[-1], windows.shape[-1] - patches.shape[-1] + 1
    a, b = spectra(windows, side), spectra(patches, side)
    product = torch.bmm(b.conj(), a.mT).view(side // 2 + 1, side, -1)
    rows = torch.matmul(fourier(side, n).mH / side, product)
    return torch.fft.irfft(rows.view(-1, n, len(patches), len(windows)).permute(2, 3, 1, 0).contiguous(), n=side)[..., :n]


class Network(nn.ModuleDict):
    """Both towers, and the temperature that the loss learns."""

    def __init__(self, c):
        super().__init__({"map": Tower(c["encoder"]), "sar": Tower(c["encoder"])})
        self["loss"] = nn.ParameterDict({"log_scale": torch.tensor([math.log(c["logit_scale"])])})
        self.radius, self.most = c["radius"], c["max_logit_scale"]
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight, 0, math.sqrt(2 / m.weight[0].numel()))
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def losses(self, windows, patches, target, bf16=False):
        """Each patch's loss, and whether its largest score lies near the true offset; `target` [P, 4]: row, column, window."""
        with torch.autocast(windows.device.type, torch.bfloat16, enabled=bf16):
            a, b = self["map"](windows), self["sar"](patches)
        b = b - b.mean((2, 3), keepdim=True)
        b = F.normalize(b.flatten(1), eps=1e-6).view_as(b)
        side, small = a.shape[-1], b.shape[-1]
        n = side - small + 1
        z = correlate(a, b) * (self["loss"]["log_scale"].exp().clamp(max=self.most) / small)
        flat, within = z.flatten(1), math.floor(self.radius)
        by = torch.arange(-within, within + 1)
        disc = torch.stack(torch.meshgrid(by, by, indexing="ij")).flatten(1)
        disc = disc[:, disc.square().sum(0) <= self.radius**2]
        row, column = (target[:, i, None].long() + disc[i] for i in (0, 1))
        inside = (row >= 0) & (row < n) & (column >= 0) & (column < n)
        right = (target[:, 2:3].long() * n + row.clamp(0, n - 1)) * n + column.clamp(0, n - 1)
        losses = flat.logsumexp(1) - flat.gather(1, right).masked_fill(~inside, -math.inf).logsumexp(1)
        return losses, ((flat.argmax(1, keepdim=True) == right) & inside).any(1)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for part in iter(lambda: f.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def by_script(script, bf16):
    """What trained a model, for its manifest."""
    return f"PyTorch {torch.__version__}, CPU{', bf16' if bf16 else ''} (benches/peers/{os.path.basename(script)}, sha256 {sha256(script)[:16]})"


def map_input(v, share):
    """What the map's tower takes: three bands, of which a map of fewer repeats its last, and the share that has data."""
    v = v[..., [min(b, v.shape[-1] - 1) for b in range(3)]]
    return np.concatenate([np.where(share[..., None] > 0, v, 0), share[..., None]], 2)


def sar_input(v, share):
    """What the SAR image's takes: its values, nothing, and the share."""
    out = np.zeros((*share.shape, 4))
    out[..., 0], out[..., 3] = np.where(share > 0, v, 0), share
    return out


class Image:
    """Pixels as they are, what they become, and where there are any."""

    def __init__(self, path, standardisation):
        import rasterio

        self.digest = sha256(path)
        radiometry, bands = standardisation["radiometry"], len(standardisation["median"])
        with rasterio.open(path) as f:
            if f.count != bands:
                sys.exit(f"{path}: has {f.count} bands, of which echogrid read {bands}: write those alone, in that order (gdal_translate -b)")
            self.pixels, self.grid = np.ascontiguousarray(np.moveaxis(f.read(), 0, 2)), (f.transform, f.crs, f.shape)
            named = f.dataset_mask() > 0
        if self.pixels.dtype.kind == "f":
            named &= np.isfinite(self.pixels).all(2)
            self.pixels = np.nan_to_num(self.pixels)
        # Fill that nothing names covers squares; a dark pixel among others is data.
        none = (self.pixels == 0).all(2) if self.pixels.dtype.kind == "u" else np.zeros(named.shape, bool)
        low = np.lib.stride_tricks.sliding_window_view(np.pad(none, ((0, BLOCK - 1),) * 2), BLOCK, 1).all(2)
        low = np.lib.stride_tricks.sliding_window_view(low, BLOCK, 0).all(2)
        fill = np.zeros_like(none)
        for y in range(BLOCK):
            for x in range(BLOCK):
                fill[y:, x:] |= low[: none.shape[0] - y, : none.shape[1] - x]
        self.valid = named & ~fill
        half = self.valid[: none.shape[0] // 2 * 2, : none.shape[1] // 2 * 2].reshape(none.shape[0] // 2, 2, none.shape[1] // 2, 2).mean((1, 3), np.float32)
        self.sums = np.pad(half.cumsum(0, np.float64).cumsum(1), ((1, 0), (1, 0)))
        kind, unit = radiometry["kind"], radiometry.get("unit")
        self.factor = {"amplitude": 20.0, "intensity": 10.0}.get(unit) if kind == "sar" else None
        self.offset = radiometry.get("offset", 0.0)
        self.median, self.scale = (np.array(standardisation[k], np.float32) for k in ("median", "scale"))

    def share(self, centre, side):
        """Of a square that has data."""
        h, w = self.sums.shape[0] - 1, self.sums.shape[1] - 1
        low = [int(round((c - side / 2) / 2)) for c in centre]
        n = max(int(round(side / 2)), 1)
        (x0, x1), (y0, y1) = ((min(max(v, 0), m), min(max(v + n, 0), m)) for v, m in zip(low, (w, h)))
        s = self.sums
        return (s[y1, x1] - s[y0, x1] - s[y1, x0] + s[y0, x0]) / n**2

    def cut(self, centre, matrix, side, taps):
        """A patch [side, side, bands], standardised, and the share of each of its pixels that has data."""
        at = np.arange(side) + 0.5 - side / 2
        steps = (np.arange(taps) + 0.5 - taps / 2) / taps
        u = (at[:, None] + steps[None, :]).ravel()
        x, y = (matrix[i][0] * u[None, :] + matrix[i][1] * u[:, None] + centre[i] for i in (0, 1))
        if taps == 1:
            # Bilinear, over the pixels that have data.
            parts = [self.look_up(y + p, x + q) for p in (-0.5, 0.5) for q in (-0.5, 0.5)]
            fy, fx = ((v - 0.5) % 1 for v in (y, x))
            weights = [a * b for a in (1 - fy, fy) for b in (1 - fx, fx)]
            share = sum(w * n for w, (_, n) in zip(weights, parts))
            v = sum((w * n)[..., None] * v for w, (v, n) in zip(weights, parts))
            return np.where(share[..., None] > 0, v / np.maximum(share, 1e-30)[..., None], 0), share
        v, valid = self.look_up(y, x)
        pool = lambda a: a.reshape(side, taps, side, taps, -1).mean((1, 3))
        share = pool(valid)
        return np.where(share > 0, pool(v) / np.maximum(share, 1e-30), 0), share[..., 0]

    def look_up(self, y, x):
        """The pixels that hold some places, standardised, 0 where there is no data, and whether there is."""
        i, j = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        h, w = self.valid.shape
        inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
        i, j = i.clip(0, h - 1), j.clip(0, w - 1)
        valid = (self.valid[i, j] & inside).astype(np.float32)
        v = self.pixels[i, j].astype(np.float32)
        if self.factor:
            v = self.factor * np.log10(np.maximum(v + self.offset, np.finfo(np.float32).tiny))
        return ((v - self.median) / self.scale).clip(-CLIP, CLIP).astype(np.float16).astype(np.float32) * valid[..., None], valid


class Scene:
    """A map and a SAR image of one grid; `scale`: map pixels a feature pixel, or none where the map says how large its pixels are; `number`: of its record, which it may share."""

    def __init__(self, paths, record, pixel_m, scale=None, number=0):
        self.record = number
        self.map, self.sar = (Image(p, record[f"{m}_standardisation"]) for p, m in zip(paths, ("map", "sar")))
        (transform, crs, (h, w)), other = self.map.grid, self.sar.grid
        if other[2] != (h, w) or not scale and other != self.map.grid:
            sys.exit(f"{paths[1]}: does not share the grid of {paths[0]}; resample it: gdalwarp -te .. -ts .. IN OUT.tif")
        self.pixel_scale, self.area = scale or pixel_m / ground_pixel(transform, crs, w / 2, h / 2), self.map.valid.sum()


def scene_options(a):
    a.add_argument("--scene", nargs=2, metavar=("MAP", "SAR"), action="append", default=[], help="a scene of the template's, in its order")
    a.add_argument("--pairs", nargs=2, metavar=("SAR", "OPT"), action="append", default=[], help="folders of pairs of the template's, in its order")
    a.add_argument("--pixel-size", type=float, default=10, metavar="METRES", help="of the pairs' pixels [default: 10]")


def opened(args, manifest):
    """All scenes of the template, and each pair as one."""
    asked, records, all = [(p, False) for p in args.scene] + [(p, True) for p in args.pairs], manifest["scenes"], []
    if len(asked) != len(records):
        sys.exit(f"the template was made of {len(records)} scenes and sets of pairs: " + ", ".join(r["map"] for r in records))
    for number, ((paths, is_set), record) in enumerate(zip(asked, records)):
        files, scale = [paths], None
        if is_set:
            by_number = lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]
            sar, optical = ({os.path.splitext(n)[0]: os.path.join(p, n) for n in os.listdir(p)} for p in paths)
            files = [(optical[n], sar[n]) for n in sorted(sar.keys() & optical.keys(), key=by_number)]
            scale = manifest["pixel_m"] / args.pixel_size
        found = [Scene(f, record, manifest["pixel_m"], scale, number) for f in files]
        for m in ("map", "sar"):
            digests = [getattr(s, m).digest for s in found]
            if record[f"{m}_sha256"] != (hashlib.sha256("".join(digests).encode()).hexdigest() if is_set else digests[0]):
                sys.exit(f"{' '.join(paths)}: not the images that the template was made of, in its order ({record[m]})")
        all += found
    return all


def ground_pixel(transform, crs, x, y):
    """Side of a pixel, metres on the ellipsoid."""
    from rasterio.warp import transform as warp

    if crs is None or not transform.is_rectilinear:
        return abs(transform.a)
    lon, lat = warp(crs, "EPSG:4326", *zip(*(transform * p for p in ((x, y), (x + 1, y), (x, y + 1)))))
    phi, e2 = math.radians(lat[0]), 0.00669437999014
    w = 1 - e2 * math.sin(phi) ** 2
    along, across = 6378137.0 * (1 - e2) / w**1.5, 6378137.0 / math.sqrt(w) * math.cos(phi)
    metres = lambda k: math.hypot(math.radians(lon[k] - lon[0]) * across, math.radians(lat[k] - lat[0]) * along)
    return math.sqrt(metres(1) * metres(2))


def turn(angle, scale, flip):
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    return np.array([[flip * c, -s], [flip * s, c]])


class Sampler:
    """Windows and patches, by the rules of echogrid's."""

    def __init__(self, scenes, c, rng):
        self.scenes, self.c, self.rng, self.hard, self.seen = scenes, c, rng, [], []
        self.taps = min(max(math.ceil(0.95 * max(s.pixel_scale for s in scenes) - 1e-6), 1), 8)
        areas = np.array([s.area for s in scenes], np.float64)
        if c.get("shares"):
            # A set's images are drawn by their area.
            areas *= np.array([c["shares"][s.record] for s in scenes]) / np.bincount([s.record for s in scenes], areas)[[s.record for s in scenes]]
        self.shares = areas / areas.sum()

    def extent(self, scene):
        a, turned = self.c["augment"], math.radians(min(self.c["augment"]["rotation_deg"], 45))
        return self.c["window"] * self.scenes[scene].pixel_scale * (1 + a["scale"]) * (math.cos(turned) + math.sin(turned))

    def contrast(self):
        g = 1 + self.rng.random() * self.c["augment"]["gain"]
        return g if self.rng.random() < 0.5 else 1 / g

    def map_look(self, v, share):
        """A map of fewer bands repeats its last."""
        v = v[..., [min(b, v.shape[-1] - 1) for b in range(3)]]
        a, rng = self.c["augment"], self.rng
        if rng.random() < a.get("random_channel", 0):
            mixed = np.tile(np.eye(3)[rng.integers(3)], (3, 1))
        elif rng.random() < a.get("recolour", 0):
            weights = rng.uniform(-1, 1, 3)
            mixed = np.tile(weights / max(np.abs(weights).sum(), 0.1), (3, 1))
        elif rng.random() < a["grey"]:
            mixed = np.full((3, 3), 1 / 3)
        else:
            mixed = np.eye(3) + rng.uniform(-a["mixing"], a["mixing"], (3, 3))
        offsets = rng.uniform(-a["offset"], a["offset"]) + rng.uniform(-a["offset"], a["offset"], 3) / 3
        v = v @ (mixed * self.contrast()).T + offsets + rng.random() * a["noise"] * rng.standard_normal(v.shape)
        return map_input(v, share)

    def sar_look(self, v, share, db):
        a, rng = self.c["augment"], self.rng
        v = v[..., 0] * self.contrast() + rng.uniform(-a["offset"], a["offset"])
        if a["speckle_looks"] and rng.random() < 0.5:
            looks = rng.integers(min(a["speckle_looks"], MOST_LOOKS), MOST_LOOKS + 1)
            v = v + 10 / db * np.log10(np.maximum(rng.gamma(looks, 1 / looks, v.shape), 1e-30))
        return sar_input(v, share)

    def window(self, scene, centre):
        """A window, its patches and their offsets; none where no patch lies on data."""
        c, a, rng, s = self.c, self.c["augment"], self.rng, self.scenes[scene]
        angle = (rng.integers(4) * math.pi / 2 if a["quarter_turns"] else 0) + math.radians(rng.uniform(-a["rotation_deg"], a["rotation_deg"]))
        flip = rng.choice((-1, 1)) if a["mirror"] else 1
        scale = s.pixel_scale * rng.uniform(1 - a["scale"], 1 + a["scale"])
        matrix, relative = turn(angle, scale, flip), min(a["relative_rotation_deg"], 45)
        side = c["patch"] * scale * (1 + a["relative_scale"]) * (math.sin(math.radians(relative)) + math.cos(math.radians(relative)))
        patches, wanted = [], -(-c["patches"] // c["windows"])
        for _ in range(OFFSETS * wanted):
            if len(patches) == wanted:
                break
            row, column = rng.integers(0, c["window"] - c["patch"] + 1, 2)
            at = centre + matrix @ (np.array([column, row]) + (c["patch"] - c["window"]) / 2)
            if s.map.share(at, side) < PATCH_VALID[0] or s.sar.share(at, side) < PATCH_VALID[1]:
                continue
            own = turn(angle + math.radians(rng.uniform(-1, 1) * a["relative_rotation_deg"]), scale * (1 + rng.uniform(-1, 1) * a["relative_scale"]), flip)
            patches.append((self.sar_look(*s.sar.cut(at, own, c["patch"], self.taps), s.sar.scale[0]), row, column))
        if len(patches) < wanted:
            return None
        return self.map_look(*s.map.cut(centre, matrix, c["window"], self.taps)), patches

    def batch(self, step):
        """Windows [V, 4, S, S], patches [P, 4, s, s] and targets [P, 4]; a share of the windows near places that were hard in the pass before."""
        c, rng, taken = self.c, self.rng, []
        if step % c["steps"] == 0:
            self.seen.sort(key=lambda s: -s[1])
            count = lambda share: math.floor(share * len(self.seen) + 0.5)
            self.hard, self.seen = [p for p, _ in self.seen[count(HOPELESS) : count(HOPELESS) + count(HARD)]], []
        hard = self.hard if step // c["steps"] >= c["hard_from"] else []
        wanted, tries, windows, patches, targets = math.floor(c["hard"] * c["windows"] + 0.5) if hard else 0, 0, [], [], []
        while len(taken) < c["windows"]:
            tries += 1
            if tries > 20000:
                sys.exit("windows of this size do not fit the scenes: use fewer or smaller ones")
            if len(taken) < wanted and tries < 10000:
                scene, centre = hard[rng.integers(len(hard))]
                centre = centre + rng.uniform(-1, 1, 2) * MOVED * self.extent(scene)
            else:
                scene = int(rng.choice(len(self.scenes), p=self.shares))
                h, w = self.scenes[scene].map.valid.shape
                centre = rng.random(2) * (w, h)
            side = self.extent(scene)
            apart = all(q != scene or (abs(p - centre) >= side).any() for q, p in taken)
            if not apart or self.scenes[scene].map.share(centre, side) < WINDOW_VALID:
                continue
            drawn = self.window(scene, centre)
            if drawn:
                windows.append(drawn[0])
                for patch, row, column in drawn[1]:
                    patches.append(patch)
                    targets.append((row, column, len(taken), 0))
                taken.append((scene, centre))
        image = lambda all: torch.from_numpy(np.stack(all).astype(np.float32)).permute(0, 3, 1, 2)
        return image(windows), image(patches), torch.tensor(targets, dtype=torch.float32), taken


def standardised(paths, like):
    """The record of a scene that no template knows: medians, and spreads by the median of deviations, of every fourth pixel, of the radiometry of another record."""
    import rasterio

    record = dict(like)
    for path, m in zip(paths, ("map", "sar")):
        said = like[f"{m}_standardisation"]
        with rasterio.open(path) as f:
            v = f.read(out_shape=(f.count, f.height // 4, f.width // 4)).reshape(f.count, -1).astype(np.float64)
        v = v[:, (v > 0).any(0)]
        if said["radiometry"]["kind"] == "sar":
            v = {"amplitude": 20.0, "intensity": 10.0}[said["radiometry"]["unit"]] * np.log10(v + said["radiometry"].get("offset", 0.0))
        median = np.median(v, 1)
        record[f"{m}_standardisation"] = {**said, "median": median.tolist(), "scale": (1.4826 * np.median(np.abs(v - median[:, None]), 1)).tolist()}
    return record


class Validation:
    """The same windows of a scene each time, as they are; patches of the training's size against all windows of their batch."""

    def __init__(self, paths, c, manifest, batches):
        c = {**c, "shares": None, "augment": {k: False if isinstance(v, bool) else 0 for k, v in c["augment"].items()}}
        scene = Scene(paths, standardised(paths, manifest["scenes"][0]), manifest["pixel_m"])
        sampler = Sampler([scene], c, np.random.default_rng(5))
        self.c, self.batches = c, [sampler.batch(step)[:3] for step in range(batches)]

    def __call__(self, state, step, bf16):
        """What the manifest tells of it, and the loss."""
        net, last, all = Network(self.c), torch.channels_last, []
        net.load_state_dict(state)
        net.eval().to(memory_format=last)
        with torch.no_grad():
            for windows, patches, target in self.batches:
                all.append(net.losses(windows.contiguous(memory_format=last), patches.contiguous(memory_format=last), target, bf16))
        losses, right = (torch.cat(v).float() for v in zip(*all))
        told = {"step": step, "found": right.mean().item(), "patch": self.c["patch"], "patches": len(right), "window": self.c["window"], "windows": self.c["windows"], "within_px": self.c["radius"]}
        return told, losses.mean().item()


def operations(c):
    """Floating-point operations of a step: products of the towers, forward and twice backward."""

    def tower(side):
        count, net = [], Tower(c["encoder"])
        for m in net.modules():
            if isinstance(m, nn.Conv2d):
                m.register_forward_hook(lambda m, _, y: count.append(2 * m.weight[0].numel() * y.numel()))
        with torch.no_grad():
            net(torch.zeros(1, 4, side, side))
        return sum(count)

    return 3 * (c["windows"] * tower(c["window"]) + c["patches"] * tower(c["patch"]))


def write(net, manifest, path, half):
    """A model as echogrid reads it; the convolutions' weights in f16 where asked."""
    tensors = {n: to_echogrid(t.float()).contiguous() for n, t in net.items() if not n.endswith("num_batches_tracked") and not n.startswith("loss.")}
    if half:
        tensors = {n: t.half() if t.ndim > 1 else t for n, t in tensors.items()}
    save_file(tensors, path + ".part", {"echogrid": json.dumps(manifest)})
    os.replace(path + ".part", path)


def compare(args):
    """The losses of echogrid's own batches, beside its own."""
    with open(os.path.join(args.batches, "manifest.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    c = manifest["train"]
    net = Network(c)
    start_from(net, os.path.join(args.batches, "start.safetensors"))
    net, descent, ours = net.train().to(memory_format=torch.channels_last), Descent(net, c), manifest["losses"]
    if args.ours:
        with open(args.ours, encoding="utf-8") as f:
            ours = [e["loss"] for e in map(json.loads, f) if "loss" in e]
    for step, (windows, patches, target) in enumerate(exported(args.batches, manifest, "cpu", ("map", "sar", "target"))):
        if step == len(ours):
            break
        loss = net.losses(windows.float().permute(0, 3, 1, 2), patches.float().permute(0, 3, 1, 2), target)[0].mean()
        print(f"step {step + 1}: PyTorch {loss.item():.6f}, echogrid {ours[step]:.6f}, relative difference {abs(loss.item() / ours[step] - 1):.1e}", flush=True)
        descent.step(loss, step)


def judge(args, manifest):
    """The validation of models, at a scale of 120: models do not keep theirs."""
    c, validation = {**manifest["training"], "logit_scale": 120.0}, None
    for path in args.judge:
        with safe_open(path, framework="pt") as f:
            encoder = json.loads(f.metadata()["echogrid"])["encoder"]
        validation = validation or Validation(args.val, c, manifest, args.val_batches)
        validation.c = {**c, "encoder": encoder}
        net = Network(validation.c)
        start_from(net, path, but=("loss.log_scale",))
        found, loss = validation(net.state_dict(), 0, args.bf16)
        print(f"{path}: validation loss {loss:.4f}, {100 * found['found']:.1f} % of {found['patches']} right", flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("template", nargs="?", help="a model that `echogrid train --dense` wrote")
    scene_options(a)
    a.add_argument("--val", nargs=2, metavar=("MAP", "SAR"), help="a scene to judge on at each checkpoint, never trained on")
    a.add_argument("--val-batches", type=int, default=40, metavar="N")
    a.add_argument("--judge", nargs="+", metavar="MODEL", help="train nothing: say what --val says of these")
    a.add_argument("--out", metavar="MODEL")
    a.add_argument("--epochs", type=int, help="passes [default: the template's]")
    a.add_argument("--steps", type=int, help="steps of a pass [default: the template's]")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--init-from", metavar="MODEL", help="start from its values (of equal towers)")
    a.add_argument("--resume", action="store_true", help="go on from OUT.pt")
    a.add_argument("--bf16", action="store_true", help="multiply in bf16")
    a.add_argument("--half", action="store_true", help="write the convolutions' weights in f16: half the size")
    a.add_argument("--every", type=float, default=10, metavar="MIN", help="minutes between checkpoints")
    a.add_argument("--minutes", type=float, default=math.inf, help="stop after a checkpoint then; --resume goes on")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--batches", metavar="FOLDER", help="what `echogrid train --dense --export` wrote")
    a.add_argument("--ours", metavar="MODEL.log.jsonl", help="echogrid's losses on these batches")
    args = a.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if args.batches:
        return compare(args)
    if not (args.template and (args.out or args.judge and args.val)):
        a.error("TEMPLATE and --out, TEMPLATE, --val and --judge, or --batches")
    with safe_open(args.template, framework="pt") as f:
        manifest = json.loads(f.metadata()["echogrid"])
    if args.judge:
        return judge(args, manifest)
    c = manifest["training"]
    c["epochs"], c["steps"], c["seed"] = args.epochs or c["epochs"], args.steps or c["steps"], args.seed
    scenes = opened(args, manifest)
    by = by_script(__file__, args.bf16)
    net, average = Network(c), c["optimizer"].get("average", 0.0)
    origin = ""
    if args.init_from and not args.resume:
        start_from(net, args.init_from, but=("loss.log_scale",))
        origin = f", from {os.path.basename(args.init_from)}, sha256 {sha256(args.init_from)[:16]}"
    net = net.train().to(memory_format=torch.channels_last)
    descent, sampler = Descent(net, c), Sampler(scenes, c, np.random.default_rng(args.seed))
    mean, step, seconds, judged, file = {k: v.clone() for k, v in net.state_dict().items()}, 0, 0.0, [], args.out + ".pt"
    if args.resume:
        held = torch.load(file, weights_only=False)
        ways, last = (held["training"], c), held["step"] - 1
        longer = all(learning_rate(w, last) == w["optimizer"]["lr"] for w in ways)
        if held["training"] != c and not (longer and {**held["training"], "epochs": c["epochs"]} == c):
            sys.exit(f"{file}: is of other settings; name them again, or another --out")
        net.load_state_dict(held["net"])
        descent.optimizer.load_state_dict(held["optimizer"])
        sampler.rng.bit_generator.state, sampler.hard, sampler.seen = held["rng"], held["hard"], held["seen"]
        mean, step, seconds, judged = held["mean"], held["step"], held["seconds"], held.get("judged", [])
        origin = held.get("origin", "")
    total, each = c["epochs"] * c["steps"], operations(c)
    print(f"{sum(p.numel() for p in net.parameters())} parameters, {each * 1e-9:.1f} GFLOP a step, {each * total * 1e-12:.0f} TFLOP in {total} steps", flush=True)
    validation = Validation(args.val, c, manifest, args.val_batches) if args.val else None
    begin, saved, spent, told = time.perf_counter(), time.perf_counter(), seconds, []

    def save():
        state = mean if average else net.state_dict()
        if validation:
            found, loss = validation(state, step, args.bf16)
            judged.append(found)
            print(f"step {step}: validation loss {loss:.4f}, {100 * found['found']:.1f} % of {found['patches']} right", flush=True)
        write(state, {**manifest, "training": c, "seed": args.seed, "step": step, "init_hash": None, "validation": judged, "calibration": None, "adapter": by + origin}, args.out, args.half)
        held = {"net": net.state_dict(), "mean": mean, "optimizer": descent.optimizer.state_dict(), "rng": sampler.rng.bit_generator.state}
        torch.save({**held, "hard": sampler.hard, "seen": sampler.seen, "step": step, "seconds": seconds, "training": c, "judged": judged, "origin": origin}, file + ".part")
        os.replace(file + ".part", file)

    while step < total:
        windows, patches, target, places = sampler.batch(step)
        last = torch.channels_last
        losses, hits = net.losses(windows.contiguous(memory_format=last), patches.contiguous(memory_format=last), target, args.bf16)
        descent.step(losses.mean(), step)
        each_window = losses.detach().view(len(places), -1).mean(1).tolist()
        sampler.seen += [(p, v) for p, v in zip(places, each_window) if math.isfinite(v)]
        keep = min(average, step / (step + 9))
        if average:
            for k, v in net.state_dict().items():
                mean[k] = v.clone() if keep == 0 or not v.is_floating_point() else mean[k].mul_(keep).add_(v, alpha=1 - keep)
        step += 1
        told.append((losses.mean().item(), hits.float().mean().item()))
        seconds = spent + time.perf_counter() - begin
        if step % 100 == 0 or step == total:
            loss, right = np.mean(told, 0)
            print(f"step {step}/{total}: loss {loss:.4f}, {100 * right:.0f} % right, {seconds:.0f} s, {each * step * 1e-12:.0f} TFLOP, {each * step / seconds * 1e-9:.0f} GFLOP/s", flush=True)
            told = []
        if step == total or time.perf_counter() - saved > 60 * args.every:
            save()
            saved = time.perf_counter()
            if saved - begin > 60 * args.minutes:
                break


if __name__ == "__main__":
    main()
