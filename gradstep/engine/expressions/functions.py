"""The functions of expressions: name, usage, and what each computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gradstep.engine.autograd.nested_shapes import RAGGED, sizes_of
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.numbers.readable import dense, dtype_name, each, flat, real
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
    """Return a number, a boolean or a list of numbers as a tensor; a tensor unchanged.

    Args:
        value: what to convert; numbers become float64, int64 or bool.
        like: a tensor whose device is used, and for lists its dtype.

    Raises:
        GradstepError: it is not made of numbers.
    """
    if isinstance(value, Tensor):
        return value
    device = "cpu" if like is None else like.device
    if isinstance(value, (bool, int, float)):
        kind = torch.bool if isinstance(value, bool) else torch.int64 if isinstance(value, int) else torch.float64
        return torch.tensor(value, dtype=kind, device="cpu")
    if isinstance(value, (list, tuple)) and all(isinstance(v, (bool, int, float)) for v in value):
        return torch.tensor(value, dtype=torch.float64 if like is None else like.dtype, device=device)
    raise wrong("this is not a number", f"{kind_of(value)} was given where a tensor or a number is needed.")


def kind_of(value: object) -> str:
    """Return the kind of a value, as text."""
    if value is None:
        return "none"
    if isinstance(value, Tensor):
        return f"a tensor of shape {shape_text(value)}"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"


def shape_text(tensor: Tensor) -> str:
    """Return the shape of a tensor as text, e.g. (10, 256); `j` for a dimension that differs from row to row."""
    return str(sizes_of(tensor)).replace(str(RAGGED), "j")


def as_double(tensor: Tensor) -> Tensor:
    """Return a tensor in double precision (complex for complex), on a device that supports it."""
    plain = tensor.detach().cpu() if tensor.device.type == "mps" else tensor.detach()
    return plain.to(torch.complex128 if plain.is_complex() else torch.float64)


def _wide(tensor: Tensor) -> Tensor:
    """Return a tensor whose sum does not overflow: half precision as float32, integers as float64."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
    return as_double(tensor)


def _dim(options: Options) -> int | None:
    dim = options.get("dim")
    if dim is None or (isinstance(dim, int) and not isinstance(dim, bool)):
        return dim
    raise wrong("`dim` must be a whole number", f"{kind_of(dim)} was given.", subject="dim")


def _of_tensor(compute: Callable[[Tensor, Options], Tensor]) -> Callable[[tuple[object, ...], Options], object]:
    """Make a function of one tensor accept a number or a list, too; a number gives a number."""

    def run(arguments: tuple[object, ...], options: Options) -> object:
        if isinstance(arguments[0], Tensor):
            return compute(arguments[0], options)
        tensor = as_tensor(arguments[0])
        # torch would compute the square root of an integer in float32
        return compute(tensor if tensor.dtype is torch.bool else tensor.double(), options).tolist()

    return run


@dataclass(frozen=True)
class _Whole:
    """All elements of a tensor, flat; of a sparse one those stored, and one 0 for all others."""

    values: Tensor
    count: int
    """Number of elements."""
    zeros: int
    """Number of elements that are not stored."""

    @staticmethod
    def of(tensor: Tensor) -> _Whole:
        values, zeros = flat(tensor)
        count = values.numel() + zeros
        return _Whole(torch.cat([values, values.new_zeros(1)]) if zeros else values, count, zeros)

    @property
    def mean(self) -> Tensor:
        wide = _wide(self.values)
        return wide.sum() / self.count if self.zeros else wide.mean()

    @property
    def std(self) -> Tensor:
        wide = _wide(self.values)
        if self.count < 2:
            return torch.full((), torch.nan, dtype=real(wide).dtype)
        if not self.zeros:
            return wide.std()
        mean = self.mean
        squares = (wide - mean).abs().square().sum() + (self.zeros - 1) * mean.abs().square()
        return (squares / (self.count - 1)).sqrt()


