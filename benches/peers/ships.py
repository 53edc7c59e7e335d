#!/usr/bin/env python3
"""A detector of ships: the network and settings of a model of `echogrid detect train`, trained in PyTorch on the same images.

    echogrid detect train --config FILE ... --epochs 1 --out TEMPLATE
    python3 benches/peers/ships.py TEMPLATE --train IMAGES TRAIN.json --out MODEL [--epochs N] [--seed N] [--bf16]
    echogrid detect eval --images IMAGES --annotations VAL.json --model MODEL

    echogrid detect train --config FILE --train IMAGES TRAIN.json --export FOLDER
    python3 benches/peers/ships.py --batches FOLDER [--ours MODEL.log.jsonl]

Needs PyTorch, torchvision, safetensors, Pillow and numpy. The template says all but its weights: the network with its anchors, the optimiser and the running mean, how inputs are drawn and which anchors say a box
(YOLOv3 or Faster R-CNN on a residual trunk). Inputs are drawn by the same rules from numbers of their own, and cut by bilinear sampling. The model that is written is judged by echogrid; its
manifest says what trained it. With --batches nothing is written: the loss of the first step before and after it is taken, from echogrid's start values and on its inputs, beside echogrid's; with --ours the
losses of all steps too, on the same inputs (of Faster R-CNN the first alone: what follows hangs on random regions).
"""

import argparse
import json
import math
import os
import random
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import faster_rcnn
import yolo3
from cmpc import batches as exported
from networks import Descent, start_from, to_echogrid

TILE = 8
KINDS = {"yolo3": (yolo3, yolo3.Yolo), "faster-rcnn": (faster_rcnn, faster_rcnn.FasterRcnn)}


def read(folder, annotations):
    """Images in decibels, each standardised by its quartiles, and their boxes."""
    with open(annotations, encoding="utf-8") as f:
        data = json.load(f)
    ids = {c["id"]: i for i, c in enumerate(sorted(data["categories"], key=lambda c: c["id"]))}
    boxes = {i["id"]: [] for i in data["images"]}
    for a in data["annotations"]:
        x, y, w, h = a["bbox"]
        boxes[a["image_id"]].append([x, y, x + w, y + h, -1 if a.get("iscrowd") or a.get("ignore") else ids[a["category_id"]]])
    images = []
    for i in data["images"]:
        v = 20 * np.log10(np.asarray(Image.open(os.path.join(folder, i["file_name"])).convert("L"), np.float32) + 1)
        q = np.percentile(v, [25, 50, 75])
        v = np.clip((v - q[1]) / max((q[2] - q[0]) / 1.349, 1e-3), -4, 4)
        images.append((torch.from_numpy(v.astype(np.float32)), np.array(boxes[i["id"]], np.float32).reshape(-1, 5)))
    return images


