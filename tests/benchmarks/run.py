"""Run the benchmarks and print ratios: every one taken against its yardstick in the same run, turn about.

python tests/benchmarks/run.py [NAME ...] [--quick]     (--help lists the names)
"""

from __future__ import annotations

import argparse
import importlib
import os

TITLES = {
    "start": "First frame of gradstep in a real terminal, against `python -c 'import torch'` (whole process)",
    "keys": "Key to painted screen on mlp, 120x40, against a bare Textual app with the same torch call",
    "wide": "The same with every panel of the largest layout open, 200x60",
    "node": "One node of a backward, key to painted screen, on mlp and GPT-2 124M (needs transformers), 120x40",
    "gpt2": "The four keys, every panel open, on a GPT-2 of 124M parameters (needs transformers)",
    "inside": "Looking inside a backward of GPT-2 124M: norms at every node, the graph, memory (needs transformers)",
    "graph": "A graph of 100,000 nodes against one of 100: frames, windows, and what laying out takes",
    "stats": "Statistics of one 50,257 x 768 float32 tensor, against torch.linalg.vector_norm of it",
    "scroll": "Scrolling a weight of 50,257 x 768, against one of 10 x 10",
    "history": "Going back in time on mlp and GPT-2 124M: undo, keeping, memory (needs transformers)",
    "checks": "An iteration with all checks on, against the same with none, on mlp and GPT-2 124M (needs transformers)",
    "replay": "Headless replay of 1,000 iterations of mlp, against the plain loop",
    "curves": "Growth with parameters, nodes, iterations and batch size: key to painted screen, and memory",
    "peers": "Recording a forward and a backward of mlp, a ResNet-20 and GPT-2 124M: gradstep and other tools",
    "script": "A training script under gradstep: between stops against the script alone, and each stop",
}
TIMES = {
    "start": (10, 3),
    "keys": (60, 6),
    "wide": (60, 6),
    "node": (8, 2),
    "gpt2": (12, 2),
    "inside": (12, 2),
    "graph": (30, 4),
    "stats": (15, 3),
    "scroll": (40, 4),
    "history": (100, 10),
    "checks": (12, 3),
    "replay": (15, 3),
    "curves": (5, 2),
    "peers": (8, 2),
    "script": (6, 1),
}
"""Turns of each benchmark, and how many with --quick."""


def main() -> None:
    """Run what was asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*TITLES, []], metavar="NAME", help=f"of {', '.join(TITLES)}")
    parser.add_argument("--quick", action="store_true", help="few turns: to see that it runs, not to compare")
    given = parser.parse_args()
    # what gradstep gives its engine: waiting OpenMP threads must not be what is measured; before torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from timing import machine

    print(machine())
    for name in given.names or TITLES:
        print(f"\n{TITLES[name]}")
        for line in importlib.import_module(name).measure(TIMES[name][given.quick]):
            print(line, flush=True)


if __name__ == "__main__":
    main()
