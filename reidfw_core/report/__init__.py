"""What a run leaves for readers: ``summary.json`` for programs, ``report.html`` for people."""
