#!/usr/bin/env python3
"""The sum of messages over a graph: echogrid beside plain PyTorch scatter, on the same cores in the same run.

    python3 benches/peers/message_passing.py [--edges 1000000] [--nodes 100000] [--features 128] [--out FILE.json]

Needs PyTorch and echogrid built. y[target] += x[source] for edges drawn at random, f32. PyTorch does it in the ways its users do: rows gathered
by `index_select`, then `index_add` or `scatter_reduce` (a sum over an index expanded to the features; `scatter_add` is the same kernel), or one
product with a sparse CSR matrix of ones, which is what the fastest message passing libraries come down to. Edges are given sorted by target,
as echogrid has them; `_unsorted` as drawn. The backward pass is autograd's: of index_add another gather, of the gather an index_add; of the sparse
product, one with the transpose, built beforehand. echogrid's figures are those of `echogrid bench message`.
On a machine with CUDA the same is measured there (`--device cuda`), where PyTorch's sums are atomic and no two runs are alike.
"""

import torch

from common import echogrid_cases, median_time, parser, report, start


def main():
    a = parser(__doc__, repeats=5)
    a.add_argument("--edges", type=int, default=1_000_000)
    a.add_argument("--nodes", type=int, default=100_000)
    a.add_argument("--features", type=int, default=128)
    args = a.parse_args()

    cases, about = echogrid_cases(args, "message")
    forward, backward = (cases[f"message {what} {args.edges} edges x {args.features}"] for what in ("Sum", "Sum backward"))

    result = start(args) | about
    device, n, f = args.device, args.nodes, args.features
    drawn = torch.randint(n, (2, args.edges), device=device)
    edges = drawn[:, torch.argsort(drawn[1], stable=True)]
    back = drawn[:, torch.argsort(drawn[0], stable=True)]
    x = torch.randn(n, f, device=device)
    dy = torch.randn(n, f, device=device)

    def csr(rows, columns):
        counts = torch.bincount(rows, minlength=n)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return torch.sparse_csr_tensor(offsets, columns, torch.ones(args.edges, device=device), size=(n, n))

    ones, transposed = csr(edges[1], edges[0]), csr(back[0], back[1])

    def index_add(v, e):
        return v.new_zeros(n, f).index_add(0, e[1], v.index_select(0, e[0]))

    def scatter(v, e):
        index = e[1].unsqueeze(1).expand(-1, f)
        return v.new_zeros(n, f).scatter_reduce(0, index, v.index_select(0, e[0]), "sum")

    def both(way, e):
        v = x.detach().requires_grad_()
        way(v, e).backward(dy)
        return v.grad

    result |= {"edges": args.edges, "nodes": n, "features": f,
               "echogrid_forward_s": forward, "echogrid_both_s": forward + backward}
    want = index_add(x, edges)
    for name, way in [("index_add", index_add), ("scatter_reduce", scatter)]:
        for order, e in [("", edges), ("_unsorted", drawn)]:
            assert torch.allclose(way(x, e), want, atol=1e-3)
            with torch.no_grad():
                result[f"torch_{name}{order}_forward_s"] = median_time(lambda: way(x, e), args)[0]
            result[f"torch_{name}{order}_both_s"] = median_time(lambda: both(way, e), args)[0]
    assert torch.allclose(ones @ x, want, atol=1e-3)
    with torch.no_grad():
        result["torch_sparse_forward_s"] = median_time(lambda: ones @ x, args)[0]
        result["torch_sparse_both_s"] = median_time(lambda: (ones @ x, transposed @ dy), args)[0]
    for kind in ["forward", "both"]:
        scatters = [v for k, v in result.items() if k.startswith("torch_") and k.endswith(f"{kind}_s") and "sparse" not in k]
        result[f"share_of_scatter_{kind}"] = result[f"echogrid_{kind}_s"] / min(scatters)
        result[f"share_of_sparse_{kind}"] = result[f"echogrid_{kind}_s"] / result[f"torch_sparse_{kind}_s"]

    report(result, args)


if __name__ == "__main__":
    main()
