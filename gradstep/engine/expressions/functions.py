"""The functions that an expression may call: a name, how it is written, and what it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gradstep.values.errors import wrong

Options = Mapping[str, object]


@dataclass(frozen=True)
class Function:
    """A function of the steps language; `run` takes its `count` arguments and the options given."""

    usage: str
    help: str
    run: Callable[[tuple[object, ...], Options], object]
    count: int = 1
    options: tuple[str, ...] = ()


def as_tensor(value: object, like: Tensor | None = None) -> Tensor:
    """Return a number, a truth value or a list of numbers as a tensor; a tensor as it is.

    Args:
        value: what to convert; numbers become float64, int64 or bool.
        like: a tensor whose device, and for lists whose dtype, to take.

    Raises:
        GradstepError: it holds no numbers.
    """
    if isinstance(value, Tensor):
        return value
    device = "cpu" if like is None else like.device
    if isinstance(value, (bool, int, float)):
        kind = torch.bool if isinstance(value, bool) else torch.int64 if isinstance(value, int) else torch.float64
        return torch.tensor(value, dtype=kind, device="cpu")
    if isinstance(value, (list, tuple)) and all(isinstance(v, (bool, int, float)) for v in value):
        return torch.tensor(value, dtype=torch.float64 if like is None else like.dtype, device=device)
    raise wrong("this holds no numbers", f"{kind_of(value)} was given where a tensor or a number is needed.")


def kind_of(value: object) -> str:
    """Return what kind of value this is, in words."""
    if value is None:
        return "none"
    if isinstance(value, Tensor):
        return f"a tensor of shape {shape_text(value)}"
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"


def shape_text(tensor: Tensor) -> str:
    """Return the shape of a tensor as text, e.g. (10, 256)."""
    return str(tuple(tensor.shape))


def dtype_text(tensor: Tensor) -> str:
    """Return the dtype of a tensor as text, e.g. float32."""
    return str(tensor.dtype).removeprefix("torch.")


def as_double(tensor: Tensor) -> Tensor:
    """Return a tensor in double precision (complex for complex), on a device that has it."""
    plain = tensor.detach().cpu() if tensor.device.type == "mps" else tensor.detach()
    return plain.to(torch.complex128 if plain.is_complex() else torch.float64)


def _wide(tensor: Tensor) -> Tensor:
    """Return a tensor in which a sum does not overflow: halves as float32, whole numbers as float64."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
    return as_double(tensor)


def _dim(options: Options) -> int | None:
    dim = options.get("dim")
    if dim is None or (isinstance(dim, int) and not isinstance(dim, bool)):
        return dim
    raise wrong("`dim` must be a whole number", f"{kind_of(dim)} was given.", subject="dim")


def _of_tensor(compute: Callable[[Tensor, Options], Tensor]) -> Callable[[tuple[object, ...], Options], object]:
    """Make a function of one tensor take a number or a list too; a number gives a number."""

    def run(arguments: tuple[object, ...], options: Options) -> object:
        if isinstance(arguments[0], Tensor):
            return compute(arguments[0], options)
        tensor = as_tensor(arguments[0])
        # torch would take the root of a whole number in single precision
        return compute(tensor if tensor.dtype is torch.bool else tensor.double(), options).tolist()

    return run


def _condition(tensor: Tensor) -> Tensor:
    if tensor.dtype is not torch.bool:
        raise wrong("this is no condition", f"{kind_of(tensor)} of {dtype_text(tensor)} was given.", "Compare it.")
    return tensor


def _norm(tensor: Tensor, options: Options) -> Tensor:
    order = options.get("p", 2)
    if isinstance(order, bool) or not isinstance(order, (int, float)):
        raise wrong("`p` must be a number", f"{kind_of(order)} was given.", subject="p")
    made: Tensor = torch.linalg.vector_norm(_wide(tensor), order, _dim(options))
    return made


def _std(tensor: Tensor, options: Options) -> Tensor:
    dim, wide = _dim(options), _wide(tensor)
    if tensor.numel() < 2 and dim is None:
        return torch.full((), torch.nan, dtype=wide.dtype)
    return torch.std(wide, dim)


def _extreme(reduce: Callable[..., Tensor]) -> Callable[[Tensor, Options], Tensor]:
    def run(tensor: Tensor, options: Options) -> Tensor:
        dim = _dim(options)
        return reduce(tensor) if dim is None else reduce(tensor, dim)

    return run


def _reduce(reduce: Callable[..., Tensor]) -> Callable[[Tensor, Options], Tensor]:
    def run(tensor: Tensor, options: Options) -> Tensor:
        return reduce(tensor, _dim(options)) if "dim" in options else reduce(tensor)

    return run


