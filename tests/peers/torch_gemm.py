"""Times PyTorch on the problems of `gable bench --suite gemm`, in the same session of the machine, and joins both tables.

    python3 torch_gemm.py GABLE [--filter TEXT] [--types TYPES] [--compile REGEX] [--json FILE]

Runs GABLE's suite first, then for each problem that it measured PyTorch eager and, where the name matches --compile,
torch.compile with mode max-autotune. Samples are taken as the suite takes them: other memory read through the L2 cache, an event, the work,
an event; random data; median and deciles. FILE gets GABLE's records and one more line for each time taken here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F

FLUSH_BYTES = 256 << 20
BUDGET_MS = 300.0
ROUNDS = (15, 200)


def random(shape, dtype=torch.bfloat16, spread=1.0, offset=0.0):
    """Normal values of a type that may be too narrow for the generator, filled in parts so that no copy is large."""
    tensor = torch.empty(shape, dtype=dtype, device="cuda")
    for part in tensor.view(-1).split(1 << 28):
        part.copy_((torch.randn(part.shape, device="cuda") * spread + offset).to(dtype))
    return tensor


def product(form, sizes, batch):
    """A problem as a function of its operands, and the operands."""
    m, n, k = sizes
    small = k**-0.5
    narrow = torch.float8_e4m3fn
    if form == "plain":
        return F.linear, (random((m, k)), random((n, k), spread=small))
    if form == "bias_gelu":
        operands = random((m, k)), random((n, k), spread=small), random((n,))
        return lambda x, w, b: F.gelu(F.linear(x, w, b), approximate="tanh"), operands
    if form == "swiglu":
        operands = random((m, k)), random((n // 2, k), spread=small), random((n // 2, k), spread=small)
        return lambda x, gate, up: F.silu(F.linear(x, gate)) * F.linear(x, up), operands
    if form == "residual":

        def residual(x, w, addend):
            y = F.linear(x, w) + addend
            return y, y.float().square().sum(1, keepdim=True)

        return residual, (random((m, k)), random((n, k), spread=small), random((m, n)))
    scale = random((1, n), torch.float32, 0.1 * small, small)
    if form == "scaled":
        operands = random((m, k), narrow), random((n, k), narrow), random((m, 1), torch.float32, 0.1, 1.0), scale

        def scaled(x, w, rows, columns):
            return torch._scaled_mm(x, w.t(), rows, columns, out_dtype=torch.bfloat16, use_fast_accum=False)

        return scaled, operands
    if form == "weights":
        operands = random((m, k)), random((n, k), narrow), scale.to(torch.bfloat16)
        return lambda x, w, columns: F.linear(x, w.to(torch.bfloat16)) * columns, operands
    if form == "batched":
        return torch.bmm, (random((batch, m, k)), random((batch, k, n), spread=small))
    raise ValueError(f"form {form} is not known here")


def time_cold(work, flush):
    """Seconds of samples: the 10th, 50th and 90th percentile, and how many."""

    def samples(rounds):
        pairs = []
        for _ in range(rounds):
            flush.amax()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            work()
            end.record()
            pairs.append((start, end))
        torch.cuda.synchronize()
        return sorted(start.elapsed_time(end) for start, end in pairs)

    trial = samples(5)[2]
    times = samples(max(ROUNDS[0], min(ROUNDS[1], int(BUDGET_MS / (trial + 0.1)))))
    at = lambda share: times[round(share * (len(times) - 1))] * 1e-3
    return {"n": len(times), "p10_s": at(0.1), "median_s": at(0.5), "p90_s": at(0.9)}


def measure(record, compiled, flush):
    """Times of PyTorch on one of GABLE's problems, by name; a failure in place of a time where there is one."""
    form = record["case"].split("/")[1]
    work, operands = product(form, record["sizes"], record["batch"])
    ways = {"torch eager": work}
    if compiled:
        ways["torch.compile"] = torch.compile(work, mode="max-autotune-no-cudagraphs", dynamic=False)
    found = {}
    for name, way in ways.items():
        try:
            found[name] = time_cold(lambda: way(*operands), flush)
        except Exception as error:
            found[name] = {"error": str(error).split("\n")[0][:200]}
    torch._dynamo.reset()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gable")
    parser.add_argument("--filter")
    parser.add_argument("--types")
    parser.add_argument("--compile", default="bias_gelu|swiglu|residual", help="problems that torch.compile gets too")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    suite = [arguments.gable, "bench", "--suite", "gemm"]
    suite += [f"--{name}={value}" for name in ("filter", "types") if (value := getattr(arguments, name))]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "records")
        # It fails where a result is wrong; what it measured is there all the same.
        status = subprocess.run([*suite, f"--json={path}"]).returncode
        if not os.path.exists(path):
            sys.exit(status or "the suite left no records")
        with open(path) as file:
            lines = [json.loads(line) for line in file]
    circumstances, records = lines[0], lines[1:]
    print(f"\ntorch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}")
    print(f"{'problem':<36} {'gable us':>10} {'cublaslt':>9} {'eager':>9} {'compile':>9}   (times over gable's)")
    lines = [{**circumstances, "torch": torch.__version__}]
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    for record in records:
        record["torch"] = measure(record, re.search(arguments.compile, record["case"]), flush)
        torch.cuda.empty_cache()
        lines.append(record)
        ours = (record["time"] or {}).get("median_s")
        peer = (record["peer"] or {}).get("time", {}).get("median_s")
        times = [peer] + [record["torch"].get(name, {}).get("median_s") for name in ("torch eager", "torch.compile")]
        ratios = [f"{time / ours:9.3f}" if time and ours else f"{'-':>9}" for time in times]
        print(f"{record['case']:<36} {ours * 1e6 if ours else float('nan'):10.1f} {' '.join(ratios)}", flush=True)
        if arguments.json:
            with open(arguments.json, "w") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
    sys.exit(status)


if __name__ == "__main__":
    main()
