"""Dataset readers of reidfw. Each is registered in the entry point group ``reidfw.datasets``."""
