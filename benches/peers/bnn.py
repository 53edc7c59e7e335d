#!/usr/bin/env python3
"""A bridge network: echogrid beside PyTorch, the same network, loss and optimiser on the same batches, judged on the same pairs and negatives.

    echogrid train --match --pairs SAR OPT --seed N ... --export FOLDER
    echogrid train --match --pairs SAR OPT --val-pairs SAR OPT ... --export TEST
    python3 benches/peers/bnn.py FOLDER... [--test TEST] [--ours FILE...] [--start torch] [--steps N] [--threads N] [--out FILE.json]

Needs PyTorch, safetensors, and folders that `--export` wrote, one for each seed: residual trunks, towers of their own. PyTorch goes through the
exported batches in their order, channels-last, from echogrid's start values or from its own of the same distribution. The threshold is the best
on the pairs that FOLDER validates on; accuracy, FPR at 95 % recall and the area under the ROC curve are of those that TEST validates on, without
--test of the same pairs.

--ours takes echogrid's distances for each folder: what `echogrid eval --match --model MODEL --pairs SAR OPT --dump FILE` wrote for the pairs of
TEST, with the model's own threshold. The difference is PyTorch's accuracy less echogrid's in points, its 95 % interval from a two-level bootstrap:
seeds are drawn again, then pairs, each with its negative.
"""

import argparse
import json
import math
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open

from cmpc import MODALITIES, Network as Encoders, batches, infonce
from common import report, start
from networks import Descent, Trunk, start_from

RESAMPLES = 2000


class Tower(Trunk):
    """A residual trunk and a bounded head."""

    def __init__(self, encoder):
        super().__init__(encoder["architecture"], encoder.get("last_stride"))
        head = encoder["head"]
        self.cells, self.project = head.get("cells", 1), nn.Conv2d(self.width, head["channels"], 1)
        self.fc1, self.fc2 = nn.Linear(head["channels"] * self.cells**2, head["hidden"]), nn.Linear(head["hidden"], head["dim"], bias=not head.get("norm"))
        self.norm = nn.BatchNorm1d(head["dim"]) if head.get("norm") else nn.Identity()
        if head.get("norm"):
            nn.init.constant_(self.norm.weight, 4)

    def forward(self, x):
        """The vector before its sigmoid."""
        x = F.adaptive_avg_pool2d(F.relu(self.project(self.maps(x)[-1])), self.cells)
        # echogrid's features lie channel by channel within a square.
        return self.norm(self.fc2(F.relu(self.fc1(x.permute(0, 2, 3, 1).flatten(1)))))


class Bridge(nn.ModuleDict):
    """Both towers."""

    start_random = Encoders.start_random

    def __init__(self, train):
        super().__init__({m: Tower(train["encoder"]) for m in MODALITIES})
        if train["contrast"] > 0:
            temperature = nn.ParameterDict({"log_scale": torch.tensor([math.log(1 / 0.07)])})
            self["loss"] = nn.ModuleDict({"contrast": temperature})

    def unbounded(self, modality, patches):
        return self[modality](patches.float().permute(0, 3, 1, 2))

    def forward(self, modality, patches):
        return self.unbounded(modality, patches).sigmoid()


def distance(f, h, eps):
    return ((f - h).square().mean(-1) + eps).sqrt()


def read_manifest(folder):
    """The manifest, if it asks for nothing else than is done here."""
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    train = manifest.get("match") or sys.exit(f"{folder}: is no export of `train --match`")
    kept = {
        "encoder.architecture": train["encoder"]["architecture"]["kind"] == "residual",
        "encoder.sharing": train["encoder"]["sharing"] == "separate",
        "encoder.repeat_band": not train["encoder"].get("repeat_band"),
    }
    if not all(kept.values()):
        sys.exit(f"{folder}: not compared here, as the manifest has it: {', '.join(k for k, v in kept.items() if not v)}")
    return manifest


def fit(network, folder, manifest, args):
    """The loss of every step, and the seconds that the steps took without the reading."""
    train = manifest["match"]
    alpha, eps, contrast = train["bridge"]["alpha"], train["bridge"]["eps"], train["contrast"]

    def loss_of(map, sar, partners):
        vectors = network.unbounded("map", map), network.unbounded("sar", sar)
        h, f = (v.sigmoid() for v in vectors)
        others = h[partners.long()].view(len(f), -1, h.shape[1])
        loss = (distance(f, h, eps).square().mean() + alpha * (distance(f[:, None], others, eps) - 1).square().mean()) / (1 + alpha)
        if contrast > 0:
            h, f = (F.normalize(v) for v in vectors)
            loss = loss + contrast * infonce(f, h, network["loss"]["contrast"]["log_scale"], 0.0)
        return loss

    return Descent(network, train).over(batches(folder, manifest, args.device, (*MODALITIES, "partners")), loss_of, args.steps)


@torch.no_grad()
def judge(network, path, eps, batch, device):
    """Distances [pairs, 1 + negatives] of what a folder validates on."""
    network.eval()
    with safe_open(path, framework="pt") as file:
        def embed(m):
            rows = file.get_slice(m)
            return torch.cat([network(m, rows[i : i + batch].to(device)) for i in range(0, rows.get_shape()[0], batch)])

        h, f = embed("map"), embed("sar")
        others = h[file.get_tensor("partners").long().to(device)].view(len(f), -1, h.shape[1])
        return torch.cat([distance(f, h, eps)[:, None], distance(f[:, None], others, eps)], 1).double().cpu()


