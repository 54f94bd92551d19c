"""The HTTP server, its bounds, and how it stops."""
