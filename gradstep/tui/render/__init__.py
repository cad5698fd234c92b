"""How things are drawn: lines of text in tones, glyphs, plots, and how they get to the terminal."""
