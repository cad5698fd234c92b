"""Commands and expressions as lines of plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from gradstep.engine.expressions.patterns import matching
from gradstep.engine.held import Held
from gradstep.values import commands as c
from gradstep.values import expressions as x
from gradstep.values.errors import GradstepError, wrong

_FUNCTIONS = {
    **{name: f"torch.{name}" for name in ("abs", "sqrt", "exp", "log", "isnan", "isinf", "isfinite")},
    **{name: f"torch.{name}" for name in ("mean", "sum", "max", "min", "std", "any", "all")},
    "norm": "torch.linalg.vector_norm",
}
_LOOP = "for group in optimizer.param_groups:"


def line_for(held: Held, command: c.PointCommand) -> tuple[str, ...]:
    """Return a command as lines of plain PyTorch.

    Raises:
        GradstepError: it has no equivalent.
    """
    match command:
        case c.Forward():
            return ("forward()",)
        case c.Backward(retain, ()):
            return ("loss.backward(retain_graph=True)" if retain else "loss.backward()",)
        case c.Backward(retain, flows):
            return (*_edits(held, flows), f"backward_with(change, retain_graph={retain})")
        case c.Step():
            step = "optimizer.step(closure)" if held.calls_closure else "optimizer.step()"
            steps_schedule = held.workload.schedule == "step" and bool(held.workload.schedulers)
            return (step, "step_schedulers()") if steps_schedule else (step,)
        case c.ZeroGrad(to_none):
            return (f"optimizer.zero_grad(set_to_none={to_none is not False})",)
        case c.NextBatch():
            return ("next_batch()",)
        case c.Freeze(pattern, on):
            names = matching(pattern, [name for name, _ in held.parameters])
            return (f"for name in {names!r}:", f"    tensor(name).requires_grad_({not on})")
        case c.Clip(by, limit):
            given = "[p for p in model.parameters() if p.grad is not None]"
            return (f"torch.nn.utils.clip_grad_{by}_({given}, {limit!r})",)
        case c.UseOptimizer(name, options):
            return _optimizer(held, name, options)
        case c.Mode(training):
            return ("model.train()" if training else "model.eval()",)
        case c.Seed(seed):
            return (f"gradstep_seed({seed})",)
        case c.Assign(target, value):
            return _assign(held, target, value)
        case c.Restore():
            raise _cannot("it restored a checkpoint file, whose contents are not part of a program")


def _edits(held: Held, flows: tuple[c.Flow, ...]) -> Iterator[str]:
    """Yield the function that edits gradients at numbered places; see `loop._FLOWS`."""
    yield "def change(place, node_in, node_out):"
    for flow in flows:
        items: list[str] = []
        target = flow.change.target
        while isinstance(target, x.Index):
            items, target = [_items(held, target)[1:-1], *items], target.base
        assert isinstance(target, x.Name)
        _, side, *which = target.name.split(".")
        index = ", ".join([*which, *items])
        place = f"numpy.s_[{index}]" if index else "()"
        yield f"    if place == {flow.place}:"
        yield f"        put(node_{side}, {place}, {_python(held, flow.change.value)})"
    yield f"    return place in {tuple(sorted({flow.place for flow in flows}))}"


def _optimizer(held: Held, name: str, options: tuple[tuple[str, x.Expression], ...]) -> tuple[str, ...]:
    import torch

    kind = next(kind for kind in vars(torch.optim) if kind.lower() == name.lower())
    given = "".join(f", {key}={_python(held, value)}" for key, value in options)
    groups = '[{"params": group["params"]} for group in optimizer.param_groups]'
    lines = [f"optimizer = torch.optim.{kind}({groups}{given})"]
    if held.workload.schedulers:
        lines.append("schedulers = [each(optimizer) for each in given if not hasattr(each, 'state_dict')]")
    return tuple(lines)


def _assign(held: Held, target: x.Expression, value: x.Expression) -> tuple[str, ...]:
    base = target.base if isinstance(target, x.Index) else target
    made = _python(held, value)
    keys = [key for key in held.optimizer.param_groups[0] if key != "params"]
    if isinstance(base, x.Name) and base.name in keys and base.name not in held.tensor_names():
        if isinstance(target, x.Index):
            return (f"optimizer.param_groups{_items(held, target)}[{base.name!r}] = {made}",)
        return (_LOOP, f"    group[{base.name!r}] = {made}")
    place = _python(held, base)
    first: tuple[str, ...] = ()
    if place.endswith(".grad"):
        if made == "None":
            return (f"{place} = None",)
        owner = place.removesuffix(".grad")
        first = (f"if {place} is None:", f"    {place} = torch.zeros_like({owner})")
    items = _items(held, target) if isinstance(target, x.Index) else "[...]"
    return (*first, "with torch.no_grad():", f"    {place}{items} = torch.as_tensor({made}).clone()")


def _python(held: Held, expression: x.Expression) -> str:
    """Return an expression in Python."""
    match expression:
        case x.Number(number):
            return repr(number) if number == number and abs(number) != float("inf") else f"float('{number}')"
        case x.Constant(word):
            return {"none": "None", "true": "True", "false": "False"}[word]
        case x.Listing(items):
            return "(" + "".join(f"{_python(held, item)}, " for item in items) + ")"
        case x.Name():
            return _name(held, expression)
        case x.Index(base, _):
            return f"{_python(held, base)}{_items(held, expression)}"
        case x.Unary(op, inner) if op != "not":
            return f"({op}{_python(held, inner)})"
        case x.Binary(op, left, right) if op not in ("and", "or"):
            return f"({_python(held, left)} {op} {_python(held, right)})"
        case x.Call(function, arguments, ()) if function in _FUNCTIONS:
            return f"{_FUNCTIONS[function]}({', '.join(_python(held, each) for each in arguments)})"
    raise _cannot(f"`{x.expression_line(expression)}` has no short equivalent in plain PyTorch")


def _name(held: Held, name: x.Name) -> str:
    full = f"{name.quoted}{name.name}"
    values = {
        "loss": "loss.detach()",
        "prediction": "prediction.detach()",
        "input": "batch[0]",
        "target": "batch[1]",
        "batch": "batch",
        "lr": 'optimizer.param_groups[0]["lr"]',
    }
    known = set(held.tensor_names())
    if full in known:
        return f"tensor({full!r})" if full in {n for n, _ in held.model.named_buffers()} else f"tensor({full!r}).data"
    if full.removesuffix(".grad") in known:
        return f"tensor({full.removesuffix('.grad')!r}).grad"
    owner, _, key = full.rpartition(".state.")
    if owner in known:
        return f"optimizer.state[tensor({owner!r})][{key!r}]"
    if full in values:
        return values[full]
    node, side, *which = [*full.split("."), ""][:3]
    if node == "node" and side in ("in", "out") and (which[:1] == [""] or which[0].isdigit()):
        return f"one(node_{side})" + (f"[{which[0]}]" if which[0] else "")
    raise _cannot(f"`{full}` is defined by a `let`, which is not part of the state")


def _items(held: Held, index: x.Index) -> str:
    def part(item: object) -> str:
        if isinstance(item, x.Dots):
            return "..."
        if isinstance(item, x.Span):
            start, stop, step = ("" if e is None else _python(held, e) for e in (item.start, item.stop, item.step))
            return f"{start}:{stop}" + (f":{step}" if step else "")
        return _python(held, item)  # type: ignore[arg-type]

    return f"[{', '.join(map(part, index.items))}]"


def _cannot(what: str) -> GradstepError:
    return wrong("this session can't be exported", what)
