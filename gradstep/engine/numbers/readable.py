"""Read any tensor as plain numbers: sparse, quantised, nested, low-precision and complex ones.

For any layout, only the requested part is made dense.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from gradstep.engine.numbers.selection import Cut, cut
from gradstep.values.errors import wrong

_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def why_not(tensor: Tensor) -> str:
    """Return why a tensor's numbers can't be read; empty when they can."""
    if tensor.is_meta:
        return "a meta tensor has a shape and no values"
    if tensor.is_nested:
        return "a nested tensor has rows of different lengths: it is not a grid of numbers"
    layout = tensor.layout
    if layout not in (torch.strided, torch.sparse_coo, *_COMPRESSED):
        return f"a {layout_name(tensor)} tensor cannot be read number by number"
    if not tensor.is_quantized and not _converts(tensor.dtype):
        return f"torch cannot convert {dtype_name(tensor)} to numbers"
    return "" if tensor.numel() else "an empty tensor: there is nothing to draw"


def dtype_name(tensor: Tensor) -> str:
    """Return a dtype as torch spells it, without the `torch.`."""
    return str(tensor.dtype).removeprefix("torch.")


def layout_name(tensor: Tensor) -> str:
    """Return a layout as torch spells it, without the `torch.`."""
    return str(tensor.layout).removeprefix("torch.")


def notes_on(tensor: Tensor) -> list[str]:
    """Return notes on how to read the numbers: as magnitudes, or converted from another representation."""
    words = []
    if tensor.dtype.is_complex:
        words.append("magnitudes of complex numbers")
    if tensor.layout is not torch.strided:
        words.append(f"{layout_name(tensor)}: elements not stored are 0")
    if tensor.is_quantized:
        words.append(_scheme(tensor))
    return words


def part(tensor: Tensor, cut: Cut) -> Tensor:
    """Return a part of a tensor as a dense tensor: a view if the tensor is dense and not quantised."""
    tensor = tensor.detach()
    if tensor.is_quantized:
        # torch can't slice a tensor that is quantised per channel
        affine = tensor.qscheme() is torch.per_tensor_affine
        return cut.of(tensor).dequantize() if affine else cut.of(tensor.dequantize())
    if tensor.layout not in (torch.sparse_coo, *_COMPRESSED):
        return cut.of(tensor if tensor.layout is torch.strided else tensor.to_dense())
    places, values = _stored(tensor, cut)
    # the dense dimensions of a hybrid tensor become indices as well, so that all dimensions are treated alike
    grid = torch.ones(values.shape, dtype=torch.bool, device=values.device).nonzero().T
    rows = [*(place[grid[0]] for place in places), *grid[1:]]
    indices = torch.stack(rows) if rows else grid[:0]
    shape = tuple(map(len, cut.kept))
    return torch.sparse_coo_tensor(indices, values.reshape(-1), shape, check_invariants=False).to_dense()


def stored(tensor: Tensor, cut: Cut) -> tuple[Tensor, int]:
    """Return the stored elements of a part, and the number of zeros that a sparse tensor does not store."""
    if tensor.layout is torch.strided:
        return part(tensor, cut), 0
    _, values = _stored(tensor.detach(), cut)
    count = 1
    for kept in cut.kept:
        count *= len(kept)
    return values, count - values.numel()


def dense(tensor: Tensor) -> Tensor:
    """Return a tensor of any layout as a dense one in a dtype that torch computes with.

    Raises:
        GradstepError: it has no values, is nested, or is too large to be made dense.
    """
    if tensor.is_meta:
        raise wrong("a meta tensor has no values", "It has only a shape and a dtype.", "Load the model on a device.")
    if tensor.is_nested:
        what = "A nested tensor has rows of different lengths: it is not a grid of numbers."
        raise wrong("this needs rows of equal length", what, "Take one row of it, as in `x[0]`.")
    if tensor.is_quantized:
        tensor = tensor.detach().dequantize()
    if tensor.layout is not torch.strided:
        if tensor.numel() > _DENSE:
            what = f"All of its {tensor.numel():,} elements would be stored, not only the few that are not 0."
            raise wrong("this sparse tensor is too large", what, "Take a part of it, as in `x[0]`.")
        tensor = tensor.detach().to_dense()
    return tensor.to(_KNOWN[tensor.dtype]) if tensor.dtype in _KNOWN else tensor


_DENSE = 1 << 28
"""The most elements of a sparse tensor to make dense: 1 GiB of float32."""
_KNOWN = {torch.uint16: torch.int64, torch.uint32: torch.int64, torch.uint64: torch.float64}
_KNOWN |= {torch.complex32: torch.complex64}
_KNOWN |= {
    kind: torch.float32
    for name in dir(torch)
    if isinstance(kind := getattr(torch, name), torch.dtype) and kind.is_floating_point and kind.itemsize == 1
}
"""Dtypes that torch can store but not compute with, and the dtype to convert each to."""


def flat(tensor: Tensor) -> tuple[Tensor, int]:
    """Return the elements of a tensor of any layout as a flat tensor, and the number of zeros that it does not store.

    Raises:
        GradstepError: it has no values.
    """
    if tensor.is_nested:
        rows = [dense(row).reshape(-1) for row in tensor.detach().unbind()]
        return torch.cat(rows) if rows else tensor.new_zeros(0), 0
    if tensor.layout not in (torch.sparse_coo, *_COMPRESSED):
        return dense(tensor).reshape(-1), 0
    values, zeros = stored(tensor, cut(tensor.shape, ()))
    return dense(values).reshape(-1), zeros


def each(tensor: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function elementwise; a nested tensor stays nested, and a sparse one sparse if the function maps 0 to 0.

    Raises:
        GradstepError: it has no values, or is too large to be made dense.
    """
    if tensor.is_nested:
        rows = [compute(dense(row)) for row in tensor.detach().unbind()]
        return torch.nested.nested_tensor(rows, layout=tensor.layout)
    if tensor.layout not in (torch.sparse_coo, *_COMPRESSED) or bool(
        compute(dense(torch.zeros((), dtype=tensor.dtype, device=tensor.device)))
    ):
        return compute(dense(tensor))
    coo = (tensor.to_sparse() if tensor.layout in _COMPRESSED else tensor).detach().coalesce()
    made = compute(dense(coo.values()))
    return torch.sparse_coo_tensor(coo.indices(), made, coo.shape, is_coalesced=True, check_invariants=False)


