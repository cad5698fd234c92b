"""The keys: their table, their bindings, the user's keys.toml, and the help."""
