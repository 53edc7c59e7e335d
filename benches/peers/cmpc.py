#!/usr/bin/env python3
"""A training run: echogrid beside PyTorch, the same network, loss and optimiser on the same batches, judged on the same cells and queries.

    echogrid train ... --export FOLDER
    python3 benches/peers/cmpc.py FOLDER... [--ours FILE...] [--start torch] [--bf16] [--threads N] [--out FILE.json]

Needs PyTorch, safetensors, and folders that `--export` wrote, one for each seed: residual encoders with a pooled head, trained by triplets or by
InfoNCE. PyTorch goes through the exported batches in their order, channels-last, from echogrid's start values or from its own
of the same distribution; what the modalities share sees both as one batch. It judges as echogrid does:
running statistics, the cells' vectors rounded to f16, ranks beyond 100 not found. With drop-out the values dropped are its own.

--ours takes echogrid's result for each folder: the log beside a model (`*.jsonl`) or a JSON file with any of
{"losses": [..], "aligned": {"1": .., "5": .., "10": .., "mrr": ..}, "arbitrary": {..}}, shares from 0 to 1. Differences are PyTorch's figure less
echogrid's, of shares in points; only figures over the exported cells (one view each: `validate_views = 1`) and queries compare.
"""

import argparse
import json
import math
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open

from common import report, start
from networks import Descent, Trunk, start_from

MODALITIES = ("map", "sar")
PROTOCOLS = ("aligned", "arbitrary")
RECALL_AT = (1, 5, 10)
MAX_RANK = 100


class Part(Trunk):
    """What has one prefix in echogrid's names: the first unit, all that follows, or both."""

    def __init__(self, encoder, first, rest):
        super().__init__(encoder["architecture"], encoder.get("last_stride"), first, rest)
        if not rest:
            return
        self.head = encoder["head"]
        if self.head["pool"] == "gem":
            self.gem = nn.ParameterDict({"p": torch.tensor([3.0])})
        self.fc = nn.Linear(self.width, self.head["dim"]) if self.head.get("dim") else nn.Identity()
        self.norm = nn.BatchNorm1d(self.head.get("dim") or self.width) if self.head.get("norm") else nn.Identity()

    def first(self, x):
        return self.unit(1, x) if hasattr(self, "conv1") else x

    def rest(self, x):
        x = self.maps(x, [n for n in self.units if n > 1])[-1].float()
        if self.head["pool"] == "gem":
            x = x.clamp(min=1e-6).pow(self.gem["p"]).mean((2, 3)).pow(1 / self.gem["p"])
        else:
            x = F.adaptive_max_pool2d(x, 1).flatten(1) if self.head["pool"] == "max" else x.mean((2, 3))
        x = F.dropout(x, self.head.get("dropout") or 0.0, self.training)
        return F.normalize(self.norm(self.fc(x).float()), eps=1e-6)


class Network(nn.ModuleDict):
    """Both towers and what the loss learns, parameters under echogrid's names."""

    def __init__(self, train):
        sharing = train["encoder"]["sharing"]
        first = {m: "shared" if sharing == "full" else m for m in MODALITIES}
        rest = {m: m if sharing == "separate" else "shared" for m in MODALITIES}
        names = dict.fromkeys([*first.values(), *rest.values()])
        super().__init__({n: Part(train["encoder"], n in first.values(), n in rest.values()) for n in names})
        if train["loss"] == "infonce":
            self["loss"] = nn.ParameterDict({"log_scale": torch.tensor([math.log(1 / 0.07)])})
        self.of_first, self.of_rest, self.repeat_band = first, rest, train["encoder"].get("repeat_band", False)

    def forward(self, images):
        """Unit vectors of each modality's patches [N, H, W, 4]; what is shared sees them all as one batch."""
        seen = {m: x.float()[..., [0, 0, 0, 3]] if m == "sar" and self.repeat_band else x.float() for m, x in images.items()}
        seen = {m: x.permute(0, 3, 1, 2) for m, x in seen.items()}
        for names, part in ((self.of_first, Part.first), (self.of_rest, Part.rest)):
            groups = {}
            for m in seen:
                groups.setdefault(names[m], []).append(m)
            for name, ms in groups.items():
                all = part(self[name], torch.cat([seen[m] for m in ms]))
                seen |= dict(zip(ms, all.split([len(seen[m]) for m in ms])))
        return seen

    def start_random(self):
        """echogrid's distribution: He et al.'s, of a linear layer with half the variance; biases 0."""
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu" if isinstance(m, nn.Conv2d) else "linear")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)


