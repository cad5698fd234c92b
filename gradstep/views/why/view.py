"""The Why view: one sentence on what the last phase did and did not do, and the facts behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.diagnose.loss_terms import LossTerms
from gradstep.engine.held import Held
from gradstep.engine.reads import Reading, gather
from gradstep.values import numbers
from gradstep.values.commands import line_of
from gradstep.values.expressions import name_line
from gradstep.values.views import WhyView
from gradstep.views.numbers import Norms
from gradstep.views.tensor.element import Element
from gradstep.views.why.arithmetic import arithmetic

_UNKNOWN = "is unknown here: the stop before it was not kept"
_UNKNOWN_OF_SCRIPT = "is unknown: nothing was recorded then"


def why_view(
    held: Held,
    stop: int,
    changes: Reading[frozenset[str]],
    element: Element | None = None,
    taken: Norms | None = None,
    terms: LossTerms | None = None,
) -> Reading[WhyView]:
    """Read the sentence for the last phase, and the arithmetic of one element.

    Args:
        held: the held workload.
        stop: the number of the stop.
        changes: the names of all tensors that the last phase changed.
        element: the selected element.
        taken: the norms already computed for the same look.
        terms: finds terms of the loss without a graph, which may run its forward again; None when nothing can run.
    """
    if held.refused:
        sentence = f"{held.refused} raised and was rolled back: everything is as it was before."
        return WhyView(stop, held.refused, sentence, held.point.torch)
    if held.point.edit:
        return WhyView(stop, "edited", f"{held.point.edit}.", held.point.torch)
    if held.point.counted and held.point.phase != "forward":
        sentence = f"{held.point.phase}() ran. What it wrote {_UNKNOWN_OF_SCRIPT}."
        return WhyView(stop, held.point.phase, sentence, held.point.torch)
    changed, norms, formulas = yield from gather(
        [changes, (taken or Norms()).of(_measured(held)), arithmetic(held, element)]
    )
    acts: dict[str, Callable[[Held, frozenset[str]], tuple[str, list[str]]]] = {
        "forward": _forward,
        "backward": partial(_backward, norms=norms),
        "step": partial(_step, norms=norms),
        "zero_grad": _zero_grad,
        "next_batch": _next_batch,
    }
    phase = held.point.phase
    sentence, more = acts.get(phase, _loaded)(held, changed)
    lines = terms.lines(held) if terms is not None and phase in ("forward", "backward") else []
    if lines and phase == "forward":
        sentence = f"forward computed the loss. {lines[0][:1].upper()}{lines[0][1:]}."
    more[:0] = lines[phase == "forward" :]
    if not held.saved.known and not held.script and phase not in ("", "next_batch"):
        more.append(f"`goto {stop}`, `undo`, `redo` runs it again and keeps it; a larger --history keeps more stops")
    view = WhyView(stop, phase or "loaded", sentence, held.point.torch, tuple(more))
    if element is None:
        return view
    name = element.line(".grad" if phase in ("backward", "zero_grad") else "")
    return replace(view, element=name, lines=formulas)


def _measured(held: Held) -> list[Tensor]:
    """Return the tensors whose norms the sentence is about: gradients after a backward, weights after a step."""
    phase, several = held.point.phase, dict(held.parameters)
    written = [several[name] for name in held.point.written if name in several]
    if phase == "backward":
        return [parameter.grad for parameter in written if parameter.grad is not None]
    return list(written) if phase == "step" else []


def _unknown(held: Held) -> str:
    return _UNKNOWN_OF_SCRIPT if held.script else _UNKNOWN


def _loaded(held: Held, _: frozenset[str]) -> tuple[str, list[str]]:
    total = sum(p.numel() for _, p in held.parameters)
    frozen = _frozen(held)
    there = sum(p.grad is not None for _, p in held.parameters)
    grads = f"{there} have a .grad already" if there else "every .grad is None until the first backward"
    more = [f"{total:,} parameters in {len(held.parameters)} tensors; {grads}"]
    if frozen:
        are = f"{len(frozen)} of the {len(held.parameters)} tensors {'is' if len(frozen) == 1 else 'are'} frozen"
        more.append(f"{are} (requires_grad=False): {numbers.listed(frozen)}")
    if held.script:
        return _before_first_forward(held), more
    return "Ready. Run `forward`: forward runs prediction = model(x) and computes the loss.", more


def _before_first_forward(held: Held) -> str:
    point = held.point
    if not point.attached:
        return "The script is about to run its first forward."
    if point.value is None and point.loss is None:
        return "gradstep watches the script from this line on."
    value = "" if point.value is None else f" = {numbers.loss(point.value)}"
    graph = "a backward has freed its graph" if point.loss is not None and point.loss.grad_fn else "it has no graph"
    return f"loss{value} was computed before this line, where gradstep begins to watch; {graph}."


def _frozen(held: Held) -> list[str]:
    return [name for name, parameter in held.parameters if not parameter.requires_grad]


def _forward(held: Held, changed: frozenset[str]) -> tuple[str, list[str]]:
    point = held.point
    loss = point.loss
    more: list[str] = []
    if loss is None:
        return "The script differentiates what is not a tensor: there is no loss to show.", more
    if point.value is not None:
        was = "" if point.change is None else f", {numbers.loss(point.change, sign=True)} since the last forward"
        more.append(f"loss = {numbers.loss(point.value)}{was}")
    more += [f"its term {each.name} = {_term(each.value)}" for each in point.terms]
    weights = sorted(name for name, _ in held.parameters if name in changed)
    buffers = changed.difference(weights)
    if buffers:
        more.append(f"it updated {numbers.count(len(buffers), 'buffer')}, such as {min(buffers)}")
    if point.value is None:
        return f"forward gave a loss of shape {tuple(loss.shape)}: backward needs a scalar.", more
    if not math.isfinite(point.value):
        word = numbers.loss(point.value)
        again = "restart the script" if held.script else "`undo` and `forward`"
        more.append(f"`break nan`, then {again}: it stops at the op that makes the first one")
        bad = [each.name for each in point.terms if each.value is not None and not math.isfinite(each.value)]
        which = f", and so is its term {numbers.listed(bad)}" if len(bad) == 1 else ""
        which = f", and so are its terms {numbers.listed(bad)}" if len(bad) > 1 else which
        return f"The loss is {word}{which}: a backward from it can fill .grad with NaN or inf.", more
    if point.transformed:
        return "forward computed the loss inside a transform of torch.func, which hides its graph.", more
    if loss.grad_fn is None:
        return "forward computed a loss that has no graph: nothing that it depends on requires grad.", more
    if weights:
        return (
            f"forward computed the loss and built its graph. It also wrote {weights[0]} in place; no .grad changed.",
            more,
        )
    if not held.saved.known:
        return f"forward computed the loss and built its graph. What else it wrote {_unknown(held)}.", more
    return "forward computed the loss and built its graph. No weight and no .grad changed.", more


def _term(value: float | None) -> str:
    return "not recorded" if value is None else numbers.loss(value)


def _backward(held: Held, changed: frozenset[str], norms: list[float | None]) -> tuple[str, list[str]]:
    written = held.point.written
    if held.point.returned:
        return f"{held.point.returned} returned the gradients: it wrote no .grad.", []
    reached = [model for model in held.models if any(name.startswith(f"{model}.") for name in written)]
    apart = [model for model in held.models if reached and model not in reached]
    by_name = {name: p for name, p in held.parameters if name.partition(".")[0] not in apart}
    added = sorted({held.ledger.entry(name).added for name in written})
    missing = [name for name, p in by_name.items() if p.requires_grad and p.grad is None]
    more = []
    if held.point.flows is not None:
        lines = [line_of(flow.change) for flow in held.point.flows.flows]
        others = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
        more.append(f"gradients were edited in flight: {'; '.join(lines[:3])}{others}")
    if written:
        every = [norm for norm in norms if norm is not None]
        total = math.sqrt(math.fsum(n * n for n in every)) if all(map(math.isfinite, every)) else float("nan")
        frozen = _frozen(held)
        still = f"; frozen: {numbers.listed(frozen)}" if frozen else ""
        of = f" of {numbers.listed(reached)}" if apart else ""
        given = f"{len(written)} of {len(by_name)} parameters{of} received a gradient"
        more.append(f"{given}; total norm {numbers.norm(total)}{still}")
    if apart:
        more.append(f"the loss does not depend on {numbers.listed(apart)}")
    if missing:
        where = f"`why {name_line(missing[0])}.grad` shows where its path ends"
        more.insert(0, f"no gradient reached {numbers.listed(missing)}: {where}")
    if not written:
        return "backward() reached no parameter: the loss depends on none that requires grad.", more
    if added[-1] > 1:
        used = max(held.ledger.entry(name).used for name in written)
        stale = f", {used} of them already used by a step" if used else ""
        sums = f"it is now the sum of {added[-1]} backwards{stale}"
        clear = "" if held.script else " Clear it with `zero_grad`."
        fresh = [model for model in reached if _added(held, model) == {1}]
        if fresh:
            rest = numbers.listed([model for model in reached if model not in fresh])
            return f"backward() wrote the .grad of {numbers.listed(fresh)}, and added to that of {rest}: {sums}.", more
        summed = [name for name in written if held.ledger.entry(name).added > 1]
        if len(summed) < len(written) and not apart:
            return f"backward() wrote .grad; in {numbers.listed(summed)} {sums}.", more
        return f"backward() added to .grad: {sums}.{clear}", more
    if any(name in changed for name, _ in held.parameters):
        return "backward() wrote .grad, and a hook of the workload changed weights meanwhile.", more
    if missing:
        wrote = f"{len(written)} of {numbers.count(len(written) + len(missing), 'parameter')}"
        return f"backward() wrote the .grad of {wrote}: none reached {missing[0]}.", more
    if not held.saved.known:
        return f"backward() wrote .grad. Whether it changed a weight {_unknown(held)}.", more
    if held.script:
        return (
            f"backward() wrote {f'the .grad of {numbers.listed(reached)}' if apart else '.grad'} and nothing else.",
            more,
        )
    return "backward() wrote .grad and nothing else. Weights change when you run `step` (optimizer.step()).", more


def _added(held: Held, model: str) -> set[int]:
    """Return how many backwards were added to the gradients of one of a script's models since they were cleared."""
    names = [name for name in held.point.written if name.startswith(f"{model}.")]
    return {held.ledger.entry(name).added for name in names}


