"""Time travel: the timeline, its points, going to one, looking at one, and thinning."""
