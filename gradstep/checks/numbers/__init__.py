"""Checks of the numbers: losses, gradients, updates and weights."""
