"""Layouts: which panels there are, where each goes at a screen size, and the sizes and preferences of the user."""
