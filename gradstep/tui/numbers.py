"""Numbers as the screen writes them: the same words as a prompt and a notebook write."""

from __future__ import annotations

from gradstep.values.numbers import MINUS, Form, count, form_of, loss, norm, rate, shape, signed, size, tone_of

__all__ = ["MINUS", "Form", "count", "form_of", "loss", "norm", "rate", "shape", "signed", "size", "tone_of"]
