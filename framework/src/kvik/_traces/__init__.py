"""Traces: spans of requests and operations, and where they are sent."""