def real(values: Tensor) -> Tensor:
    """Return numbers in a real dtype to compute with: magnitudes of complex ones, at least float32."""
    if values.dtype.is_complex:
        return (values if values.element_size() > 4 else values.to(torch.complex64)).abs()
    if values.dtype.is_floating_point:
        return values.float() if values.element_size() < 4 else values
    return values.to(torch.float64)


def exact(values: Tensor) -> Tensor:
    """Return numbers as float64 or complex128 on the CPU: exact for every dtype but 64-bit integers."""
    values = values.cpu()
    return values.to(torch.complex128 if values.dtype.is_complex else torch.float64)


def _stored(tensor: Tensor, cut: Cut) -> tuple[list[Tensor], Tensor]:
    """Return the indices and values that a sparse tensor stores in a part; indices by sparse dimension."""
    flat = (tensor.to_sparse() if tensor.layout in _COMPRESSED else tensor).coalesce()
    indices, values = flat.indices(), flat.values()
    inside = torch.ones(values.shape[0], dtype=torch.bool, device=values.device)
    places = []
    for row, chosen in zip(indices, cut.parts, strict=False):
        if isinstance(chosen, int):
            inside &= row == chosen
            continue
        place = row - chosen.start
        inside &= (place >= 0) & (row < chosen.stop) & (place % chosen.step == 0)
        places.append(place // chosen.step)
    dense = Cut((range(values.shape[0]), *cut.parts[len(indices) :]))
    return [place[inside] for place in places], dense.of(values)[inside]


@lru_cache(maxsize=64)
def _converts(dtype: torch.dtype) -> bool:
    try:
        exact(torch.empty(1, dtype=dtype))
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _scheme(tensor: Tensor) -> str:
    if tensor.qscheme() is torch.per_tensor_affine:
        return f"dequantised: scale {tensor.q_scale():g}, zero point {tensor.q_zero_point()}"
    return f"dequantised per channel, along dimension {tensor.q_per_channel_axis()}"
