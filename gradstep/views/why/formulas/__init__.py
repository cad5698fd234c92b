"""How optimizers move a weight: one file an optimizer, each formula written once for one element and for a window."""
