"""Recorded stops of a script: copies of its tensors, and a debuggee made of them for the views."""