def _abs(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype is torch.bool else tensor.abs()


def _condition(tensor: Tensor) -> Tensor:
    if tensor.dtype is not torch.bool:
        raise wrong("this is not a condition", f"{kind_of(tensor)} of {dtype_name(tensor)} was given.", "Compare it.")
    return tensor


def _norm(tensor: Tensor, options: Options) -> Tensor:
    order, dim = options.get("p", 2), _dim(options)
    if isinstance(order, bool) or not isinstance(order, (int, float)):
        raise wrong("`p` must be a number", f"{kind_of(order)} was given.", subject="p")
    found = norm_of(tensor) if dim is None and order == 2 else None
    if found is not None:  # the same number as in the panels
        return torch.tensor(found, dtype=real(tensor.new_zeros(0, layout=torch.strided)).dtype, device=tensor.device)
    values = _Whole.of(tensor).values if dim is None else dense(tensor)
    made: Tensor = torch.linalg.vector_norm(_wide(values), order, dim)
    return made


def _reduce(
    whole: Callable[[_Whole], Tensor], along: Callable[[Tensor, int], Tensor]
) -> Callable[[Tensor, Options], Tensor]:
    """Make a reduction of all elements of a tensor, or along one dimension with `dim`."""

    def run(tensor: Tensor, options: Options) -> Tensor:
        dim = _dim(options)
        return whole(_Whole.of(tensor)) if dim is None else along(dense(tensor), dim)

    return run


def _std_along(tensor: Tensor, dim: int) -> Tensor:
    wide = _wide(tensor)
    return wide.std(dim) if wide.dim() and wide.shape[dim] > 1 else real(wide.sum(dim)) * torch.nan


def _extreme(word: str, reduce: Callable[..., Tensor]) -> Callable[[Tensor, Options], Tensor]:
    def ordered(tensor: Tensor, *dim: int) -> Tensor:
        return reduce(_ordered(tensor, word), *dim)

    return _reduce(lambda whole: ordered(whole.values), ordered)


def _ordered(tensor: Tensor, word: str) -> Tensor:
    if tensor.is_complex():
        raise wrong(f"complex numbers have no {word}", "They are not ordered.", "Compare their magnitudes: `abs(x)`.")
    if not tensor.numel():
        raise wrong(f"this has no {word}", f"{kind_of(tensor)} has no elements.".capitalize(), "Widen the slice.")
    return tensor


def _argmax(arguments: tuple[object, ...], options: Options) -> object:
    tensor, dim = _ordered(dense(as_tensor(arguments[0])), "largest element"), _dim(options)
    tensor = tensor.to(torch.uint8) if tensor.dtype is torch.bool else tensor
    return int(tensor.argmax()) if dim is None else tensor.argmax(dim)


def close(arguments: tuple[object, ...], options: Options) -> object:
    """Compare in double precision: |a - b| <= atol + rtol * |b|, as torch.isclose."""
    a, b = (dense(as_tensor(v, next((w for w in arguments if isinstance(w, Tensor)), None))) for v in arguments)
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
    """Check that the shapes of two tensors broadcast.

    Raises:
        GradstepError: their shapes do not broadcast.
    """
    for one, other in zip(reversed(a.shape), reversed(b.shape), strict=False):
        if one != other and 1 not in (one, other):
            what = f"{shape_text(a)} and {shape_text(b)} do not broadcast."
            raise wrong("the shapes do not match", what, "Slice one of them so that the shapes are the same.")


def _shape(arguments: tuple[object, ...], _: Options) -> object:
    return [None if size == RAGGED else size for size in sizes_of(as_tensor(arguments[0]))]


def _dtype(arguments: tuple[object, ...], _: Options) -> object:
    return dtype_name(as_tensor(arguments[0]))


def _numel(arguments: tuple[object, ...], _: Options) -> object:
    return as_tensor(arguments[0]).numel()


def _elementwise(name: str, help_: str, compute: Callable[[Tensor], Tensor]) -> tuple[str, Function]:
    return name, Function(f"{name}(x)", help_, _of_tensor(lambda tensor, _: each(tensor, compute)))


def _reducing(name: str, help_: str, compute: Callable[[Tensor, Options], Tensor]) -> tuple[str, Function]:
    return name, Function(f"{name}(x)", help_, _of_tensor(compute), options=("dim",))


FUNCTIONS: dict[str, Function] = dict(
    [
        ("norm", Function("norm(x, p=2)", "the norm, L2 by default", _of_tensor(_norm), options=("p", "dim"))),
        _reducing("max", "the largest element", _extreme("largest element", torch.amax)),
        _reducing("min", "the smallest element", _extreme("smallest element", torch.amin)),
        _reducing("mean", "the mean", _reduce(lambda all_: all_.mean, lambda x, dim: _wide(x).mean(dim))),
        _reducing("sum", "the sum", _reduce(lambda all_: _wide(all_.values).sum(), lambda x, dim: _wide(x).sum(dim))),
        _reducing(
            "std",
            "the standard deviation, with n - 1",
            _reduce(lambda all_: all_.std, _std_along),
        ),
        _elementwise("abs", "the absolute value of each element", _abs),
        _elementwise("sqrt", "the square root of each element", torch.sqrt),
        _elementwise("exp", "e raised to each element", torch.exp),
        _elementwise("log", "the natural logarithm of each element", torch.log),
        _reducing(
            "any",
            "true when the condition holds somewhere",
            _reduce(lambda all_: _condition(all_.values).any(), lambda x, dim: _condition(x).any(dim)),
        ),
        _reducing(
            "all",
            "true when the condition holds everywhere",
            _reduce(lambda all_: _condition(all_.values).all(), lambda x, dim: _condition(x).all(dim)),
        ),
        _elementwise("isnan", "where the elements are NaN", torch.isnan),
        _elementwise("isinf", "where the elements are infinite", torch.isinf),
        _elementwise("isfinite", "where the elements are neither NaN nor infinite", torch.isfinite),
        (
            "close",
            Function(
                "close(a, b, rtol=1e-5, atol=1e-8)", "where |a - b| <= atol + rtol * |b|", close, 2, ("rtol", "atol")
            ),
        ),
        ("shape", Function("shape(x)", "the shape, as a list", _shape)),
        ("dtype", Function("dtype(x)", 'the dtype, such as "float32"', _dtype)),
        ("numel", Function("numel(x)", "the number of elements", _numel)),
        ("argmax", Function("argmax(x)", "the flat index of the largest element", _argmax, options=("dim",))),
    ]
)
"""Every function by name; `:` completes them and `gradstep help steps` documents them."""
