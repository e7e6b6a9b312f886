"""Bodies, forms and queries, made into typed values."""
