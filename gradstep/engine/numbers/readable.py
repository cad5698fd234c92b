"""Reading any tensor as plain numbers: which can be read, parts of sparse and quantised ones, narrow and complex ones.

Whatever the layout, only the part that is asked for is ever made dense.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from gradstep.engine.numbers.selection import Cut

_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def why_not(tensor: Tensor) -> str:
    """Say why a tensor's numbers can't be read; empty when they can."""
    if tensor.is_meta:
        return "a meta tensor has a shape and no values"
    if tensor.is_nested:
        return "a nested tensor has rows of several lengths: it is no grid of numbers"
    layout = tensor.layout
    if layout not in (torch.strided, torch.sparse_coo, *_COMPRESSED):
        return f"a {str(layout).removeprefix('torch.')} tensor cannot be read number by number"
    if not tensor.is_quantized and not _converts(tensor.dtype):
        return f"torch cannot turn {str(tensor.dtype).removeprefix('torch.')} into numbers"
    return "" if tensor.numel() else "an empty tensor: there is nothing to draw"


def words_on(tensor: Tensor) -> list[str]:
    """Say what has to be known of the numbers: that they are magnitudes, or were stored as something else."""
    words = []
    if tensor.dtype.is_complex:
        words.append("magnitudes of complex numbers")
    if tensor.layout is not torch.strided:
        words.append(f"{str(tensor.layout).removeprefix('torch.')}: what is not stored is 0")
    if tensor.is_quantized:
        words.append(_scheme(tensor))
    return words


def part(tensor: Tensor, cut: Cut) -> Tensor:
    """Return a part of a tensor as a dense one: a view of it where it is dense and not quantised."""
    tensor = tensor.detach()
    if tensor.is_quantized:
        # torch refuses to slice what is quantised along a channel
        affine = tensor.qscheme() is torch.per_tensor_affine
        return cut.of(tensor).dequantize() if affine else cut.of(tensor.dequantize())
    if tensor.layout is torch.strided:
        return cut.of(tensor)
    places, values = _stored(tensor, cut)
    # the dense dimensions of a hybrid tensor become places as well, so that all of them are read in one way
    grid = torch.ones(values.shape, dtype=torch.bool, device=values.device).nonzero().T
    rows = [*(place[grid[0]] for place in places), *grid[1:]]
    indices = torch.stack(rows) if rows else grid[:0]
    shape = tuple(map(len, cut.kept))
    return torch.sparse_coo_tensor(indices, values.reshape(-1), shape, check_invariants=False).to_dense()


def stored(tensor: Tensor, cut: Cut) -> tuple[Tensor, int]:
    """Return the stored elements of a part, and how many more it has, all of them 0: none but of a sparse tensor."""
    if tensor.layout is torch.strided:
        return part(tensor, cut), 0
    _, values = _stored(tensor.detach(), cut)
    count = 1
    for kept in cut.kept:
        count *= len(kept)
    return values, count - values.numel()


def real(values: Tensor) -> Tensor:
    """Return numbers in a real dtype that arithmetic knows: magnitudes, halves as float32, whole ones as float64."""
    if values.dtype.is_complex:
        return (values if values.element_size() > 4 else values.to(torch.complex64)).abs()
    if values.dtype.is_floating_point:
        return values.float() if values.element_size() < 4 else values
    return values.to(torch.float64)


def exact(values: Tensor) -> Tensor:
    """Return numbers as float64, or as complex128, on the CPU: every dtype but 64-bit integers fits."""
    values = values.cpu()
    return values.to(torch.complex128 if values.dtype.is_complex else torch.float64)


def _stored(tensor: Tensor, cut: Cut) -> tuple[list[Tensor], Tensor]:
    """Return what a sparse tensor stores in a part of it: the places along each sparse dimension kept, the elements."""
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
    return f"dequantised, each with the scale of its channel, dimension {tensor.q_per_channel_axis()}"
