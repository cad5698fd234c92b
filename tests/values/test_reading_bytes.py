"""A number of bytes as a person writes it."""

from __future__ import annotations

import pytest

from gradstep.values.numbers import read_bytes


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
