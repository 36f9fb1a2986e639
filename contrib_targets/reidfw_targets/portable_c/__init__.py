"""``portable_c``: an int8 model as C99, planned, run and checked without vendor tools."""
