"""Fourier transforms: linear, so backward is the conjugate transpose."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Derivative, Settings, Table, dimension


def _along(s: Settings) -> str:
    return f"along dim {dimension(s.get('dim'))}"


def _complex(s: Settings) -> Derivative:
    there, back = ("FFT", "inverse FFT") if s.get("forward") else ("inverse FFT", "FFT")
    words = f"the {back} of v, scaled as the forward was: the conjugate transpose of the transform"
    return Derivative(f"y = {there} of x {_along(s)}", (("x", f"{back} of v, scaled alike"),), words)


def _from_real(s: Settings) -> Derivative:
    words = "the real part of the inverse FFT of v, since the input is real"
    formula = "real part of the inverse FFT of v, scaled alike"
    return Derivative(f"y = FFT of real x {_along(s)}", (("x", formula),), words)


def _to_real(s: Settings) -> Derivative:
    words = "the FFT of v, doubled where a frequency also represents its mirror image"
    return Derivative(
        f"y = inverse FFT of x {_along(s)}, real",
        (("x", "FFT of v, scaled alike, doubled between its ends"),),
        words,
    )


TABLE: Table = {"FftC2CBackward0": _complex, "FftR2CBackward0": _from_real, "FftC2RBackward0": _to_real}
