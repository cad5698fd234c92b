"""The one place that hooks torch. It emits a stream of events, whoever runs the training loop.

`observe` subscribes consumers to kinds of events (`stream.py`) for as long as a block lasts. Only the hooks that the
subscribed kinds need are installed, and each once, however many consumers there are.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from threading import get_ident, local
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.autograd.graph import Node, get_gradient_edge
from torch.nn.modules import module as hooks_of_all
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, lr_scheduler
from torch.optim import optimizer as optimizers
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext
from torch.utils.hooks import RemovableHandle

from gradstep.engine.autograd.graph import GraphRecord, collector_paused
from gradstep.engine.observe import composites, stream
from gradstep.engine.observe.compiled import Region, Regions, function_modes, set_function_modes
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.functions import is_unobserved, unobserved
from gradstep.engine.observe.stream import Consumer

_number: Callable[[], int] = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
"""Returns the sequence number that the next node on this thread will have."""
GraphOf = Callable[[EngineCall], "GraphRecord | None"]
_OPS = frozenset({stream.OpStarts, stream.OpRan, stream.CompositeRan, stream.RegionRan})
_REGION_KINDS = _OPS | {stream.ModuleEntered, stream.ModuleLeft, stream.CallEntered, stream.CallLeft}
_NODES = frozenset({stream.NodeAbout, stream.NodeRan, stream.GradientArrives})


class _Thread(local):
    """What is known of one thread."""

    def __init__(self) -> None:
        self.mode: TorchFunctionMode | None = None
        """The mode that observes its operations, while they are subscribed to."""
        self.over: TorchFunctionMode | None = None
        """A mode that is no longer needed, and is still on the stack."""
        self.depth = 0
        """How many calls of the engine are running."""
        self.called = False
        """True while an outermost module runs."""


_HERE = _Thread()


@dataclass(eq=False)
class _Subscription:
    """A consumer, and the thread on which it observes."""

    consumer: Consumer
    everywhere: bool
    graph: GraphOf
    leaves: Sequence[Tensor]
    thread: int = field(default_factory=get_ident)
    within: int = field(default_factory=lambda: _HERE.depth)
    """How many calls of the engine were running when it began: it does not observe those."""
    over: bool = False
    """True after the block: a hook that an interrupt has left does nothing."""
    engine: bool = field(init=False)
    """True where calls of autograd's engine are subscribed to."""
    nodes: bool = field(init=False)
    """True where their nodes are."""

    def __post_init__(self) -> None:
        self.engine = not _ENGINE.kinds.isdisjoint(self.consumer)
        self.nodes = stream.NodeAbout in self.consumer or stream.NodeRan in self.consumer


@contextmanager
def observe(
    *consumers: Consumer,
    everywhere: Sequence[Consumer] = (),
    graph: GraphOf = EngineCall.whole_graph,
    leaves: Sequence[Tensor] = (),
    computes: bool = False,
) -> Iterator[None]:
    """Call consumers with the events of this thread while the block lasts; earlier subscriptions come first.

    Args:
        consumers: what is called for each kind of event.
        everywhere: consumers of what happens on other threads too; they are called first.
        graph: returns the graph of an engine call whose nodes to observe; None for none.
        leaves: the tensors to emit `GradientArrives` for.
        computes: the consumers call torch themselves, which must not be observed.
    """
    several = [*((each, True) for each in everywhere), *((each, False) for each in consumers)]
    mine = [
        _Subscription(_unseen(one) if computes else one, all_threads, graph, leaves) for one, all_threads in several
    ]
    try:
        _SUBSCRIPTIONS.extend(mine)
        _sync()
        if _HERE.mode is not None or all(_OPS.isdisjoint(each.consumer) for each in mine):
            yield
        else:
            with _running():
                yield
    finally:
        _end(mine)


@contextmanager
def _running() -> Iterator[None]:
    """Have a mode see the operations of this thread; one that is still on the stack is used again."""
    over, _HERE.over = _HERE.over, None
    _HERE.mode = mode = over or _Operations()
    try:
        if over is None:
            _put_on_stack(mode)
        yield
    finally:
        _take_off_stack()
        composites.HERE.show()


