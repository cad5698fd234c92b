"""Views drawn outside the screen: each becomes a sheet once, and a sheet becomes plain text or HTML."""
