"""One measurement of one contestant with one workload."""

import re
from pathlib import Path

from harness import machine

from . import process


def percentiles(values):
    if not values:
        return {}
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))]  # noqa: E731
    return {"p50_us": at(0.50), "p95_us": at(0.95), "p99_us": at(0.99)}


def timed(pooler, workload, seconds):
    """Throughput, latency, CPU and memory of a fresh pooler after a short warm-up."""
    directory = machine.scratch("run")
    workload.prepare(directory)
    with pooler:
        workload.run(pooler, directory, seconds=min(1, seconds), latencies=False)
        before = process.cpu_seconds(pooler.pid) if pooler.pid else None
        run = workload.run(pooler, directory, seconds=seconds)
        result = {"rate": run.rate, "work": run.work, **percentiles(run.latencies_us)}
        if pooler.pid:
            spent = process.cpu_seconds(pooler.pid) - before
            result["cpu_us"] = spent * 1e6 / run.work
            result["rss_mb"] = process.resident_bytes(pooler.pid) / 1e6
        if hasattr(pooler, "texts"):
            result["queries"], result["parsed"], result["remembered"] = pooler.texts()
    return result


def syscalls(pooler, workload, transactions=100):
    """System calls per unit of work: the difference of two runs, so that logins cancel out."""
    if pooler.name == "direct":
        return None
    directory = machine.scratch("run")
    workload.prepare(directory)
    with pooler:
        workload.run(pooler, directory, transactions=2, latencies=False)
        counts = []
        for times in (1, 4):
            with process.Syscalls(pooler.pid, directory) as counter:
                run = workload.run(pooler, directory, transactions=transactions * times, latencies=False)
            counts.append((counter.total, run.work))
    (less, few), (more, many) = counts
    if less is None or more is None:
        return None
    if workload.unit == "tx" and getattr(workload, "per_transaction", False):
        return more / many
    return (more - less) / (many - few)


def instructions(pooler_kind, postgres, workload, transactions=(40, 240)):
    """User instructions per unit of work by callgrind: the difference of two runs, each of a fresh pooler."""
    if pooler_kind.name == "direct":
        return None
    counts = []
    for each in transactions:
        directory = machine.scratch("run")
        workload.prepare(directory)
        pooler = pooler_kind(postgres)
        out = pooler.dir / "callgrind.out"
        pooler.start(prefix=["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"])
        try:
            run = workload.run(pooler, directory, transactions=each, latencies=False)
        finally:
            pooler.stop()
        counts.append((collected(out, pooler.log()), run.work))
    (less, few), (more, many) = counts
    return (more - less) / (many - few)


def collected(path, log):
    """Instructions that callgrind counted, over all threads."""
    found = re.search(r"Collected : (\d+)", log)
    if found:
        return int(found.group(1))
    text = Path(path).read_text()
    return sum(int(number) for number in re.findall(r"^(?:totals|summary): (\d+)", text, re.M)[:1])
