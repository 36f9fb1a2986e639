"""The parts of the portable C engine that need LiteRT: the reader, and the reference that results are compared with."""
