"""Which topics become readings, and how: topic filters, the route file, its model. Free of pandas: the collector reads it."""