def show(image, boxes, part, to, c, rng, canvas, shown):
    """Shows an image in a part of an input, and its boxes."""
    a, (h, w), (x0, y0, x1, y1) = c["augment"], image.shape, part
    scale = max(w, h) / to / math.exp(rng.uniform(*map(math.log, a["scale"])))
    angle = rng.randrange(4) * math.pi / 2 if a["quarter_turns"] else 0
    flip = rng.choice((-1, 1)) if a["mirror"] else 1
    m = scale * np.array([[flip * math.cos(angle), -math.sin(angle)], [flip * math.sin(angle), math.cos(angle)]])
    if len(boxes) and rng.random() < a["about_box"]:
        b = boxes[rng.randrange(len(boxes))]
        origin, at = [(b[0] + b[2]) / 2, (b[1] + b[3]) / 2], [rng.uniform(0.9 * p + 0.1 * q, 0.1 * p + 0.9 * q) for p, q in ((x0, x1), (y0, y1))]
    else:
        origin, at = [w * rng.uniform(0.3, 0.7), h * rng.uniform(0.3, 0.7)], [(x0 + x1) / 2, (y0 + y1) / 2]
    g = 1 + rng.random() * a["gain"]
    gain, offset = (g if rng.random() < 0.5 else 1 / g), rng.uniform(-a["offset"], a["offset"])
    x, y = np.meshgrid(np.arange(x0, x1) + 0.5 - at[0], np.arange(y0, y1) + 0.5 - at[1])
    u, v = (m[i, 0] * x + m[i, 1] * y + origin[i] for i in (0, 1))
    grid = torch.from_numpy(np.stack([2 * u / w - 1, 2 * v / h - 1], -1).astype(np.float32))[None]
    seen = F.grid_sample(torch.stack([image * gain + offset, torch.ones_like(image)])[None], grid, align_corners=False)[0]
    canvas[0, y0:y1, x0:x1], canvas[3, y0:y1, x0:x1] = seen
    back = np.linalg.inv(m)
    for b in boxes:
        corners = (np.array([[b[0], b[1]], [b[2], b[1]], [b[0], b[3]], [b[2], b[3]]]) - origin) @ back.T + at
        low, high = corners.min(0), corners.max(0)
        cut_low, cut_high = np.maximum(low, [x0, y0]), np.minimum(high, [x1, y1])
        if (cut_high > cut_low).all():
            plain = (cut_high - cut_low).prod() >= c["least_visible"] * (high - low).prod() and (cut_high - cut_low).min() >= 2
            shown.append([*cut_low, *cut_high, b[4] if plain else -1])


def batch(images, step, total, side, c, rng, order):
    canvases, all_shown = torch.zeros(c["batch"], 4, side, side), []
    mosaics = c["augment"]["mosaic"] if step < c["augment"]["mosaic_until"] * total else 0
    for canvas in canvases:
        if not order:
            order += rng.sample(range(len(images)), len(images))
        parts, shown = [(0, 0, side, side)], []
        if rng.random() < mosaics:
            x, y = (TILE * round(rng.uniform(0.3, 0.7) * side / TILE) for _ in (0, 1))
            parts = [(0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)]
        for i, part in enumerate(parts):
            show(*images[order.pop() if i == 0 else rng.randrange(len(images))], part, side, c, rng, canvas, shown)
        shown = np.array(shown, np.float32).reshape(-1, 5)
        all_shown.append((shown[:, :4], shown[:, 4].astype(int)))
    return canvases, all_shown


def write(state, manifest, path):
    """A model as echogrid reads it."""
    tensors = {n: to_echogrid(t.float()).contiguous() for n, t in state.items() if not n.endswith("num_batches_tracked")}
    save_file(tensors, path + ".part", {"echogrid": json.dumps(manifest)})
    os.replace(path + ".part", path)


