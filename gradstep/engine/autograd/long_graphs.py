"""Long graphs: torch 2.13 frees nodes that Python has seen recursively, and a long chain of them overflows the stack.

Nodes that Python has not seen are freed in a loop (torch/csrc/autograd/function.cpp, `deleteNode`). Measured: a walked
chain of 32,000 nodes is freed within 8 MiB, one of 40,000 is not.
"""

from __future__ import annotations

from contextlib import suppress

from torch.autograd.graph import Node

LONG = 20_000
"""Nodes from which a graph counts as long."""
_ROOM = 120 << 20
"""Bytes that a main thread's stack may grow to: Linux keeps 128 MiB free below it. Enough for 500,000 nodes. A process
that was started with a larger limit has more, as the engine of the screen has (`session/transport/process.py`)."""


def free(nodes: list[Node]) -> None:
    """Release the nodes of a graph, given in execution order, from the root on: none frees others recursively."""
    nodes.reverse()
    while nodes:
        nodes.pop()


def make_room(nodes: int) -> None:
    """Raise the stack limit of the main thread, for a long graph that is freed recursively."""
    if nodes < LONG:
        return
    with suppress(ImportError, ValueError, OSError):  # not every system has such a limit, or lets it be raised
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
        wanted = _ROOM if hard == resource.RLIM_INFINITY else min(_ROOM, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
