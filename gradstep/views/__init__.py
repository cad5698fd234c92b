"""Views: read-only values of what is true at a stop; live tensors in, plain values out."""
