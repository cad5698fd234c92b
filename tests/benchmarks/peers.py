"""Recording a forward and a backward: gradstep and other tools against the plain passes, each in a process of its own.

The tools do different things with what they record. Needs `pip install 'gradstep[peers]'` for all rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from timing import milliseconds, percentile

TITLES = {
    "gradstep": "gradstep: forward, backward, what each wrote, a history",
    "gradstep-backward": "gradstep: the backward alone",
    "empty-hooks": "the bound of the backward: two empty hooks on each node",
    "gradstep-looks": "gradstep, and a look at all norms and the graph",
    "hooks": "backward hooks on each module that take a norm",
    "anomaly": "torch.autograd.detect_anomaly",
    "DebugMode": "DebugMode with a norm of each result",
    "torchviz": "torchviz.make_dot of the loss",
    "torchinfo": "torchinfo.summary, then both passes",
    "torchlens": "torchlens.trace of the forward and the backward",
}
"""The tools, and what is timed."""
NEEDS = {name: name for name in ("torchviz", "torchinfo", "torchlens")}
BACKWARD = ("gradstep-backward", "empty-hooks")
"""Those of which the backward alone is timed."""
MODELS = ("mlp", "resnet", "gpt2")
WARM = 6
"""Turns that are not counted: in its first five iterations, gradstep runs all checks."""
SLOW = 90.0
"""Seconds after which a tool is given up."""


# -- the models --------------------------------------------------------------------------------------------------------
def built(name: str) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    """Return a model, its input, and the loss of both."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    if name == "gpt2":
        import gpt2_workload

        model, tokens = gpt2_workload.build()
        return model, tokens, gpt2_workload.loss_of
    if name == "mlp":
        model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
        return model, torch.randn(1, 784), _squared
    return _resnet(), torch.randn(8, 3, 32, 32), _squared


def _squared(model: Any, inputs: Any) -> Any:
    return model(inputs).pow(2).mean()


