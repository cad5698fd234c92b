"""Time travel: the timeline and its points, travel to a point, a peek at one, and thinning."""