def triplet(a, b, mining, margin, soft, eps):
    """Both ways, over unit vectors; row i of `a` belongs to row i of `b`, what `b` has beyond are negatives for the rows alone."""
    d = (2 - 2 * a @ b.T).clamp(min=eps).sqrt()
    positive, ways = d.diagonal(), (d, d[:, : len(d)].T)
    if mining == "hard":
        nearest = [w.masked_fill(torch.eye(*w.shape, dtype=torch.bool, device=d.device), math.inf).min(1).values for w in ways]
        u = positive - torch.stack(nearest) + margin
        return (F.softplus(u) if soft else F.relu(u)).mean()
    u = torch.cat([(positive[:, None] - w + margin)[~torch.eye(*w.shape, dtype=torch.bool, device=d.device)] for w in ways])
    return F.softplus(u).mean() if soft else F.relu(u).sum() / (u > 0).sum().clamp(min=1)


def infonce(a, b, log_scale, smoothing):
    """Symmetric, with label smoothing and a learned temperature; what `b` has beyond `a` are negatives for the rows alone."""
    logits = log_scale.exp().clamp(max=100) * (a @ b.T)
    labels = torch.arange(len(a), device=a.device)
    return sum(F.cross_entropy(z, labels, label_smoothing=smoothing) for z in (logits, logits[:, : len(a)].T)) / 2


def read_manifest(folder):
    """The manifest, if it asks for nothing else than is done here."""
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    train = manifest["train"]
    kept = {k: not train[k] for k in ("overlap", "class_weight")} | {
        "positives": train["positives"] == 1,
        "architecture": train["encoder"]["architecture"]["kind"] == "residual",
        "head": train["encoder"]["head"]["kind"] == "pooled",
        "triplet.directions": train["loss"] == "infonce" or train["triplet"]["directions"] == "both",
        "align": train["align"]["method"] == "none",
        "augment.mix_statistics": train["augment"]["mix_statistics"] == 0,
    }
    if not all(kept.values()):
        sys.exit(f"{folder}: not compared here, as the manifest has it: {', '.join(k for k, v in kept.items() if not v)}")
    return manifest


def batches(folder, manifest, device, names=MODALITIES):
    """The tensors of these names, step by step."""
    for name in manifest["files"]:
        with safe_open(os.path.join(folder, name), framework="pt") as f:
            parts = [f.get_slice(n) for n in names]
            for i in range(parts[0].get_shape()[0]):
                yield [p[i].to(device) for p in parts]


def fit(network, folder, manifest, args):
    """The loss of every step, and the seconds that the steps took without the reading."""
    train = manifest["train"]

    def loss_of(*images):
        with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16, enabled=args.bf16):
            seen = network(dict(zip(MODALITIES, images)))
        if train["loss"] == "triplet":
            return triplet(seen["sar"], seen["map"], *[train["triplet"][k] for k in ("mining", "margin", "soft", "eps")])
        return infonce(seen["sar"], seen["map"], network["loss"]["log_scale"], train["smoothing"])

    return Descent(network, train).over(batches(folder, manifest, args.device), loss_of)


