"""The Model view: the module tree with every parameter's norm and the state of its `.grad`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.reads import Reading, gather, read, scalars
from gradstep.values.views import ModelRow, ModelView
from gradstep.views.numbers import Norms


def model_view(
    held: Held, stop: int, selected: str, changes: Reading[frozenset[str]], taken: Norms | None = None
) -> Reading[ModelView]:
    """Read the module tree, depth first.

    Args:
        held: the held workload.
        stop: the number of the stop it is a view of.
        selected: the path of the selected parameter or buffer; empty for none.
        changes: the names of tensors that the last phase changed, `.grad` included as `2.weight.grad`.
        taken: the norms already computed for the same look.
    """
    taken = taken or Norms()
    tensors: list[Tensor] = [tensor for _, tensor in (*held.parameters, *held.buffers())]
    with_grad = [(p, p.grad) for _, p in held.parameters if p.grad is not None]
    changed, norms, of_grads, values = yield from gather(
        [changes, taken.of(tensors), taken.of([grad for _, grad in with_grad]), _only_values(tensors)]
    )
    known = dict(zip(tensors, norms, strict=True))
    grads = dict(zip([p for p, _ in with_grad], of_grads, strict=True))
    met: dict[Tensor, str] = {}
    own = dict(held.parameters)

    def leaf(kind: str, module_path: str, name: str, tensor: Tensor, depth: int) -> ModelRow:
        path = f"{module_path}.{name}" if module_path else name
        shared = met.setdefault(tensor, path)
        parameter = kind == "parameter"
        return ModelRow(
            kind="parameter" if parameter else "buffer",
            name=name,
            path=path,
            depth=depth,
            shape=tuple(tensor.shape),
            dtype=dtype_name(tensor),
            device=str(tensor.device),
            norm=known[tensor] if tensor in known else norm_of(tensor),
            grad=held.ledger.state(held.names[tensor], tensor) if tensor in held.names else "",
            grad_norm=grads.get(tensor),
            shared="" if shared == path else shared,
            changed=shared in changed,
            selected=path == selected,
            grad_changed=f"{shared}.grad" in changed,
            value=values[tensor] if tensor in known else read(_only_values([tensor]))[tensor],
        )

    def tree(module: nn.Module, path: str, called: str, depth: int) -> Iterator[ModelRow]:
        yield ModelRow("module", called, path, depth, type=type(module).__name__)
        for name, parameter in module._parameters.items():
            if parameter is not None:  # inside a functional_call another tensor is in the parameter's place
                real = own.get(f"{path}.{name}" if path else name, parameter)
                yield leaf("parameter", path, name, real, depth + 1)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                yield leaf("buffer", path, name, buffer, depth + 1)
        for name, child in module.named_children():
            yield from tree(child, f"{path}.{name}" if path else name, name, depth + 1)

    rows = [*tree(held.model, "", type(held.model).__name__, 0)]
    rows += [leaf("parameter", "", name, p, 1) for name, p in held.parameters if p not in met]
    return ModelView(stop, tuple(rows), sum(p.numel() for _, p in held.parameters))


def _only_values(tensors: Sequence[Tensor]) -> Reading[dict[Tensor, float | None]]:
    """Read the values of tensors of one element; None for others."""
    found: dict[Tensor, float | None] = dict.fromkeys(tensors)
    single = [t for t in found if t.numel() == 1 and not (t.is_meta or t.is_complex() or t.is_sparse)]
    found.update(zip(single, (yield from scalars([t.detach().reshape(()) for t in single])), strict=True))
    return found
