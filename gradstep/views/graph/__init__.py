"""Views of the grad_fn graph: rows, groups, lanes, memory, names."""
