"""What stands between a handler's key-value store and its driver."""
