"""Tensors as numbers: which can be read, a part of one, and norms."""