def _unseen(consumer: Consumer) -> Consumer:
    def hidden(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(event: Any) -> Any:
            with unobserved():
                return function(event)

        return call

    return {kind: hidden(function) for kind, function in consumer.items()}


def observing() -> Sequence[object]:
    """Return what observes on this thread."""
    return [each for each in _SUBSCRIPTIONS if each.thread == get_ident()]


def end_since(before: Sequence[object]) -> None:
    """End what has begun to observe on this thread since `before`, and remove the hooks that it has left.

    An interrupt may come at any line: also between installing a hook and noting it.
    """
    _end([each for each in _SUBSCRIPTIONS if each.thread == get_ident() and each not in before])


def _end(several: Sequence[_Subscription]) -> None:
    for each in several:
        each.over = True
    for each in [each for each in _SUBSCRIPTIONS if each.over]:
        with suppress(ValueError):  # another thread has removed it
            _SUBSCRIPTIONS.remove(each)
    _sync()


# -- emitting ----------------------------------------------------------------------------------------------------------
_SUBSCRIPTIONS: list[_Subscription] = []
_SUBSCRIBED: dict[type, tuple[tuple[_Subscription, Callable[[Any], Any]], ...]] = {}
"""The subscriptions to each kind of event, and the function to call."""


def _emit(event: Any) -> Any:
    """Emit an event; return the replacement that a consumer returned, None without one."""
    several = _SUBSCRIBED.get(type(event))
    if several is None or is_unobserved():
        return None
    thread, changed = get_ident(), None
    for who, call in several:
        if (who.thread == thread or who.everywhere) and not who.over:
            made = call(event)
            changed = changed if made is None else made
    return changed


# -- modules -----------------------------------------------------------------------------------------------------------
def _call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Replace `nn.Module.__call__`: of the outermost module only, so that submodules keep torch's fast path."""
    if _HERE.called:
        return _CALL.own(self, *args, **kwargs)
    _sweep()
    output, raised, _HERE.called = None, True, True
    try:
        _emit(stream.CallEntered(self, args, kwargs, sys._getframe(1)))
        output = _CALL.own(self, *args, **kwargs)
        raised = False
        return output
    finally:
        _HERE.called = False
        _emit(stream.CallLeft(self, output, raised))


def _enter(module: nn.Module, given: Any) -> None:
    _emit(stream.ModuleEntered(module, given, sys._getframe(1)))
    if _HERE.mode is not None:
        composites.HERE.enter(module)


def _leave(module: nn.Module, given: Any, output: Any) -> None:
    raised, frame = sys.exc_info()[0] is not None, sys._getframe(1)
    if _HERE.mode is not None and composites.HERE.leave(module) and not raised:
        _emit(stream.CompositeRan(module, given, output, frame))
    _emit(stream.ModuleLeft(module, given, output, raised, frame))


# -- operations --------------------------------------------------------------------------------------------------------
class _Operations(TorchFunctionMode):
    """Observes the operations that Python code calls on its thread; what an operation calls is part of it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        frame, given = sys._getframe(1), kwargs or {}
        if self is _HERE.over:
            return func(*args, **given)
        if stream.OpStarts in _SUBSCRIBED:
            _emit(stream.OpStarts(func, args, given, frame))
        before = _number()
        result = func(*args, **given)
        changed = _emit(stream.OpRan(func, args, given, result, before, _number(), frame))
        return result if changed is None else changed


def _put_on_stack(mode: TorchFunctionMode) -> None:
    """Put a mode under those that the user's code has entered and will leave: leaving one pops the top of the stack.

    Only a default device stands below it, as torch demands (torch/utils/_device.py, `DeviceContext`).
    """
    modes = function_modes()
    place = 1 if modes and isinstance(modes[0], DeviceContext) else 0
    set_function_modes([*modes[:place], mode, *modes[place:]])


def _take_off_stack() -> None:
    """Take our mode off the stack; where an operation runs, which holds it, at the next event after that."""
    _HERE.over, _HERE.mode = _HERE.mode, None
    _sweep()


def _sweep() -> None:
    if _HERE.over is not None:
        modes = function_modes()
        if _HERE.over in modes:
            set_function_modes([mode for mode in modes if mode is not _HERE.over])
            _HERE.over = None


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """Show a warning at the line that called the operation: torch names its innermost caller, which is in this file."""
    frame: FrameType | None = sys._getframe(1) if filename == __file__ else None
    while frame is not None and frame.f_code.co_filename != __file__:
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    if frame is not None:
        filename, lineno, line = frame.f_code.co_filename, frame.f_lineno, None
    _WARNINGS.own(message, category, filename, lineno, file, line)


def _region_begins(region: Region) -> None:
    if region.module is not None:
        _emit(stream.ModuleEntered(region.module, region.args, region.frame))


def _region_ended(region: Region, failed: bool) -> None:
    module, args, frame = region.module, region.args, region.frame
    if module is not None:
        _emit(stream.ModuleLeft(module, args, region.result, failed, frame))
    if not failed:
        known = (region.name, module, args, region.kwargs, region.result, region.before, _number(), frame)
        _emit(stream.RegionRan(*known))


# -- custom functions --------------------------------------------------------------------------------------------------
def _apply(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand behind `Function.apply`, in its base class: `apply` may be bound before (`act = Act.apply`).

    See torch/autograd/function.py, `_SingleLevelFunction`. Within a vmap it takes another way.
    """
    frame, result, raised = sys._getframe(1), None, True
    _emit(stream.FunctionEntered(function, args, _number(), frame))
    try:
        result = super(torch.autograd.function._SingleLevelFunction, function).apply(*args, **kwargs)
        raised = False
    finally:
        _emit(stream.FunctionLeft(function, args, result, raised, frame))
    return result


# -- autograd's engine -------------------------------------------------------------------------------------------------
def _run_backward(
    outputs: Sequence[Any], gradients: Any, retain: Any, create: Any, inputs: Any, *more: Any, **also: Any
) -> Any:
    """Replace torch's: every way to call autograd's engine goes through this name in `torch.autograd`.

    That holds for functions that were bound before, and for the inner backward of a reentrant checkpoint.
    """
    frame, run = sys._getframe(1), _ENGINE.own
    if is_unobserved():
        return run(outputs, gradients, retain, create, inputs, *more, **also)
    accumulates = bool(also.get("accumulate_grad"))
    name, given = f"torch.autograd.{frame.f_code.co_name}", (tuple(outputs), tuple(gradients), tuple(inputs))
    call = EngineCall(name, *given, accumulates, bool(retain), bool(create))
    depth = _HERE.depth
    mine = _observing()
    try:
        for each in mine:
            _emit_to(each, stream.EngineEntered(call, depth - each.within, frame))
        mine = _observing()  # a consumer may have subscribed another to what this call does
        _HERE.depth = depth + 1
        hooking = [each for each in mine if (each.nodes or each.leaves) and depth == each.within]
        if not hooking:
            return run(outputs, gradients, retain, create, inputs, *more, **also)
        with ExitStack() as stack:
            for each in hooking:
                _hook_nodes(each, call, stack)
            for each in hooking:
                _hook_leaves(each, stack)
            return run(outputs, gradients, retain, create, inputs, *more, **also)
    finally:
        _HERE.depth = depth
        for each in mine:
            _emit_to(each, stream.EngineLeft(call, depth - each.within))


def _observing() -> list[_Subscription]:
    """Return who observes the engine on this thread."""
    thread = get_ident()
    return [each for each in _SUBSCRIPTIONS if each.engine and each.thread == thread]


def _emit_to(who: _Subscription, event: Any) -> None:
    call = who.consumer.get(type(event))
    if call is not None and not who.over:
        call(event)


def _hook_nodes(who: _Subscription, call: EngineCall, stack: ExitStack) -> None:
    """Hook the nodes of a call's graph, where they are subscribed to."""
    about, ran = who.consumer.get(stream.NodeAbout), who.consumer.get(stream.NodeRan)
    graph = who.graph(call) if about is not None or ran is not None else None
    if graph is None:
        return
    # on a GPU the engine would call the hooks on a thread of its own
    stack.enter_context(torch.autograd.set_multithreading_enabled(False))
    with collector_paused():
        for number, node in enumerate(graph.nodes):
            if about is not None:
                stack.callback(node.register_prehook(_about(who, about, number, node)).remove)
            if ran is not None:
                stack.callback(node.register_hook(_ran(who, ran, number, node)).remove)


def _hook_leaves(who: _Subscription, stack: ExitStack) -> None:
    """Hook the leaves, after all nodes: an edited gradient arrives as edited."""
    arrives = who.consumer.get(stream.GradientArrives)
    for leaf in who.leaves if arrives is not None else ():
        stack.callback(get_gradient_edge(leaf).node.register_prehook(_arrives(who, arrives, leaf)).remove)


def _about(who: _Subscription, call: Any, number: int, node: Node) -> Callable[..., Any]:
    def hook(arrived: tuple[Any, ...]) -> Any:
        return None if who.over else call(stream.NodeAbout(number, node, arrived))

    return hook


def _ran(who: _Subscription, call: Any, number: int, node: Node) -> Callable[..., Any]:
    def hook(left: tuple[Any, ...], arrived: tuple[Any, ...]) -> Any:
        return None if who.over else call(stream.NodeRan(number, node, arrived, left))

    return hook


def _arrives(who: _Subscription, call: Any, leaf: Tensor) -> Callable[..., Any]:
    def hook(gradients: tuple[Tensor | None, ...]) -> None:
        if not who.over:
            call(stream.GradientArrives(leaf, gradients[0]))

    return hook


# -- optimizers --------------------------------------------------------------------------------------------------------
def _step_begins(optimizer: Optimizer, *_: Any) -> None:
    _sweep()
    _emit(stream.StepEntered(optimizer, sys._getframe(1)))


def _step_ended(optimizer: Optimizer, *_: Any) -> None:
    _emit(stream.StepLeft(optimizer))


def _maybe_opt_step(self: GradScaler, optimizer: Optimizer, state: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand in the place of what asks whether a gradient is inf or NaN, and calls `step` where none is."""
    made = _SCALER.own(self, optimizer, state, *args, **kwargs)
    if any(found.item() for found in state["found_inf_per_device"].values()):
        _emit(stream.StepSkipped(optimizer))
    return made


def _optimizer_zero_grad(self: Optimizer, set_to_none: bool = True) -> None:
    _sweep()
    _emit(stream.ZeroEntered(self, sys._getframe()))
    _OPTIMIZER_ZERO_GRAD.own(self, set_to_none)
    _emit(stream.Zeroed(self, set_to_none))


def _module_zero_grad(self: nn.Module, set_to_none: bool = True) -> None:
    _sweep()
    _emit(stream.ZeroEntered(self, sys._getframe()))
    _MODULE_ZERO_GRAD.own(self, set_to_none)
    _emit(stream.Zeroed(self, set_to_none))


_CLIPS = frozenset({"_clip_grads_with_norm_", "clip_grad_value_"})


def _group_to_clip(tensors: Any, *args: Any) -> Any:
    """Stand in the place of what groups the gradients before they are clipped, however clipping was imported."""
    if sys._getframe(1).f_code.co_name in _CLIPS:
        _emit(stream.GradientsClipped(tuple(tensors[0])))
    return _CLIPPING.own(tensors, *args)


def _scheduler_step(of: type) -> _Replacement:
    """Return the replacement of `step` of a scheduler's class."""

    @wraps(vars(of)["step"])
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not getattr(self, "_is_initial", False):  # not the call of its constructor
            _emit(stream.SchedulerSteps(self))
        return made.own(self, *args, **kwargs)

    made = _Replacement(frozenset({stream.SchedulerSteps}), of, "step", step)
    return made


def _scaler_call(name: Any) -> _Replacement:
    """Return the replacement of a method of a `GradScaler`."""

    @wraps(vars(GradScaler)[name])
    def call(self: GradScaler, *args: Any, **kwargs: Any) -> Any:
        if not self.is_enabled():
            return made.own(self, *args, **kwargs)
        if name != "scale":
            _emit(stream.ScalerCalled(self, name, args[0] if args else None))
            return made.own(self, *args, **kwargs)
        result = made.own(self, *args, **kwargs)
        _emit(stream.ScalerCalled(self, name, result))
        return result

    made = _Replacement(frozenset({stream.ScalerCalled}), GradScaler, name, call)
    return made


# -- what is in torch --------------------------------------------------------------------------------------------------
class _Hook:
    """A hook in a table of torch's. Whether it is there is read from the table: an interrupt may come at any line."""

    def __init__(self, kinds: frozenset[type], table: Any, hook: Any, always: Any = None) -> None:
        self.kinds, self._table, self._hook, self._always = kinds, table, hook, {} if always is None else always
        self._id = RemovableHandle(table).id
        """As torch's `register_...` numbers hooks; here once, for that takes longer than the rest."""

    def put(self, there: bool) -> None:
        if there:
            self._always[self._id] = True
            self._table[self._id] = self._hook
        else:
            self._table.pop(self._id, None)
            self._always.pop(self._id, None)


class _Replacement:
    """A replaced function; where the owner had inherited it, it is deleted again."""

    def __init__(self, kinds: frozenset[type], owner: Any, name: str, ours: Any) -> None:
        self.kinds, self._owner, self._name, self._ours = kinds, owner, name, ours
        self.own: Any = None
        """Torch's."""

    def put(self, there: bool) -> None:
        now = vars(self._owner).get(self._name)
        if there and now is not self._ours:
            self.own = now
            setattr(self._owner, self._name, self._ours)
        elif not there and now is self._ours:
            if self.own is None:
                delattr(self._owner, self._name)
            else:
                setattr(self._owner, self._name, self.own)


_ENGINE = _Replacement(
    _NODES | {stream.EngineEntered, stream.EngineLeft}, torch.autograd, "_engine_run_backward", _run_backward
)
_CALL = _Replacement(frozenset({stream.CallEntered, stream.CallLeft}), nn.Module, "__call__", _call)
_FUNCTIONS = frozenset({stream.FunctionEntered, stream.FunctionLeft})
_WARNINGS = _Replacement(_OPS | _FUNCTIONS, warnings, "showwarning", _show_warning)
_SCALER = _Replacement(frozenset({stream.StepSkipped}), GradScaler, "_maybe_opt_step", _maybe_opt_step)
_ZEROED: frozenset[type] = frozenset({stream.ZeroEntered, stream.Zeroed})
_CLIPPING = _Replacement(
    frozenset({stream.GradientsClipped}), clip_grad, "_group_tensors_by_device_and_dtype", _group_to_clip
)
_SCHEDULERS = [
    _scheduler_step(each)
    for each in vars(lr_scheduler).values()
    if isinstance(each, type) and issubclass(each, lr_scheduler.LRScheduler) and "step" in vars(each)
]
_OPTIMIZER_ZERO_GRAD = _Replacement(_ZEROED, Optimizer, "zero_grad", _optimizer_zero_grad)
_MODULE_ZERO_GRAD = _Replacement(_ZEROED, nn.Module, "zero_grad", _module_zero_grad)
_REGIONS = Regions(_region_begins, _region_ended, lambda: _sync())
_IN_TORCH: tuple[_Hook | _Replacement, ...] = (
    _Hook(
        _OPS | {stream.ModuleEntered},
        hooks_of_all._global_forward_pre_hooks,
        _enter,
    ),
    _Hook(
        _OPS | {stream.ModuleLeft},
        hooks_of_all._global_forward_hooks,
        _leave,
        hooks_of_all._global_forward_hooks_always_called,
    ),
    _Replacement(
        _FUNCTIONS,
        torch.autograd.function._SingleLevelFunction,
        "apply",
        classmethod(_apply),
    ),
    _CALL,
    _ENGINE,
    _Hook(
        frozenset({stream.StepEntered}),
        optimizers._global_optimizer_pre_hooks,
        _step_begins,
    ),
    _Hook(
        frozenset({stream.StepLeft}),
        optimizers._global_optimizer_post_hooks,
        _step_ended,
    ),
    _SCALER,
    *map(_scaler_call, ("scale", "unscale_", "step", "update")),
    *_SCHEDULERS,
    _CLIPPING,
    _OPTIMIZER_ZERO_GRAD,
    _MODULE_ZERO_GRAD,
    _WARNINGS,
)


def _sync() -> None:
    """Put into torch what the subscribed kinds need, and nothing more; nothing at all while a compiled region runs.

    Other sessions observe on threads of their own. There is no lock, which an interrupt could leave locked: what has
    changed meanwhile is put right by doing it again.
    """
    done = None
    while done != (now := (tuple(_SUBSCRIPTIONS), _REGIONS.running)):
        subscribed: dict[type, tuple[tuple[_Subscription, Callable[[Any], Any]], ...]] = {}
        for each in now[0]:
            for kind, call in each.consumer.items():
                subscribed[kind] = (*subscribed.get(kind, ()), (each, call))
        _SUBSCRIBED.update(subscribed)
        for kind in _SUBSCRIBED.keys() - subscribed.keys():
            _SUBSCRIBED.pop(kind, None)
        _REGIONS.put(not _REGION_KINDS.isdisjoint(subscribed))
        for hook in _IN_TORCH:
            hook.put(not now[1] and not hook.kinds.isdisjoint(subscribed))
        done = now
