"""Modules that take another way when somebody looks at their ops: each of them is one operation then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import get_ident, local
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

COMPOSITES = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer)
"""In eval they compute by another kernel where no `TorchFunctionMode` is on (torch/nn/modules/activation.py and
transformer.py, `why_not_fast_path`), with other results on padded input."""

_HERE = local()
"""Of each thread, whether torch functions are switched off on it now, by `hide_composites`."""

Ran = Callable[[nn.Module, Any, Any], None]


@contextmanager
def hide_composites(ran: Ran = lambda *_: None) -> Iterator[None]:
    """Switch torch functions off within composites in eval, on this thread, for as long as the block lasts.

    Args:
        ran: told of each that ran and is in no other: the module, what it was given, what it returned.
    """
    thread, within, hiding = get_ident(), list[nn.Module](), ExitStack()

    def enter(module: nn.Module, _: Any) -> None:
        if isinstance(module, COMPOSITES) and not module.training and get_ident() == thread:
            if not within and torch._C._is_torch_function_enabled():  # else it is hidden already, by who lets go first
                hiding.enter_context(torch._C.DisableTorchFunction())
                _HERE.hidden = True
                hiding.callback(setattr, _HERE, "hidden", False)
            within.append(module)

    def leave(module: nn.Module, given: Any, output: Any) -> None:
        if within and within[-1] is module and get_ident() == thread:
            within.pop()
            if not within:
                hiding.close()
                with torch._C.DisableTorchFunction():
                    ran(module, given, output)

    with ExitStack() as stack:
        stack.callback(register_module_forward_pre_hook(enter).remove)
        stack.callback(register_module_forward_hook(leave, always_call=True).remove)
        stack.callback(hiding.close)
        yield


def uncovered() -> AbstractContextManager[object]:
    """Return what switches torch functions on again where `hide_composites` has switched them off on this thread."""
    return torch._C._EnableTorchFunction() if getattr(_HERE, "hidden", False) else nullcontext()
