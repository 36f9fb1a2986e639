"""A complete reidfw plugin to copy: a board and a backbone."""
