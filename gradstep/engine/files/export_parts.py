"""What an exported program consists of besides the workload and the session: its head, its helpers and its proof."""

HEAD = '''"""A gradstep session of {target} as plain PyTorch.

It gives the same bits on torch {torch}, the same kind of CPU and {threads} threads.
"""

import dataclasses
import hashlib
import random
import types

import numpy
import torch

torch.set_num_threads({threads})


@dataclasses.dataclass
class Workload:
    """What is trained."""

    model: object
    loss: object = None
    optimizer: object = None
    batches: object = None
    compute_loss: object = None
    schedulers: object = ()
    schedule: str = "step"
    state: object = dataclasses.field(default_factory=dict)
    name: str = ""
    show: str = ""


gradstep = types.SimpleNamespace(Workload=Workload)


def seed_all(number):
    torch.manual_seed(number)
    random.seed(number)
    numpy.random.seed(number % 2**32)


{seed}'''

LOOP_HELPERS = '''
# -- what a training loop is made of -----------------------------------------------------------------
work = {factory}()
model = work.model.to("{device}")
if isinstance(work.loss, torch.nn.Module):
    work.loss.to("{device}")
optimizer = work.optimizer
if not isinstance(optimizer, torch.optim.Optimizer):
    optimizer = optimizer(model.parameters())
given = work.schedulers if isinstance(work.schedulers, (list, tuple)) else [work.schedulers]
schedulers = [each if hasattr(each, "state_dict") else each(optimizer) for each in given if each is not None]
loss = prediction = batch = None


def on_device(value):
    if hasattr(value, "to") and callable(value.to):
        return value.to("{device}")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(on_device, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(on_device, value))
    return {{key: on_device(each) for key, each in value.items()}} if isinstance(value, dict) else value


def all_batches():
    """Yield each batch, and whether it begins a new epoch."""
    taken = 0
    while callable(work.batches) and not hasattr(work.batches, "__iter__"):
        yield on_device(work.batches({number})), False
        taken += 1
    while True:
        for place, each in enumerate(work.batches):
            yield on_device(each), place == 0 and taken > 0
            taken += 1


def step_schedulers():
    for each in schedulers:
        if isinstance(each, torch.optim.lr_scheduler.ReduceLROnPlateau):
            each.step(float("nan") if loss is None else loss.item())
        else:
            each.step()


def next_batch():
    nonlocal batch
    batch, new_epoch = next(batches)
    if new_epoch and work.schedule == "epoch":
        step_schedulers()


def forward():
    nonlocal batch, prediction, loss
    if batch is None:
        batch, _ = next(batches)
    if work.loss is None:
        loss = work.compute_loss(model, batch)
    else:
        prediction = model(batch[0])
        loss = work.loss(prediction, batch[1])


def closure():
    optimizer.zero_grad()
    forward()
    loss.backward()
    return loss


def tensor(name):
    """Return a parameter or buffer by its name."""
    found = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    if isinstance(work.loss, torch.nn.Module):
        found += [*work.loss.named_parameters("loss"), *work.loss.named_buffers("loss")]
    return dict(found)[name]


batches = all_batches()
'''

FLOW_HELPERS = '''
def one(values):
    """Return what flows at a node: by itself where it is one tensor, else all of them."""
    return values[0] if len(values) == 1 else values


def put(values, items, value):
    """Replace what flows, or a part of it, by a copy: what flowed may feed other nodes, too."""
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
    """Run a backward, and change what flows at some places: one comes before each node runs, and one after it."""
    place, nodes = 0, {}
    left = [loss.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in nodes:
            nodes[node] = None
            left += [following for following, _ in node.next_functions]

    def come(node_in, node_out):
        nonlocal place
        place += 1
        with torch.no_grad():
            return change(place, node_in, node_out)

    def before(arrive):
        node_in = list(arrive)
        return tuple(node_in) if come(node_in, None) else None

    def after(leave, arrive):
        node_out = list(leave)
        return tuple(node_out) if come(list(arrive), node_out) else None

    handles = [node.register_prehook(before) for node in nodes] + [node.register_hook(after) for node in nodes]
    with torch.autograd.set_multithreading_enabled(False):
        loss.backward(retain_graph=retain_graph)
    for handle in handles:
        handle.remove()
'''

SAME = """
# -- the proof ---------------------------------------------------------------------------------------
EXPECTED = {{
{expected}
}}
print("loss", None if loss is None else loss.item() if loss.numel() == 1 else loss.shape, "expected", {loss})
for name, parameter in model.named_parameters():
    flat = parameter.detach().contiguous().cpu().reshape(-1)
    found = hashlib.sha256(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"").hexdigest()[:16]
    print(name, found, "the same bits" if found == EXPECTED[name] else "DIFFERS from " + EXPECTED[name])
"""
