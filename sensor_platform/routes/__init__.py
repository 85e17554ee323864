"""Which topics become readings, and how: topic filters, the route file, its model. Free of pandas, for the collector."""
