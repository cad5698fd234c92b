"""What each act may write: nothing else is saved before it."""

from __future__ import annotations

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.loop import Act
from gradstep.engine.debuggee.optimizers import is_torchs, writes_grad
from gradstep.engine.state.part import Writing
from gradstep.values.commands import Backward, Forward, NextBatch, Step, ZeroGrad


def writing(held: Debuggee, act: Act) -> Writing:
    """Return what an act may write.

    A torch optimizer reads `.grad` and normally (`writes_grad`) writes neither it nor a generator; a user's optimizer
    may write anything. Of torch's modules, only those in `held.renormalised` write weights in a forward.
    """
    match act:
        case Forward():
            weights = held.parameters if held.writes_weights() else held.renormalised
            return Writing(code=True, weights=weights, takes_batch=True, batch=True)
        case NextBatch():
            return Writing(code=True, weights=held.renormalised, optimizer=True, takes_batch=True)
        case Backward():
            # a hook may step an optimizer, so that the gradients are never all in memory at once
            hooked = any(parameter._post_accumulate_grad_hooks for _, parameter in held.parameters)
            return Writing(code=True, weights=held.parameters if hooked else (), grads=True, optimizer=hooked)
        case Step():
            code = held.calls_closure or bool(held.schedulers) or not is_torchs(held.optimizer)
            grads, batch = code or writes_grad(held.optimizer), held.calls_closure
            return Writing(code, held.parameters, grads, optimizer=True, takes_batch=code, batch=batch)
        case ZeroGrad(set_to_none):
            return Writing(grads=set_to_none is False, clears=True)


def writing_of_script(held: Debuggee, phase: str) -> Writing:
    """Return the tensors that a phase of a script may write, to show what it changed; it is never rolled back."""
    match phase:
        case "forward":
            return Writing(weights=held.renormalised, buffers=True)
        case "backward":
            return Writing(grads=True, clears=True)
        case "step":
            closure = held.calls_closure
            grads = closure or writes_grad(held.optimizer)
            return Writing(weights=held.parameters, grads=grads, clears=closure, optimizer=True, buffers=closure)
        case _:
            return Writing(grads=True, clears=True)
