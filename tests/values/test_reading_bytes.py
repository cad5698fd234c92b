"""A number of bytes, and a share, as a person writes it."""

from __future__ import annotations

import math

import pytest

from gradstep.values.numbers import read_bytes, read_share


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1GiB", 1 << 30),
        ("512 MiB", 512 << 20),
        ("0.5GiB", 1 << 29),
        ("200MB", 200_000_000),
        ("3k", 3000),
        ("4096", 4096),
        ("7B", 7),
        ("off", 0),
        ("0", 0),
    ],
)
def test_what_is_read(text: str, value: int) -> None:
    assert read_bytes(text) == value


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1XiB", "on", "1 2"])
def test_what_is_none_says_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="write 1GiB, 512MiB, or off"):
        read_bytes(text)


@pytest.mark.parametrize(("text", "value"), [("20%", 0.2), (" 2.5 %", 0.025), ("0%", 0.0), ("off", math.inf)])
def test_a_share_is_read(text: str, value: float) -> None:
    assert read_share(text) == value


@pytest.mark.parametrize("text", ["", "20", "0.2", "-1%", "%", "on"])
def test_what_is_no_share_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write 20%, or off"):
        read_share(text)
