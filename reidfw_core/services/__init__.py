"""The services: one function each, a dataclass in, a dataclass out. Frameworks are imported inside."""
