"""The parts of what the screen does, each with the keys that it handles; to find one, look for the key's group."""
