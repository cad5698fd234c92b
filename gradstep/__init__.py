"""gradstep: a step debugger for PyTorch training. Importing it imports neither torch nor textual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradstep.prompt import Session
    from gradstep.session.transport.open import open
    from gradstep.session.transport.trace import set_trace, watch
    from gradstep.workload import Workload

__version__ = "0.1.0"
__all__ = ["Session", "Workload", "__version__", "open", "set_trace", "watch"]

_HOME = {
    "Session": "gradstep.prompt",
    "Workload": "gradstep.workload",
    "open": "gradstep.session.transport.open",
    "set_trace": "gradstep.session.transport.trace",
    "watch": "gradstep.session.transport.trace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gradstep' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
