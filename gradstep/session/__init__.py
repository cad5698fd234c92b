"""The session: the only way from the screen and scripts to the engine and its views."""
