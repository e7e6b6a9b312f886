"""Log lines: one pipeline, for programs and for people."""
