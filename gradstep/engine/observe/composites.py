"""Modules that take another way when somebody looks at their ops: each of them is one operation then."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from threading import local

import torch
from torch import nn

COMPOSITES = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer)
"""In eval they compute by another kernel where no `TorchFunctionMode` is on (torch/nn/modules/activation.py and
transformer.py, `why_not_fast_path`), with other results on padded input."""


class _Composites(local):
    """Switches torch functions off within composites in eval, on its thread."""

    def __init__(self) -> None:
        self._within: list[nn.Module] = []
        self._hiding = ExitStack()
        self._hidden = False

    def enter(self, module: nn.Module) -> None:
        """Take note of a module that is called."""
        if isinstance(module, COMPOSITES) and not module.training:
            if not self._within:
                self._hiding.enter_context(torch._C.DisableTorchFunction())
                self._hidden = True
            self._within.append(module)

    def leave(self, module: nn.Module) -> bool:
        """Take note of a call that ended; return whether it was a composite's that is in no other."""
        if not self._within or self._within[-1] is not module:
            return False
        self._within.pop()
        if not self._within:
            self.show()
            return True
        return False

    def show(self) -> None:
        """Switch torch functions on again, where a composite has switched them off."""
        self._within.clear()
        self._hiding.close()
        self._hidden = False

    def uncovered(self) -> AbstractContextManager[object]:
        """Return what switches torch functions on again for a while, where a composite has switched them off."""
        return torch._C._EnableTorchFunction() if self._hidden else nullcontext()


HERE = _Composites()