def compare(args):
    """The losses of echogrid's own batches, beside its own."""
    with open(os.path.join(args.batches, "manifest.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    c = manifest["train"] | {"steps": manifest["steps"]}
    kind, make = KINDS[c["detector"]["head"]["kind"]]

    def fresh():
        net = make(c["detector"])
        start_from(net, os.path.join(args.batches, "start.safetensors"))
        return net.train().to(memory_format=torch.channels_last)

    with safe_open(os.path.join(args.batches, "first.safetensors"), framework="pt") as f:
        first = {n: f.get_tensor(n) for n in f.keys()}
    first["image"] = first["image"].permute(0, 3, 1, 2)
    net = fresh()
    descent, losses = Descent(net, c), []
    for _ in range(2):
        loss = kind.first_loss(net, first)
        losses.append(loss.item())
        if len(losses) == 1:
            descent.step(loss, 0)
    for name, theirs, own in zip(("before", "after"), losses, first["loss"].tolist()):
        print(f"first step, {name}: PyTorch {theirs:.6f}, echogrid {own:.6f}, relative difference {abs(theirs - own) / abs(own):.1e}", flush=True)
    if not args.ours or kind is faster_rcnn:
        return
    with open(args.ours, encoding="utf-8") as f:
        ours = [e["loss"] for e in map(json.loads, f) if "loss" in e]
    net, apart = fresh(), []
    descent = Descent(net, c)
    for step, (images, boxes) in enumerate(exported(args.batches, manifest, "cpu", ("images", "boxes"))):
        of = [boxes[boxes[:, 0] == n].numpy() for n in range(len(images))]
        shown = [(b[:, 1:5], b[:, 5].astype(int)) for b in of]
        loss = kind.loss_of(net, images.float().permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), shown, c)
        descent.step(loss, step)
        apart.append((loss.item(), ours[step]))
        if (step + 1) % 10 == 0 or step == 0:
            theirs, own = np.array(apart[-10:]).mean(0)
            print(f"step {step + 1}: PyTorch {theirs:.4f}, echogrid {own:.4f} (means of the last {len(apart[-10:])})", flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("template", nargs="?", help="a detector that `echogrid detect train` wrote")
    a.add_argument("--train", nargs=2, metavar=("IMAGES", "TRAIN.json"))
    a.add_argument("--out", metavar="MODEL")
    a.add_argument("--batches", metavar="FOLDER", help="what `echogrid detect train --export` wrote")
    a.add_argument("--ours", metavar="MODEL.log.jsonl", help="echogrid's losses on these batches")
    a.add_argument("--epochs", type=int, help="passes [default: the template's]")
    a.add_argument("--steps", type=int, help="steps of a pass, 0 for as many as show each image once [default: the template's]")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--bf16", action="store_true", help="multiply in bf16")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    args = a.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if args.batches:
        return compare(args)
    if not (args.template and args.train and args.out):
        a.error("TEMPLATE, --train and --out, or --batches")
    with safe_open(args.template, framework="pt") as f:
        manifest, shapes = json.loads(f.metadata()["echogrid"]), {n: f.get_slice(n).get_shape() for n in f.keys()}
    detector, c = manifest["encoder"], manifest["training"]
    side, images, rng, order = detector["input"], read(*args.train), random.Random(args.seed), []
    if c["augment"]["speckle_looks"]:
        sys.exit(f"{args.template}: augment.speckle_looks is not drawn here: set it to 0")
    kind, make = KINDS[detector["head"]["kind"]]
    net, loss_of = make(detector), kind.loss_of
    own = {n for n in net.state_dict() if not n.endswith("num_batches_tracked")}
    if own != shapes.keys():
        sys.exit(f"{args.template}: of another network; it or this one lacks {', '.join(sorted(own ^ shapes.keys())[:4])}")
    c["epochs"], c["seed"] = args.epochs or c["epochs"], args.seed
    c["steps"] = (c["steps"] if args.steps is None else args.steps) or math.ceil(len(images) / c["batch"])
    total, descent = c["epochs"] * c["steps"], Descent(net, c)
    net = net.to(memory_format=torch.channels_last)
    mean, begin, losses = {k: v.clone() for k, v in net.state_dict().items()}, time.perf_counter(), []
    for step in range(total):
        inputs, shown = batch(images, step, total, side, c, rng, order)
        net.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = loss_of(net, inputs.contiguous(memory_format=torch.channels_last), shown, c)
        descent.step(loss, step)
        losses.append(loss.item())
        keep = min(c["optimizer"].get("average", 0.0), step / (step + 9))
        for k, v in net.state_dict().items():
            mean[k] = v.clone() if keep == 0 or not v.is_floating_point() else mean[k].mul_(keep).add_(v, alpha=1 - keep)
        if (step + 1) % c["steps"] == 0:
            seconds = time.perf_counter() - begin
            print(f"epoch {(step + 1) // c['steps']}/{c['epochs']}: loss {sum(losses[-c['steps'] :]) / c['steps']:.4f}, {seconds:.0f} s", flush=True)
    manifest |= {"training": c, "seed": args.seed, "step": total, "init_hash": None, "validation": [], "adapter": f"PyTorch {torch.__version__}, CPU (benches/peers/ships.py)"}
    write(mean, manifest, args.out)


if __name__ == "__main__":
    main()
