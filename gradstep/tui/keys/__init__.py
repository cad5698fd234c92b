"""The keys: their table, how they are bound, the file that binds them anew, and the help on them."""
