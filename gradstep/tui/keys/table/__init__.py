"""The key table, a file for each group; `keys/keymap.py` joins them."""
