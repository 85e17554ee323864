"""The registry of formats, and one module a format."""
