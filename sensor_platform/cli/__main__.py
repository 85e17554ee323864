"""`python -m sensor_platform.cli` is the command, for children that must run in this very interpreter."""

from sensor_platform.cli import main

main()
