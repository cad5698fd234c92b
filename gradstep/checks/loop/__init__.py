"""Checks of the training loop: the order of its phases, what is optimized, and what holds a graph."""
