"""Views of a script: its stack, and the variables there."""
