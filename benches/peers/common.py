"""What the comparisons with other libraries share: options, timing, results."""

import argparse
import json
import os
import statistics
import subprocess
import time

import torch


def parser(doc, repeats):
    """Options that every comparison has."""
    a = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--repeats", type=int, default=repeats, help="runs that a time is the median of")
    a.add_argument("--threads", type=int, default=os.cpu_count(), help="PyTorch's threads")
    a.add_argument("--device", default="cpu", help="PyTorch's device")
    a.add_argument("--echogrid", default="target/release/echogrid", help="the command")
    a.add_argument("--out", metavar="FILE.json")
    return a


def echogrid_bench(args, *families):
    """Times families of echogrid's kernels: the record, with the device's limits."""
    return json.loads(subprocess.check_output([args.echogrid, "--quiet", "bench", *families, "--json"], text=True))["record"]


def echogrid_cases(args, *families):
    """Times families of echogrid's kernels: seconds by case, and what a result tells of echogrid."""
    record = echogrid_bench(args, *families)
    about = {k: record[k] for k in ("adapter", "version", "commit")}
    return {c["name"]: c["median_s"] for c in record["cases"]}, {"echogrid": about}


def commit():
    """The checkout's commit, with a + where files differ from it; none outside one."""
    command = ["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def start(args):
    """Sets PyTorch up; gives what every result tells of the machine."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    # f32 is f32: CUDA's convolutions would be rounded otherwise. Fixed shapes: the fastest algorithm is looked for once.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return {"commit": commit(), "threads": torch.get_num_threads(), "torch": torch.__version__, "device": args.device, "load": list(os.getloadavg())}


def median_time(run, args):
    """Median seconds of a call, and what it gave."""
    sync = torch.cuda.synchronize if args.device.startswith("cuda") else (lambda: None)
    value = run()
    times = []
    for _ in range(args.repeats):
        sync()
        begin = time.perf_counter()
        value = run()
        sync()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), value


def report(result, args):
    """Prints a result, and writes it where `--out` says."""
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as f:
            f.write(text + "\n")
