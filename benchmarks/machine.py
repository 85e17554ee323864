"""What the figures were measured on: without it they mean nothing."""

import os
import platform
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from sensor_platform.embedded.broker import find_mosquitto


def machine(folder: Path) -> dict[str, object]:
    """Hardware, versions, the disk below `folder`, and how busy the machine was before we began."""
    return {
        "cpu": _cpu(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "filesystem": _filesystem(folder),
        "fdatasync_ms": round(_fdatasync_s(folder) * 1000, 2),
        "load_1min": round(psutil.getloadavg()[0], 2),
        "python": platform.python_version(),
        "mosquitto": _mosquitto(),
        "paho_mqtt": version("paho-mqtt"),
        "pyarrow": version("pyarrow"),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _filesystem(folder: Path) -> str:
    disks = [disk for disk in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(disk.mountpoint)]
    return max(disks, key=lambda disk: len(disk.mountpoint)).fstype if disks else "unknown"


def _fdatasync_s(folder: Path) -> float:
    """The median of 50, after 16 KB each. Near zero: a disk that exists in memory only."""
    took_s: list[float] = []
    with (folder / "fdatasync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(16384))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)


def _mosquitto() -> str:
    done = subprocess.run([find_mosquitto() or "mosquitto", "-h"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].removeprefix("mosquitto version ")
