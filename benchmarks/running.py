"""Workers, run in processes of their own."""

import json
import subprocess
import sys
from typing import Any


def run(worker: str, *arguments: object) -> Any:
    """Return what the worker of that name found out."""
    command = [sys.executable, "-m", "benchmarks.workers", worker, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
