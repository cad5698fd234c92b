"""The parts of an exported program besides the workload and the session: head, training loop, verification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from gradstep.engine.held import Held

HEAD = '''"""A gradstep session of {target} as plain PyTorch: it needs torch and numpy, not gradstep.

It reproduces the session bit for bit on torch {torch}, the same kind of CPU and {threads} threads; its end checks that.
{beside}"""
{futures}
import dataclasses
{imports}
import torch

torch.set_num_threads({threads})


@dataclasses.dataclass
class gradstep_Workload:
    """A stand-in for gradstep.Workload."""

{fields}


{stand_in}def gradstep_seed(number):
    import random

    import numpy
    import torch

    torch.manual_seed(number)
    random.seed(number)
    numpy.random.seed(number % 2**32)


'''

STAND_IN = """\
gradstep_module = types.ModuleType("gradstep")
gradstep_module.Workload = gradstep_Workload
gradstep_module.workload = gradstep_module
"""
SHARED = """\
sys.modules["gradstep"] = sys.modules["gradstep.workload"] = gradstep_module
"""


def training_loop(held: Held, session: str) -> Iterator[str]:
    """Yield the functions that the session's lines call, for this workload."""
    work, device = held.workload, str(held.device)
    moves = held.device.type != "cpu" or torch.accelerator.is_available()
    lines = ["work = build()", f'model = work.model.to("{device}")']
    own = [name for name in ("loss", "compute_loss") if isinstance(getattr(work, name), torch.nn.Module)]
    lines += [f'work.{name}.to("{device}")' for name in own if moves]
    made = "" if isinstance(work.optimizer, torch.optim.Optimizer) else "(model.parameters())"
    lines.append(f"optimizer = work.optimizer{made}")
    if work.schedulers:
        lines.append(
            "given = work.schedulers" if isinstance(work.schedulers, (list, tuple)) else "given = [work.schedulers]"
        )
        lines.append('schedulers = [each if hasattr(each, "state_dict") else each(optimizer) for each in given]')
    yield "\n".join([*lines, "batch = prediction = loss = None"])
    if moves:
        yield _ON_DEVICE.format(device=device)
    yield from _batches(held, "on_device({})" if moves else "{}")
    yield _FORWARD_BATCH if work.loss is None else _FORWARD
    if "closure" in session:
        value = "work.compute_loss(model, batch)" if work.loss is None else "work.loss(model(batch[0]), batch[1])"
        yield _CLOSURE.format(value=value)
    if "tensor(" in session:
        yield _TENSOR
    if "backward_with(" in session:
        yield _FLOWS
    yield "batches = all_batches()"


def _batches(held: Held, place: str) -> Iterator[str]:
    """Yield the functions that take batches and step the schedulers."""
    work = held.workload
    by_number = callable(work.batches) and not isinstance(work.batches, Iterable)
    by_epoch = bool(work.schedulers) and work.schedule == "epoch" and not by_number
    if by_number:
        call = "work.batches(taken)" if held.batches.takes_number else "work.batches()"
        yield _CALLED.format(batch=place.format(call))
    else:
        yield (_EPOCHS if by_epoch else _ROUND).format(batch=place.format("each"))
    if work.schedulers:
        given = work.schedulers if isinstance(work.schedulers, (list, tuple)) else [work.schedulers]
        plateau = any(isinstance(each, ReduceLROnPlateau) for each in (*held.schedulers, *given))
        yield _STEP_PLATEAU if plateau else _STEP_SCHEDULERS
    yield _NEXT_EPOCH if by_epoch else _NEXT