def _step(held: Held, changed: frozenset[str], norms: list[float | None]) -> tuple[str, list[str]]:
    point = held.point
    rates = held.rates()
    moved = [name for name, _ in held.parameters if name in changed]
    known = held.saved.known
    count = f"{len(moved)} of {len(held.parameters)} parameters changed, " if known else ""
    lr = f"lr {_rates(point.rates_before)}" if point.rates_before else ""
    more = [f"{count}{lr}".removesuffix(", ")]
    if point.clipped:
        count = numbers.count(len(point.clipped), "parameter")
        more.append(f"the script wrote .grad of {count} between backward and step, as clipping does")
    if point.skipped:
        names = numbers.listed(point.skipped)
        return f"GradScaler skipped this step: inf or NaN in the gradient of {names}. No weight changed.", more
    if point.calls:
        more.insert(0, f"the losses of the closure's calls: {_few(point.calls)}")
    if rates != point.rates_before:
        more.append(f"the scheduler set lr {_rates(point.rates_before)} → {_rates(rates)}")
    if not point.written:
        return (
            "step() changed nothing: every .grad is None, and an optimizer skips parameters without a gradient.",
            more,
        )
    lost = _all_nan(held, norms)
    if lost:
        first = name_line(lost[0])
        where = first if len(lost) == 1 else f"{len(lost)} parameters ({first} first)"
        back = f"`back until all(isfinite({first}))` returns to the last stop before that"
        more.append(f"every element of {where} is NaN" + ("" if held.script else f": {back}"))
    if len(lost) == len(point.written):
        if not known:
            return f"Every weight is NaN. Whether step() caused it {_unknown(held)}.", more
        if _all_were_nan(held, lost):
            return "step() changed nothing: every weight was NaN already, and NaN − lr · NaN is NaN.", more
        return f"step() made every weight NaN{'' if held.script else ': the only way out is to go back'}.", more
    if not known:
        return f"step() ran. What it changed {_unknown(held)}.", more
    if point.unowned:
        return f"The script updated {numbers.listed(point.written)} itself, without an optimizer.", more
    if not moved:
        return "step() changed nothing: the update of every weight was zero, or less than its last bit.", more
    if point.again:
        run = "" if held.script else " Run `zero_grad`."
        return f"step() updated the weights again, with a gradient that a step had already used.{run}", more
    if point.calls:
        times = numbers.count(len(point.calls), "time")
        calls = f"called the closure {times}: each call ran zero_grad, forward and backward"
        return f"step() {calls}. It updated the weights; .grad is from the last call.", more
    if any(f"{name}.grad" in changed for name in point.written):
        wrote = "step() updated the weights, and wrote .grad too, in a hook or in the kernel"
        return f"{wrote}.{'' if held.script else ' Run `zero_grad` to clear it.'}", more
    if held.script:
        return "step() updated the weights and left .grad unchanged.", more
    before = f"Run `zero_grad` before the next backward{_or_add(held)}"
    return f"step() updated the weights and left .grad unchanged. {before}.", more


