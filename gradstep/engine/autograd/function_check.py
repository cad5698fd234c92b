"""The check of a custom Function: its backward and double backward against finite differences of its forward.

It does what `torch.autograd.gradcheck` and `gradgradcheck` do, with their step and tolerances
(torch/autograd/gradcheck.py): in float64, on copies of the Function's inputs. Unlike them it skips kinks, such as that
of a ReLU at 0, and names the element with the largest error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.finite_differences import KINK, Verdict
from gradstep.engine.numbers.selection import index_text, unravel
from gradstep.engine.observe.functions import KEPT, Applied, FunctionArguments, unobserved
from gradstep.values.numbers import short

STEP, ATOL, RTOL = 1e-6, 1e-5, 1e-3
"""The defaults of `torch.autograd.gradcheck`: `eps`, `atol`, `rtol`."""
WHOLE = 1 << 10
"""Elements of inputs and outputs up to which all of J is compared."""
_SAMPLES = 64
"""Rows and columns of a larger J that are compared."""

_EQUAL = 1e-6
"""Relative difference up to which two errors count as equal: they are rounded."""
_TORCHS_OWN = frozenset({"CheckpointFunction", "CompiledFunction", "NoopSaveInputs"})

Function: TypeAlias = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def check_function(node: Node, applied: Applied) -> tuple[Verdict, ...]:
    """Check the backward of a custom Function, and its double backward if it has one.

    Its forward and backward, which are the user's code, run many times; random generators are restored.

    Args:
        node: the node of one `apply` call.
        applied: the inputs of the custom Functions of this forward.
    """
    function: Any = node._forward_cls  # type: ignore[attr-defined]
    name, given = function.__name__, applied.given.get(int(node._sequence_nr()))
    refused = ""
    if name in _TORCHS_OWN:
        refused = f"{name} runs a part of the model, not an operation"
    elif given is None:
        refused = f"its inputs were not kept (at most {KEPT >> 20} MiB of plain tensors a forward): run forward"
    if refused or given is None:
        return (Verdict(None, f"backward of {name} can't be checked: {refused}"),)
    call = _FunctionCall(function, given)
    drawn = f"; {', '.join(call.drawn)} at random: modified in place since" if call.drawn else ""
    return tuple(replace(each, words=each.words + drawn) for each in _checked(name, call))


def _checked(name: str, call: _FunctionCall) -> tuple[Verdict, ...]:
    with _unobserved(call.points):
        first = _verdict(f"backward of {name}", call.run, call.points, call.names, ["output"])
        if first.agrees is None:
            return (first,)
        try:
            seeds = call.seeds()
        except Exception as error:
            return (first, Verdict(None, f"double backward of {name}: {_first_line(error)}"))
        points, names = [*call.points, *seeds], [*call.names, *[f"v{i or ''}" for i in range(len(seeds))]]
        products = [f"Jᵀv for {each}" for each in call.names]
        return (first, _verdict(f"double backward of {name}", call.backward, points, names, products))


class _FunctionCall:
    """One call of a custom Function as a function of the tensors that required grad, on float64 copies."""

    def __init__(self, function: Any, given: FunctionArguments) -> None:
        self._function = function
        self._arguments = [_double(each) if isinstance(each, Tensor) else each for each in given.arguments]
        generator = torch.Generator().manual_seed(0)
        written = [i for i in given.written if self._arguments[i].is_floating_point()]
        for i in written:
            there = self._arguments[i]
            self._arguments[i] = torch.randn(there.shape, generator=generator, dtype=there.dtype).to(there.device)
        self._moved = [
            i
            for i, each in enumerate(self._arguments)
            if given.needs[i] and isinstance(each, Tensor) and each.is_floating_point()
        ]
        self.points: list[Tensor] = [self._arguments[i] for i in self._moved]
        named = list(inspect.signature(function.forward).parameters)
        takes_ctx = "setup_context" not in vars(function) and named[:1] != []
        own = named[1:] if takes_ctx else named
        names = [*own, *(f"input {i}" for i in range(len(own), len(self._arguments)))]
        self.names, self.drawn = [names[i] for i in self._moved], [names[i] for i in written]

    def run(self, points: Sequence[Tensor]) -> list[Tensor]:
        """Apply it; return the outputs that require grad."""
        arguments = [each.clone() if isinstance(each, Tensor) else each for each in self._arguments]
        for i, point in zip(self._moved, points, strict=True):
            arguments[i] = point.clone()  # not a leaf: it may be written in place
        devices = {point.device for point in points if point.device.type == "cuda"}
        with torch.random.fork_rng(devices=list(devices)):
            made = self._function.apply(*arguments)
        outputs = made if isinstance(made, (tuple, list)) else (made,)
        return [each for each in outputs if isinstance(each, Tensor) and each.requires_grad]

    def seeds(self) -> list[Tensor]:
        """Return a random v for each output."""
        generator = torch.Generator().manual_seed(0)
        outputs = self.run([point.clone().requires_grad_() for point in self.points])
        return [torch.randn(each.shape, generator=generator, dtype=torch.float64).to(each.device) for each in outputs]

    def backward(self, points: Sequence[Tensor]) -> list[Tensor]:
        """Return J^T v, as a function of the inputs and of v."""
        count = len(self.points)
        inputs = [point if point.requires_grad else point.clone().requires_grad_() for point in points[:count]]
        made = torch.autograd.grad(
            self.run(inputs), inputs, [v.clone() for v in points[count:]], create_graph=True, allow_unused=True
        )
        return [torch.zeros_like(point) if each is None else each for each, point in zip(made, inputs, strict=True)]


def _verdict(
    what: str, function: Function, points: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str]
) -> Verdict:
    """Compare the derivative of a function by autograd with finite differences."""
    try:
        found = _Comparison(function, points)
        return found.verdict(what, inputs, outputs)
    except Exception as error:  # the user's code may raise anything
        return Verdict(None, f"{what} can't be checked: {_first_line(error)}")


@dataclass(frozen=True)
class _Worst:
    """The element with the largest error."""

    output: int
    row: tuple[int, ...]
    input: int
    column: tuple[int, ...]
    made: float
    wanted: float

    def named(self, inputs: Sequence[str], outputs: Sequence[str]) -> str:
        """Write it as a partial derivative: `∂ output[0, 1] / ∂ x[0, 1]`."""
        name = outputs[self.output] if self.output < len(outputs) else f"{outputs[0]} {self.output}"
        return f"∂ {name}{index_text(self.row)} / ∂ {inputs[self.input]}{index_text(self.column)}"


class _Comparison:
    """J by autograd and by finite differences, element by element; some rows and columns of a large one."""

    def __init__(self, function: Function, points: Sequence[Tensor]) -> None:
        self._function, self._points = function, points
        self.leaves = [point.detach().clone().requires_grad_() for point in points]
        self.made = function(self.leaves)
        if not self.made:
            raise ValueError("no output of it requires grad")
        self.compared = self.off = self.kinks = 0
        self.total = sum(each.numel() for each in self.made) * sum(point.numel() for point in points)
        self.whole = max(each.numel() for each in [*points, *self.made]) <= WHOLE
        self.apart = 0.0
        self.worst: _Worst | None = None
        self.infinite: _Worst | None = None
        for each in self.made:
            if each.requires_grad:  # run all of it: torch raises where it meets something not differentiable
                torch.autograd.backward([each], [torch.ones_like(each)], retain_graph=True)
        with torch.no_grad():
            self._here = [each.detach().clone() for each in self.made]
        for output, result in enumerate(self.made):
            rows = self._some(result.numel())
            by_row = [self._row(output, row) for row in rows]
            for place, point in enumerate(points):
                columns = self._some(point.numel())
                made = torch.stack([row[place].flatten()[columns] for row in by_row])
                differences = [self._difference(place, column, output) for column in columns]
                wanted = torch.stack([central[rows] for central, _ in differences], 1)
                kinks = torch.stack([bent[rows] for _, bent in differences], 1)
                self._compare(output, rows, place, columns, made, wanted, kinks)

    def verdict(self, what: str, inputs: Sequence[str], outputs: Sequence[str]) -> Verdict:
        """Return the result as text."""
        of = f"{'all ' * (self.compared == self.total)}{self.compared:,} elements of J"
        of += f" (of {self.total:,})" if not self.whole else ""
        left = f"; {self.kinks:,} skipped at a kink" if self.kinks else ""
        if self.infinite is not None:
            odd = self.infinite
            return Verdict(
                None,
                f"{what} is not finite: {odd.named(inputs, outputs)} is {odd.made:g}, differences give {odd.wanted:g}",
            )
        if not self.compared:
            return Verdict(None, f"{what} can't be checked: there is a kink everywhere it would be compared")
        if self.worst is None:
            return Verdict(True, f"{what} agrees with finite differences: {of}, largest error {self.apart:.1e}{left}")
        worst = self.worst
        where = f"at {worst.named(inputs, outputs)} by {short(abs(worst.made - worst.wanted), 4)}"
        gives = f"autograd gives {short(worst.made)}, differences give {short(worst.wanted)}"
        count = f"{self.off:,} of {of} {'differs' if self.off == 1 else 'differ'}"
        return Verdict(False, f"{what} DISAGREES with finite differences: {where}: {gives}; {count}{left}")

    def _some(self, count: int) -> list[int]:
        if count <= WHOLE and self.whole:
            return list(range(count))
        step = max(1, count // _SAMPLES)
        return list(range(0, count, step))[:_SAMPLES]

    def _row(self, output: int, row: int) -> list[Tensor]:
        """Return one row of J by autograd, split by input."""
        result = self.made[output]
        if not result.requires_grad:
            return [torch.zeros_like(point) for point in self._points]
        unit = torch.zeros(result.numel(), dtype=result.dtype, device=result.device)
        unit[row] = 1
        made = torch.autograd.grad(
            result, self.leaves, unit.reshape(result.shape), retain_graph=True, allow_unused=True
        )
        return [
            torch.zeros_like(point) if each is None else each.detach()
            for each, point in zip(made, self._points, strict=True)
        ]

    def _difference(self, place: int, column: int, output: int) -> tuple[Tensor, Tensor]:
        """Return one column of J by central differences, flat, and where the function has a kink there."""
        ahead, behind = (self._moved(place, column, step)[output] for step in (STEP, -STEP))
        here = self._here[output].flatten()
        central = (ahead - behind) / (2 * STEP)
        bend = (ahead - 2 * here + behind).abs() / STEP
        scale = central[central.isfinite()].abs().max() if central.isfinite().any() else torch.tensor(1.0)
        return central, bend > KINK * scale.clamp(min=1e-3)

    def _moved(self, place: int, column: int, step: float) -> list[Tensor]:
        points = [point.detach().clone() for point in self._points]
        points[place].view(-1)[column] += step
        made = self._function([point.requires_grad_() for point in points])
        return [each.detach().flatten() for each in made]

    def _compare(
        self,
        output: int,
        rows: Sequence[int],
        place: int,
        columns: Sequence[int],
        made: Tensor,
        wanted: Tensor,
        kinks: Tensor,
    ) -> None:
        def at(index: int) -> _Worst:
            row, column = divmod(index, len(columns))
            return _Worst(
                output,
                unravel(rows[row], self.made[output].shape),
                place,
                unravel(columns[column], self._points[place].shape),
                float(made[row, column]),
                float(wanted[row, column]),
            )

        odd = ~made.isfinite()
        if odd.any() and self.infinite is None:
            self.infinite = at(int(odd.flatten().nonzero()[0]))
        smooth = ~kinks & made.isfinite() & wanted.isfinite()
        apart = torch.where(smooth, (made - wanted).abs(), 0.0)
        off = smooth & (apart > ATOL + RTOL * wanted.abs())
        self.compared += int(smooth.sum())
        self.kinks += int(kinks.sum())
        self.off += int(off.sum())
        greatest = float(apart.max()) if apart.numel() else 0.0
        if off.any() and (self.worst is None or greatest > self.apart * (1 + _EQUAL)):
            # the first of several with the same error
            self.worst = at(int((off & (apart >= greatest * (1 - _EQUAL))).flatten().nonzero()[0]))
        self.apart = max(self.apart, greatest)


@contextmanager
def _unobserved(points: Sequence[Tensor]) -> Iterator[None]:
    """Run the block unobserved, with grad mode on and autocast off."""
    with ExitStack() as stack:
        stack.enter_context(unobserved())
        stack.enter_context(torch.enable_grad())
        for kind in sorted({point.device.type for point in points}):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _double(tensor: Tensor) -> Tensor:
    plain = tensor.detach()
    return plain.double() if plain.is_floating_point() else plain.clone()


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")
