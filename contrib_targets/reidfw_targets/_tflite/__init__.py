"""Code that needs LiteRT; imported inside the hook only."""
