"""Checks of the numbers: losses, gradients and weights."""
