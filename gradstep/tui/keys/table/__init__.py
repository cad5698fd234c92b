"""The keys of the screen, a part of the table a file; `tui/keymap.py` puts them together."""
