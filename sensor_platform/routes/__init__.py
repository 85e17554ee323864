"""Which topics become readings, and how: topic filters, the route file, its model. No pandas: for the collector."""
