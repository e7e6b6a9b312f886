"""What `app.run()` adds to an ASGI application: port, limits, signals, processes."""
