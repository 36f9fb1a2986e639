"""ST's developer cloud: log-in, its REST interface, and benchmarks on its boards."""
