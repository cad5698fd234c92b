"""The `apply` of a custom `torch.autograd.Function`, which no `TorchFunctionMode` sees."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import Any

import torch


@contextmanager
def watch_functions(ran: Callable[[type, Any, Callable[[], Any], FrameType], Any]) -> Iterator[None]:
    """Have `ran` carry out every `apply` of a custom Function on this thread, for as long as the block lasts.

    `ran` is given the Function, its arguments, what runs it, and the frame that called it; it returns what that does.
    `apply` may be bound before (`act = Act.apply`), so what is put in place stands behind `Function.apply`, in its base
    class (torch/autograd/function.py, `_SingleLevelFunction`). Within a vmap it takes another way.
    """
    base: Any = torch.autograd.function._SingleLevelFunction
    thread = get_ident()

    def apply(kind: Any, *args: Any) -> Any:
        def really() -> Any:
            return super(base, kind).apply(*args)

        return ran(kind, args, really, sys._getframe(1)) if get_ident() == thread else really()

    base.apply = classmethod(apply)
    try:
        yield
    finally:
        del base.apply