def _resnet() -> Any:
    """Return a ResNet-20 for images of 32 by 32."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, wide: int, narrow: int) -> None:
            super().__init__()
            stride = 2 if wide != narrow else 1
            self.body = nn.Sequential(
                nn.Conv2d(narrow, wide, 3, stride, 1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU(),
                nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
                nn.BatchNorm2d(wide),
            )
            self.skip = nn.Conv2d(narrow, wide, 1, stride, bias=False) if stride == 2 else nn.Identity()

        def forward(self, x: Any) -> Any:
            return (self.body(x) + self.skip(x)).relu()

    widths = [16] * 4 + [32] * 3 + [64] * 3
    blocks = [Block(wide, narrow) for narrow, wide in pairwise(widths)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )


# -- the tools ---------------------------------------------------------------------------------------------------------
def tool(name: str, model: Any, inputs: Any, loss_of: Callable[[Any, Any], Any]) -> Callable[[], object]:
    """Return what records a forward and a backward with a tool; it may return the seconds that count."""

    def both() -> Any:
        model.zero_grad()
        loss = loss_of(model, inputs)
        loss.backward()
        return loss

    if name.startswith("gradstep"):
        return _gradstep(model, inputs, loss_of, name)
    if name == "empty-hooks":
        return _empty_hooks(model, inputs, loss_of)
    if name == "torchlens":
        return _torchlens(model, inputs, loss_of)
    if name == "hooks":
        _hook(model)
        return both
    return _around(name, model, inputs, both)


def _gradstep(model: Any, inputs: Any, loss_of: Any, name: str) -> Callable[[], object]:
    import torch

    from gradstep.session.local import Session
    from gradstep.values.commands import Backward, Forward, ZeroGrad
    from gradstep.values.views import LookModel
    from gradstep.values.views.graph import LookGraph
    from gradstep.values.views.training import LookLayers
    from gradstep.workload import Workload

    workload = Workload(model, compute_loss=loss_of, optimizer=lambda p: torch.optim.SGD(p, lr=0.01), batches=[inputs])
    session = Session(workload)
    session.can_pause(lambda _: None)
    requests = (LookModel(), LookLayers(), LookGraph()) if name == "gradstep-looks" else ()

    def run() -> float:
        session.execute(ZeroGrad())
        start = time.perf_counter()
        for command in (Forward(), Backward()):
            if name == "gradstep-backward":
                start = time.perf_counter()
            assert session.execute(command).ok
            session.look(*requests)
        return time.perf_counter() - start

    return run


def _empty_hooks(model: Any, inputs: Any, loss_of: Any) -> Callable[[], float]:
    """Return a backward that calls Python before and after each node: none that is watched can take less."""

    def empty(*_: Any) -> None: ...

    def run() -> float:
        model.zero_grad()
        loss = loss_of(model, inputs)
        waiting, seen, start = [loss.grad_fn], {None}, time.perf_counter()
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                node.register_prehook(empty)
                node.register_hook(empty)
                waiting += [each for each, _ in node.next_functions if each is not None]
        loss.backward()
        return time.perf_counter() - start

    return run


def _hook(model: Any) -> None:
    norms: dict[str, float] = {}

    def hook(name: str) -> Callable[..., None]:
        def note(_: Any, __: Any, left: Any) -> None:
            norms[name] = 0.0 if left[0] is None else left[0].norm().item()

        return note

    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            module.register_full_backward_hook(hook(name))


def _torchlens(model: Any, inputs: Any, loss_of: Any) -> Callable[[], object]:
    import torchlens
    from torch import nn

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, given: Any) -> Any:
            return loss_of(self.model, given)

    whole = Loss()

    def run() -> object:
        model.zero_grad()
        trace = torchlens.trace(whole, inputs)
        trace.log_backward(trace[trace.output_layers[0]].out)
        return trace

    return run


def _around(name: str, model: Any, inputs: Any, both: Callable[[], Any]) -> Callable[[], object]:
    """Return both passes with what a tool does around them."""
    import torch

    def anomaly() -> None:
        with torch.autograd.detect_anomaly(check_nan=True):
            both()

    def debug_mode() -> object:
        from torch.utils._debug_mode import DebugMode

        with DebugMode() as mode, DebugMode.log_tensor_hashes("norm"):
            both()
        return mode.debug_string()

    def torchviz() -> object:
        from torchviz import make_dot

        return make_dot(both(), params=dict(model.named_parameters()))

    def torchinfo() -> object:
        from torchinfo import summary

        both()
        return summary(model, input_data=[inputs], verbose=0)

    return {"anomaly": anomaly, "DebugMode": debug_mode, "torchviz": torchviz, "torchinfo": torchinfo}[name]


# -- one measurement ---------------------------------------------------------------------------------------------------
def times(name: str, model: str, turns: int) -> dict[str, list[float]]:
    """Time a tool and the plain passes alternately, in this process; each on a model of its own."""
    import warnings

    warnings.simplefilter("ignore")
    plain, inputs, loss_of = built(model)

    def passes() -> float:
        plain.zero_grad()
        start = time.perf_counter()
        loss = loss_of(plain, inputs)
        if name in BACKWARD:
            start = time.perf_counter()
        loss.backward()
        return time.perf_counter() - start

    recorded = tool(name, *built(model))
    seconds: dict[str, list[float]] = {"plain": [], name: []}
    for turn in range(turns + WARM):
        for key, call in (("plain", passes), (name, recorded)):
            start = time.perf_counter()
            taken = call()
            if turn >= WARM:
                seconds[key].append(taken if isinstance(taken, float) else time.perf_counter() - start)
    return seconds


def row(name: str, model: str, turns: int) -> str:
    """Return the line of a tool on a model."""
    title = f"  {TITLES[name]:<60}"
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        return f"{title} not run: it needs {NEEDS[name]} (pip install 'gradstep[peers]')"
    command = [sys.executable, __file__, name, model, str(turns)]
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SLOW, env=os.environ)
    except subprocess.TimeoutExpired:
        return f"{title} given up after {SLOW:.0f} s"
    except subprocess.CalledProcessError as error:
        return f"{title} failed: {error.stderr.strip().splitlines()[-1]}"
    seconds = json.loads(found.stdout.splitlines()[-1])
    ours, theirs = (percentile(seconds[key], 0.5) for key in (name, "plain"))
    return f"{title} {milliseconds(ours):>8} against {milliseconds(theirs):>8} = {ours / theirs:6.2f}x   n {turns}"


def measure(turns: int) -> Iterator[str]:
    """Yield the lines of the report."""
    for model in MODELS:
        yield f"  {model}"
        if model == "gpt2" and find_spec("transformers") is None:
            yield "  not run: it needs transformers (pip install transformers)"
            continue
        yield from (row(name, model, turns) for name in TITLES)


if __name__ == "__main__":
    print(json.dumps(times(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
