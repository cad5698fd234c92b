"""The rows above and below the panels."""
