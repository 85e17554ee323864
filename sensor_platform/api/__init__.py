"""HTTP, WebSocket and the live page: thin, and only on loopback. What they serve lives in the core."""
