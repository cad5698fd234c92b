"""Tensors as numbers: which can be read, slices of them, and norms."""
