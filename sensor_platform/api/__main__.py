"""`python -m sensor_platform.api`."""

import sys

from sensor_platform.errors import SensorPlatformError

if __name__ == "__main__":
    from sensor_platform.api.serve import main

    try:
        main()
    except SensorPlatformError as err:
        sys.stderr.write(f"sensor_platform.api: {err}\n")
        sys.exit(err.exit_code)