@torch.no_grad()
def judge(network, path, batch, device):
    """Recall and mean reciprocal rank under each protocol."""
    network.eval()
    with safe_open(path, framework="pt") as f:
        def embed(modality, name):
            rows = f.get_slice(name)
            return torch.cat([network({modality: rows[i : i + batch].to(device)})[modality] for i in range(0, rows.get_shape()[0], batch)])

        figures, cells = {}, embed("map", "cells").half().float()
        for protocol in PROTOCOLS:
            right = f.get_tensor(f"right_{protocol}").to(device) > 0
            scores = embed("sar", f"queries_{protocol}") @ cells.T
            hits = right.gather(1, scores.argsort(dim=1, descending=True, stable=True)[:, :MAX_RANK])
            ranks = torch.where(hits.any(1), hits.int().argmax(1) + 1.0, math.inf)
            figures[protocol] = {str(k): (ranks <= k).double().mean().item() for k in RECALL_AT} | {"mrr": (1 / ranks).double().mean().item()}
    return figures


def read_ours(path):
    """echogrid's losses and last figures, of a log or a JSON file."""
    with open(path, encoding="utf-8") as f:
        if not path.endswith(".jsonl"):
            return json.load(f)
        lines = [json.loads(line) for line in f]
    return {k: v for line in lines for k, v in line.items() if k in PROTOCOLS} | {"losses": [line["loss"] for line in lines if "loss" in line]}


def difference(run, ours):
    """PyTorch less echogrid: of shares in points, of losses as they are."""
    found = {p: {k: 100 * (v - ours[p][k]) for k, v in run[p].items() if k in ours[p]} for p in PROTOCOLS if p in ours}
    d = [a - b for a, b in zip(run["losses"], ours.get("losses", []))]
    if not d and not found:
        sys.exit("a file of --ours holds none of losses, aligned and arbitrary: join what `echogrid eval --json` says under each --protocol as its `recall` and `mrr`")
    if d:
        far = [abs(v) for v in d]
        found["losses"] = {"first": d[0], "largest_of_10": max(far[:10]), "largest": max(far), "mean_of_last_50": sum(d[-50:]) / len(d[-50:])}
    return found


def mean(all):
    """Entry by entry."""
    return {a: {k: sum(one[a][k] for one in all) / len(all) for k in part} for a, part in all[0].items()}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("folders", nargs="+", metavar="FOLDER")
    a.add_argument("--ours", nargs="+", metavar="FILE", help="echogrid's result for each folder, in their order")
    a.add_argument("--start", choices=["echogrid", "torch"], default="echogrid", help="whose start values")
    a.add_argument("--bf16", action="store_true", help="train under automatic mixed precision, in bfloat16")
    a.add_argument("--threads", type=int, default=os.cpu_count(), help="PyTorch's threads")
    a.add_argument("--device", default="cpu", help="PyTorch's device")
    a.add_argument("--out", metavar="FILE.json")
    args = a.parse_args()
    if args.ours and len(args.ours) != len(args.folders):
        a.error(f"--ours takes {len(args.folders)} files, one for each folder")
    manifests, ours = [read_manifest(f) for f in args.folders], [read_ours(f) for f in args.ours or []]
    result = start(args) | {"start": args.start, "bf16": args.bf16, "runs": []}
    for i, (folder, manifest) in enumerate(zip(args.folders, manifests)):
        train = manifest["train"]
        torch.manual_seed(train["seed"])
        network = Network(train)
        if args.start == "echogrid":
            start_from(network, os.path.join(folder, "start.safetensors"))
        else:
            network.start_random()
        network.to(args.device, memory_format=torch.channels_last).train()
        losses, seconds = fit(network, folder, manifest, args)
        run = {"folder": os.path.basename(os.path.abspath(folder)), "seed": train["seed"], "loss": train["loss"], "steps": len(losses)}
        run |= {"seconds": seconds, "images_per_s": (2 * train["batch"] + train["map_negatives"]) * len(losses) / seconds, "losses": losses}
        run |= judge(network, os.path.join(folder, "judge.safetensors"), train["batch"], args.device)
        result["runs"].append(run | ({"difference": difference(run, ours[i])} if ours else {}))
    result["mean"] = mean([{p: run[p] for p in PROTOCOLS} for run in result["runs"]])
    if ours:
        result["mean_difference"] = mean([run["difference"] for run in result["runs"]])
    report(result, args)


if __name__ == "__main__":
    main()
