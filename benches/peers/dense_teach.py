#!/usr/bin/env python3
"""Start values of features for dense matching from a larger network's: its channels that carry most, then taught to tell what it tells.

    python3 benches/peers/dense_teach.py TEMPLATE TEACHER --scene MAP SAR [--scene ..] --out START [--steps N] [--bf16]
    python3 benches/peers/dense_training.py TEMPLATE --init-from START ...

TEMPLATE says the smaller network, the scenes and how inputs vary, TEACHER is a model of the larger: the same levels, at least as wide, at least as many blocks in each. The teacher sees each place as it is, the pupil as
the sampler varies it, and its loss is one less the cosine between their vectors of a pixel, over pixels that have data, the mean of both towers. Batch normalisation's statistics follow the batches.
"""

import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn as nn
from safetensors import safe_open

from dense_training import VALID, Network, Sampler, by_script, map_input, opened, sar_input, scene_options, sha256, write
from networks import Descent, start_from


class Both(Sampler):
    """Inputs as they vary, and behind them as they are."""

    def map_look(self, v, share):
        return np.concatenate([super().map_look(v, share), map_input(v, share)], 2)

    def sar_look(self, v, share, db):
        return np.concatenate([super().sar_look(v, share, db), sar_input(v[..., 0], share)], 2)


def ends(levels):
    """Of each convolution of a tower, which channels it reads and which it writes: encoders' of a level (E), decoders' (D), a block's own (B)."""
    last = len(levels) - 1
    decoder = lambda i: f"D{i}" if i < last else f"E{i}"
    table = {"stem1": (None, "E0"), "head": ("D0" if last else "E0", None)}
    for i, level in enumerate(levels):
        if i:
            table[f"down{i}"] = (f"E{i - 1}", f"E{i}")
        for b in range(len(level["dilations"])):
            table[f"level{i}.{b}.1"], table[f"level{i}.{b}.2"] = (f"E{i}", f"B{i}.{b}"), (f"B{i}.{b}", f"E{i}")
        if i < last:
            table[f"fit{i}"], table[f"join{i}"] = (decoder(i + 1), f"E{i}"), (f"E{i}", f"D{i}")
    return table


def kept(teacher, levels, smaller, inputs):
    """Of each group of channels those that put most into the convolutions that read them."""
    table, weight = ends(levels), {}
    hooks = []
    for name, (reads, _) in table.items():
        module = teacher.get_submodule(name)
        conv = module if isinstance(module, nn.Conv2d) else module.conv

        def add(m, x, reads=reads):
            if reads:
                weight[reads] = weight.get(reads, 0) + x[0].float().square().mean((0, 2, 3)) * m.weight.square().sum((0, 2, 3))

        hooks.append(conv.register_forward_pre_hook(add))
    with torch.no_grad():
        teacher(inputs)
    for h in hooks:
        h.remove()
    width = lambda group: smaller[int(group[1:].split(".")[0])]["width"]
    return {g: w.argsort(descending=True)[: width(g)].sort()[0] for g, w in weight.items()}


def narrow(pupil, teacher, levels, smaller, inputs):
    """Puts the teacher's values of the kept channels into a pupil's tower."""
    groups = kept(teacher, levels, smaller, inputs)
    with torch.no_grad():
        for name, (reads, writes) in ends(smaller).items():
            from_, to = (m.get_submodule(name) for m in (teacher, pupil))
            i, o = (groups[g] if g else slice(None) for g in (reads, writes))
            if isinstance(to, nn.Conv2d):
                to.weight.copy_(from_.weight[o][:, i])
                to.bias.copy_(from_.bias[o])
                continue
            to.conv.weight.copy_(from_.conv.weight[o][:, i])
            for k in ("weight", "bias", "running_mean", "running_var"):
                getattr(to.bn, k).copy_(getattr(from_.bn, k)[o])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("template")
    a.add_argument("teacher")
    scene_options(a)
    a.add_argument("--out", metavar="START", required=True)
    a.add_argument("--steps", type=int, default=1000)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--bf16", action="store_true")
    a.add_argument("--threads", type=int, default=2)
    args = a.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    manifests = []
    for path in (args.template, args.teacher):
        with safe_open(path, framework="pt") as f:
            manifests.append(json.loads(f.metadata()["echogrid"]))
    c, large = manifests[0]["training"], manifests[1]["training"]
    c = {**c, "epochs": 1, "steps": args.steps, "hold": 0.5, "hard": 0.0}
    sampler = Both(opened(args, manifests[0]), c, np.random.default_rng(args.seed))
    teacher, pupil = (Network(t).to(memory_format=torch.channels_last) for t in (large, c))
    start_from(teacher, args.teacher, but=("loss.log_scale",))
    teacher.eval().requires_grad_(False)
    split = lambda t: (t[:, :4].contiguous(memory_format=torch.channels_last), t[:, 4:].contiguous(memory_format=torch.channels_last))
    first = sampler.batch(0)[:2]
    for tower, x in zip(("map", "sar"), first):
        narrow(pupil[tower], teacher[tower], large["encoder"]["levels"], c["encoder"]["levels"], split(x)[1])
    pupil.train()
    descent, begin, told = Descent(pupil, c), time.perf_counter(), []
    for step in range(args.steps):
        apart = []
        for tower, x in zip(("map", "sar"), sampler.batch(step)[:2]):
            varied, plain = split(x)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                with torch.no_grad():
                    wanted = teacher[tower](plain)
                got = pupil[tower](varied)
            apart.append(1 - (wanted * got).sum(1)[plain[:, 3] >= VALID].mean())
        descent.step(sum(apart) / 2, step)
        told.append([d.item() for d in apart])
        if (step + 1) % 50 == 0:
            at_map, at_sar = np.mean(told, 0)
            print(f"step {step + 1}/{args.steps}: cosine {1 - at_map:.3f} of the map's vectors, {1 - at_sar:.3f} of the SAR image's, {time.perf_counter() - begin:.0f} s", flush=True)
            told = []
    by = f"{by_script(__file__, args.bf16)}, taught by {os.path.basename(args.teacher)}, sha256 {sha256(args.teacher)[:16]}"
    write(pupil.state_dict(), {**manifests[0], "training": c, "step": args.steps, "validation": [], "calibration": None, "adapter": by}, args.out, False)


if __name__ == "__main__":
    main()
