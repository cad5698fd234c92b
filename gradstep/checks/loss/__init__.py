"""Checks of the loss: what is passed to it, and what it is averaged over."""
