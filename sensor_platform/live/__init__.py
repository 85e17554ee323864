"""The live stream: from topics to channels to whoever watches. It never waits for the durable path, nor slows it."""
