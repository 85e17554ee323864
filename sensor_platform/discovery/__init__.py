"""From a broker to a route file: listen for a while, see what topics and payloads look like, propose routes."""
