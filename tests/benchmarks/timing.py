"""Numbers of a benchmark: medians, 99th percentiles, ratios, and what the machine was like while they were taken."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the smallest of the times that `share` of them do not exceed (nearest rank)."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def milliseconds(seconds: float) -> str:
    """Write a time in ms with three digits that matter."""
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def row(name: str, ours: Sequence[float], yardstick: Sequence[float], aim: float | None = None) -> str:
    """Write one line: medians and p99 of both, and the ratios."""
    parts = [f"  {name:<26}"]
    for word, share in (("median", 0.5), ("p99", 0.99)):
        a, b = percentile(ours, share), percentile(yardstick, share)
        parts.append(f"{word} {milliseconds(a):>8} against {milliseconds(b):>8} = {a / b:5.2f}x")
    line = "   ".join([*parts, f"n {len(ours)}"])
    return line + (f"   aim {aim:.2f}x" if aim else "")


def busy_cores(seconds: float = 0.5) -> float:
    """Return how many cores everything else on the machine keeps busy, watched while this process sleeps."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return os.getloadavg()[0]

    def ticks() -> float:
        user, nice, system, _idle, _wait, irq, softirq, *steal = map(int, stat.read_text().splitlines()[0].split()[1:])
        return user + nice + system + irq + softirq + sum(steal[:1])

    before = ticks()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


def machine() -> str:
    """Describe what bounds a time: cores, how many of them are free, threads, versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "default")
    return (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, "
        f"textual {version('textual')}; {cores} cores, {max(0.0, cores - busy_cores()):.1f} of them free; "
        f"OMP_NUM_THREADS {threads}"
    )