def best_threshold(d):
    """The threshold of the greatest accuracy, half way between two distances; of equals the one nearest to 0.5, then the lower."""
    values = d.flatten().unique()
    at = torch.cat([values[:1], (values[:-1] + values[1:]) / 2, values[-1:] * (1 + 1e-12)])
    right = torch.tensor([(d[:, :1] < t).sum() + (d[:, 1:] >= t).sum() for t in at])
    return min(at[right == right.max()].tolist(), key=lambda t: (abs(t - 0.5), t))


def figures(d, threshold):
    """What distances come to under a threshold."""
    pairs, others = d[:, 0], d[:, 1:].flatten()
    told, taken = (pairs < threshold).double(), (others < threshold).double()
    nearer = (pairs[:, None] < others).double() + (pairs[:, None] == others).double() / 2
    at_95 = pairs.sort().values[math.ceil(0.95 * len(pairs) - 1e-9) - 1]
    accuracy = lambda t: ((pairs < t).sum() + (others >= t).sum()).item() / d.numel()
    return {
        "threshold": threshold,
        "accuracy": accuracy(threshold),
        "accuracy_at_half": accuracy(0.5),
        "precision": (told.sum() / (told.sum() + taken.sum())).item(),
        "recall": told.mean().item(),
        "fpr95": (others <= at_95).double().mean().item(),
        "auc": nearer.mean().item(),
        "pairs": len(pairs),
    }


def right(d, threshold):
    """Share of each pair's distances on the right side."""
    return torch.cat([d[:, :1] < threshold, d[:, 1:] >= threshold], 1).double().mean(1)


def interval(rows):
    """Mean of outcomes [seeds, pairs] and its 95 % interval: seeds are drawn again, then pairs."""
    rows, (seeds, pairs) = torch.stack(rows), (len(rows), len(rows[0]))
    draws = [rows[torch.randint(seeds, (seeds,))][:, torch.randint(pairs, (pairs,))].mean() for _ in range(RESAMPLES)]
    return {"value": rows.mean().item(), "ci95": torch.stack(draws).quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()}


def read_ours(path):
    """echogrid's distances of the pairs and their negatives, its threshold, and which patches the negatives are."""
    with open(path, encoding="utf-8") as f:
        dump = json.load(f)
    rows = [[p["distance"], *(n["distance"] for n in p["negatives"])] for p in dump["pairs"]]
    return torch.tensor(rows, dtype=torch.double), dump["threshold"], [n["patch"] for p in dump["pairs"] for n in p["negatives"]]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("folders", nargs="+", metavar="FOLDER")
    a.add_argument("--test", metavar="TEST", help="an export that validates on the pairs to judge by")
    a.add_argument("--ours", nargs="+", metavar="FILE", help="echogrid's distances for each folder, in their order")
    a.add_argument("--start", choices=["echogrid", "torch"], default="echogrid", help="whose start values")
    a.add_argument("--steps", type=int, default=0, help="stop after so many steps [default: all]")
    a.add_argument("--threads", type=int, default=os.cpu_count(), help="PyTorch's threads")
    a.add_argument("--device", default="cpu", help="PyTorch's device")
    a.add_argument("--out", metavar="FILE.json")
    args = a.parse_args()
    if args.ours and len(args.ours) != len(args.folders):
        a.error(f"--ours takes {len(args.folders)} files, one for each folder")
    manifests, ours = [read_manifest(f) for f in args.folders], [read_ours(f) for f in args.ours or []]
    result = start(args) | {"start": args.start, "runs": []}
    theirs, own = [], []
    for i, (folder, manifest) in enumerate(zip(args.folders, manifests)):
        train = manifest["match"]
        torch.manual_seed(train["seed"])
        network, eps = Bridge(train), train["bridge"]["eps"]
        if args.start == "echogrid":
            start_from(network, os.path.join(folder, "start.safetensors"))
        else:
            network.start_random()
        network.to(args.device, memory_format=torch.channels_last).train()
        losses, seconds = fit(network, folder, manifest, args)
        judged = [judge(network, os.path.join(f, "judge.safetensors"), eps, train["batch"], args.device) for f in (folder, args.test or folder)]
        threshold = best_threshold(judged[0])
        run = {"folder": os.path.basename(os.path.abspath(folder)), "seed": train["seed"], "steps": len(losses), "seconds": seconds}
        run |= {"pairs_per_s": train["batch"] * len(losses) / seconds, "losses": losses} | figures(judged[1], threshold)
        theirs.append(right(judged[1], threshold))
        if ours:
            distances, line, partners = ours[i]
            with safe_open(os.path.join(args.test or folder, "judge.safetensors"), framework="pt") as f:
                wanted = f.get_tensor("partners").flatten().tolist()
            if distances.shape != judged[1].shape or partners != wanted:
                sys.exit(f"{args.ours[i]}: of other pairs or negatives than those judged by: take the same pairs, and the seed of the export's judging (7)")
            run["ours"] = figures(distances, line)
            own.append(right(distances, line))
        result["runs"].append(run)
    result["accuracy"] = interval(theirs)
    if ours:
        result["ours"] = interval(own)
        result["difference"] = interval([100 * (t - o) for t, o in zip(theirs, own)])
    report(result, args)


if __name__ == "__main__":
    main()
