"""One scoring call for all requests that wait."""
