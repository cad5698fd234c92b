"""The panel Graph."""