_ON_DEVICE = """
def on_device(value):
    if hasattr(value, "to") and callable(value.to):
        return value.to("{device}")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(on_device, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(on_device, value))
    return {{key: on_device(each) for key, each in value.items()}} if isinstance(value, dict) else value
"""
_CALLED = """
def all_batches():
    taken = 0
    while True:
        yield {batch}
        taken += 1
"""
_ROUND = """
def all_batches():
    while True:
        for each in work.batches:
            yield {batch}
"""
_EPOCHS = '''
def all_batches():
    """Yield each batch, and whether a new epoch begins with it."""
    ended = False
    while True:
        for place, each in enumerate(work.batches):
            yield {batch}, ended and place == 0
        ended = True
'''
_STEP_SCHEDULERS = """
def step_schedulers():
    for each in schedulers:
        each.step()
"""
_STEP_PLATEAU = """
def step_schedulers():
    for each in schedulers:
        if isinstance(each, torch.optim.lr_scheduler.ReduceLROnPlateau):
            each.step(float("nan") if loss is None else loss.item())
        else:
            each.step()
"""
_NEXT = """
def next_batch():
    nonlocal batch
    batch = next(batches)
"""
_NEXT_EPOCH = """
def next_batch():
    nonlocal batch
    batch, new_epoch = next(batches)
    if new_epoch:
        step_schedulers()
"""
_FORWARD = """
def forward():
    nonlocal prediction, loss
    if batch is None:
        next_batch()
    prediction = model(batch[0])
    loss = work.loss(prediction, batch[1])
"""
_FORWARD_BATCH = """
def forward():
    nonlocal loss
    if batch is None:
        next_batch()
    loss = work.compute_loss(model, batch)
"""
_CLOSURE = """
def closure():
    if batch is None:
        next_batch()
    optimizer.zero_grad()
    value = {value}
    value.backward()
    return value
"""
_TENSOR = '''
def tensor(name):
    """Return a parameter or buffer by its name."""
    found = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    if isinstance(work.loss, torch.nn.Module):
        found += [*work.loss.named_parameters("loss"), *work.loss.named_buffers("loss")]
    return dict(found)[name]
'''
_FLOWS = '''
def one(values):
    """Return the gradients at a node: a single one by itself."""
    return values[0] if len(values) == 1 else values


def put(values, items, value):
    """Replace a gradient, or a part of it, by a copy: other nodes may use the original."""
    items = items if isinstance(items, tuple) else (items,)
    at, items = (items[0], items[1:]) if len(values) > 1 else (0, items)
    if value is None or (not items and isinstance(value, torch.Tensor) and value.dim()):
        values[at] = None if value is None else value.detach().clone()
        return
    made = values[at].detach().clone()
    kind = {"dtype": made.dtype, "device": made.device}
    made[items or ...] = value.to(made.dtype) if isinstance(value, torch.Tensor) else torch.tensor(value, **kind)
    values[at] = made


def backward_with(change, retain_graph):
    """Run backward, and edit gradients at some places: there is one before and one after each node."""
    place, nodes = 0, {}
    waiting = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes[node] = None
            waiting += [following for following, _ in node.next_functions]

    def visit(node_in, node_out):
        nonlocal place
        place += 1
        with torch.no_grad():
            return change(place, node_in, node_out)

    def before(grad_outputs):
        node_in = list(grad_outputs)
        return tuple(node_in) if visit(node_in, None) else None

    def after(grad_inputs, grad_outputs):
        node_out = list(grad_inputs)
        return tuple(node_out) if visit(list(grad_outputs), node_out) else None

    handles = [node.register_prehook(before) for node in nodes] + [node.register_hook(after) for node in nodes]
    with torch.autograd.set_multithreading_enabled(False):
        loss.backward(retain_graph=retain_graph)
    for handle in handles:
        handle.remove()
'''

VERIFICATION = """\
expected = {{
{expected}
}}
value = str(loss.item() if loss is not None and loss.numel() == 1 else None)
print("loss", value, "expected", "{loss}")
same = value == "{loss}"
for name, each in [*model.named_parameters(), *model.named_buffers()]:
    flat = each.detach().contiguous().cpu().reshape(-1)
    found = hashlib.sha256(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"").hexdigest()[:16]
    print(name, found, "the same bits" if found == expected[name] else "DIFFERS from " + expected[name])
    same = same and found == expected[name]
if not same:
    raise SystemExit("the bits differ from those of the session")
"""