def _few(losses: Sequence[float]) -> str:
    """Return losses in one line: all of up to ten, else the first five and the last four."""
    texts = [numbers.loss(loss) for loss in losses]
    return ", ".join(texts if len(texts) <= 10 else [*texts[:5], "…", *texts[-4:]])


def _all_nan(held: Held, norms: list[float | None]) -> list[str]:
    """Return the names of the parameters that the step could update and that are all NaN."""
    weights = dict(held.parameters)
    return [
        name
        for name, norm in zip(held.point.written, norms, strict=True)
        if norm is not None and math.isnan(norm) and bool(weights[name].isnan().all())
    ]


def _all_were_nan(held: Held, names: list[str]) -> bool:
    before = [held.saved.before(held, ("weight", name)) for name in names]
    return all(each is not None and bool(each.isnan().all()) for each in before)


def _or_add(held: Held) -> str:
    sums = max((held.ledger.entry(name).added for name, _ in held.parameters), default=0)
    return f", or it adds to these {sums}" if sums > 1 else ", or it adds to it"


def _zero_grad(held: Held, changed: frozenset[str]) -> tuple[str, list[str]]:
    to_none = "False" not in held.point.torch
    if not held.saved.known:
        return f"zero_grad() set .grad to {'None' if to_none else 'zeros'}. What was in it {_unknown(held)}.", []
    word = "None" if to_none else "zeros"
    if not changed:
        were = "None" if to_none else "zeros or None"
        return f"zero_grad() found nothing to clear: every .grad was {were} already.", []
    more = [f".grad of {numbers.count(len(changed), 'parameter')} set to {word}; weights and the loss are unchanged"]
    if to_none:
        return "zero_grad() set .grad to None: the next backward starts from scratch. No weight changed.", more
    return "zero_grad() filled .grad with zeros: a step now uses gradients of 0, and does not skip them.", more


def _next_batch(held: Held, _: frozenset[str]) -> tuple[str, list[str]]:
    more = []
    if held.rates() != held.point.rates_before:
        more.append(f"an epoch ended; the scheduler set lr {_rates(held.point.rates_before)} → {_rates(held.rates())}")
    taken = held.batches.place
    if held.point.loss is None:
        return f"Batch {taken} is ready. Run `forward` on it.", more
    if held.batches.single:
        return "There is only one batch: it is ready again. Run `forward`.", more
    return f"Batch {taken} is ready. The loss shown is still that of the last batch: run `forward` for this one.", more


def _rates(rates: tuple[float, ...]) -> str:
    return ", ".join(map(numbers.short, rates))
