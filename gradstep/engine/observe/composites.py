"""Modules that compute differently when their ops are observed: each of them is observed as one operation."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from threading import local

import torch
from torch import nn

COMPOSITES = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer)
"""In eval they compute by another kernel where no `TorchFunctionMode` is on (torch/nn/modules/activation.py and
transformer.py, `why_not_fast_path`), with other results on padded input."""


class _Composites(local):
    """Disables torch-function modes within composites in eval, on its thread."""

    def __init__(self) -> None:
        self._within: list[nn.Module] = []
        self._hiding = ExitStack()
        self._hidden = False

    def enter(self, module: nn.Module) -> None:
        """Note that a module is called."""
        if isinstance(module, COMPOSITES) and not module.training:
            if not self._within:
                self._hiding.enter_context(torch._C.DisableTorchFunction())
                self._hidden = True
            self._within.append(module)

    def leave(self, module: nn.Module) -> bool:
        """Note that a call has ended; return whether it was that of an outermost composite."""
        if not self._within or self._within[-1] is not module:
            return False
        self._within.pop()
        if not self._within:
            self.show()
            return True
        return False

    def show(self) -> None:
        """Enable torch-function modes again."""
        self._within.clear()
        self._hiding.close()
        self._hidden = False

    def uncovered(self) -> AbstractContextManager[object]:
        """Return a context in which torch-function modes are enabled."""
        return torch._C._EnableTorchFunction() if self._hidden else nullcontext()


HERE = _Composites()
