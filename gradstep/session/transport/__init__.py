"""The session across processes: frames, the engine process and its request loop, the screen's end."""
