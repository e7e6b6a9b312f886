"""The doctor: tells an operator what keeps a service from working with DynamoDB."""

from .command import main

__all__ = ["main"]
