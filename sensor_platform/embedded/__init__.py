"""The PostgreSQL and the broker that come along, and the supervisor of `up`."""