def _argmax(arguments: tuple[object, ...], options: Options) -> object:
    tensor, dim = as_tensor(arguments[0]), _dim(options)
    return int(tensor.argmax()) if dim is None else tensor.argmax(dim)


def close(arguments: tuple[object, ...], options: Options) -> object:
    """Compare in double precision: |a - b| <= atol + rtol * |b|, as torch.isclose."""
    a, b = (as_tensor(v, next((w for w in arguments if isinstance(w, Tensor)), None)) for v in arguments)
    check_broadcast(a, b)
    limits = {"rtol": 1e-5, "atol": 1e-8}
    for name in options:
        given = options[name]
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not given >= 0:
            raise wrong(f"`{name}` must be a number from 0 up", f"{kind_of(given)} was given.", subject=name)
        limits[name] = float(given)
    one, other = as_double(a), as_double(b)
    kind = torch.promote_types(one.dtype, other.dtype)
    if one.device != other.device:
        one, other = one.cpu(), other.cpu()
    made = torch.isclose(one.to(kind), other.to(kind), rtol=limits["rtol"], atol=limits["atol"])
    return made if any(isinstance(v, Tensor) for v in arguments) else made.tolist()


def check_broadcast(a: Tensor, b: Tensor) -> None:
    """Check that two tensors can be compared or computed with, element by element.

    Raises:
        GradstepError: their shapes do not fit.
    """
    for one, other in zip(reversed(a.shape), reversed(b.shape), strict=False):
        if one != other and 1 not in (one, other):
            what = f"{shape_text(a)} and {shape_text(b)} do not broadcast."
            raise wrong("the shapes do not fit", what, "Slice one of them so that the shapes are the same.")


def _shape(arguments: tuple[object, ...], _: Options) -> object:
    return list(as_tensor(arguments[0]).shape)


def _dtype(arguments: tuple[object, ...], _: Options) -> object:
    return dtype_text(as_tensor(arguments[0]))


def _numel(arguments: tuple[object, ...], _: Options) -> object:
    return as_tensor(arguments[0]).numel()


def _elementwise(name: str, help_: str, compute: Callable[[Tensor], Tensor]) -> tuple[str, Function]:
    return name, Function(f"{name}(x)", help_, _of_tensor(lambda tensor, _: compute(tensor)))


def _reducing(name: str, help_: str, compute: Callable[[Tensor, Options], Tensor]) -> tuple[str, Function]:
    return name, Function(f"{name}(x)", help_, _of_tensor(compute), options=("dim",))


FUNCTIONS: dict[str, Function] = dict(
    [
        ("norm", Function("norm(x, p=2)", "the norm, L2 unless told", _of_tensor(_norm), options=("p", "dim"))),
        _reducing("max", "the greatest element", _extreme(torch.amax)),
        _reducing("min", "the least element", _extreme(torch.amin)),
        _reducing("mean", "the mean", _reduce(lambda x, *dim: torch.mean(_wide(x), *dim))),
        _reducing("sum", "the sum", _reduce(lambda x, *dim: torch.sum(_wide(x), *dim))),
        _reducing("std", "the standard deviation, with n - 1", _std),
        _elementwise("abs", "the absolute value of each element", torch.abs),
        _elementwise("sqrt", "the square root of each element", torch.sqrt),
        _elementwise("exp", "e to the power of each element", torch.exp),
        _elementwise("log", "the natural logarithm of each element", torch.log),
        _reducing(
            "any", "true when the condition holds somewhere", _reduce(lambda x, *d: torch.any(_condition(x), *d))
        ),
        _reducing(
            "all", "true when the condition holds everywhere", _reduce(lambda x, *d: torch.all(_condition(x), *d))
        ),
        _elementwise("isnan", "where the elements are NaN", torch.isnan),
        _elementwise("isinf", "where the elements are infinite", torch.isinf),
        _elementwise("isfinite", "where the elements are neither", torch.isfinite),
        (
            "close",
            Function(
                "close(a, b, rtol=1e-5, atol=1e-8)", "where |a - b| <= atol + rtol * |b|", close, 2, ("rtol", "atol")
            ),
        ),
        ("shape", Function("shape(x)", "the shape, a list", _shape)),
        ("dtype", Function("dtype(x)", 'the type of the elements, such as "float32"', _dtype)),
        ("numel", Function("numel(x)", "the number of elements", _numel)),
        ("argmax", Function("argmax(x)", "the place of the greatest element, counted flat", _argmax, options=("dim",))),
    ]
)
"""Every function by name; `:` completes them and `gradstep help steps` documents them."""
