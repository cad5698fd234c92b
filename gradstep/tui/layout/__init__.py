"""Where panels stand: layouts, places for a size, sizes changed by hand, and what of it is remembered."""
