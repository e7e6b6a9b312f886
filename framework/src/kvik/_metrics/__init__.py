"""Metrics: counted on the path as plain numbers, rendered when somebody asks."""
