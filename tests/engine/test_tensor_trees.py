"""Tensors in nested containers: their paths, and mapping a function over them."""

from __future__ import annotations

from collections import OrderedDict, UserDict, deque
from typing import Any, NamedTuple

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._pytree import tree_flatten, tree_leaves

from gradstep.engine.tensor_trees import batch_tensors, changed, tensors_in


class Pair(NamedTuple):
    ids: Any
    mask: Any


class Rows(list[Any]):
    """A list subclass, which torch's trees treat as a leaf."""


class Named(dict[str, Any]):
    """A dict subclass, which they treat as a leaf as well."""


LEAVES = st.one_of(st.integers(0, 3).map(lambda i: torch.full((2,), float(i))), st.none(), st.text(max_size=2))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.tuples(inner, inner).map(lambda two: Pair(*two)),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=8,
)


@given(TREES)
def test_the_tensors_are_those_that_torch_finds_in_its_order(tree: Any) -> None:
    found = [id(tensor) for _, tensor in tensors_in(tree, "x", deep=-1)]
    assert found == [id(leaf) for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@given(TREES)
def test_a_path_leads_to_its_tensor(tree: Any) -> None:
    for path, tensor in tensors_in(tree, "x", deep=-1):
        here = tree
        for part in path.removeprefix("x").replace("[", ".").replace("]", "").split(".")[1:]:
            here = here[int(part) if part.isdigit() else part]
        assert here is tensor


@given(TREES)
def test_a_changed_tree_has_the_same_form(tree: Any) -> None:
    moved = changed(tree, lambda leaf: leaf + 1 if isinstance(leaf, torch.Tensor) else leaf)
    (were, form), (are, after) = tree_flatten(tree), tree_flatten(moved)
    assert form == after
    for one, other in zip(were, are, strict=True):
        assert torch.equal(one + 1, other) if isinstance(one, torch.Tensor) else one == other


def test_subclasses_that_torch_does_not_know_keep_their_form_too() -> None:
    one = torch.ones(1)
    moved = changed([Rows([one, Named(a=one)]), deque([one]), {1: Named({"b": (one,)})}], lambda leaf: leaf * 2)
    assert moved == [Rows([2, Named(a=2)]), deque([2]), {1: Named(b=(2,))}]
    assert [type(moved[0]), type(moved[0][1]), type(moved[2][1])] == [Rows, Named, Named]


def test_a_mapping_that_is_no_dict_has_tensors_too() -> None:
    one = torch.ones(1)
    assert list(tensors_in(UserDict(ids=[one]), "x")) == [("x.ids[0]", one)]
    assert list(batch_tensors(UserDict(ids=[one]))) == [("batch.ids.0", one)]


def test_the_parts_of_a_pair_are_input_and_target_only_at_the_top() -> None:
    one = torch.ones(1)
    assert [name for name, _ in batch_tensors(((one, one), {"y": one}))] == ["input.0", "input.1", "target.y"]
    assert [name for name, _ in batch_tensors([[one, one]])] == ["batch.0.0", "batch.0.1"]
    assert [name for name, _ in batch_tensors(one)] == ["batch"]


def test_what_lies_deeper_than_asked_for_is_left_out() -> None:
    loop: list[Any] = [torch.ones(1)]
    loop.append(loop)
    assert [name for name, _ in tensors_in(loop, "x")] == ["x[0]", "x[1][0]", "x[1][1][0]"]
