"""Checks of what an optimizer step writes: learning rates, updates and weight decay."""
