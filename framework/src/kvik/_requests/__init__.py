"""The path of a request, from its bytes' meaning to its answer."""
