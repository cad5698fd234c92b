"""Views of one tensor: a window, its statistics, what changed, places in it."""
