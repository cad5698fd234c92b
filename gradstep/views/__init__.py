"""LOOK: what is true at a stop; live tensors in, values out."""
