"""Work that does not end by itself: it shows that it is at it, and, when it is ended, whether it tidied up."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from fixtures import processes

processes.GRACE = 300.0  # a machine that stands still for a while must not cut the tidying up short
SECONDS = 3600  # if nothing ends it


def hold(*_: Any) -> None:
    """In the folder that ``HELD`` names: holds ``<pid>.lock``, which the system frees when the process is gone, makes
    ``<pid>.at``, and removes ``<pid>.part`` if it is left in order.
    """
    here = Path(os.environ["HELD"]) / str(os.getpid())
    lock = FileLock(here.with_suffix(".lock"))
    lock.acquire()
    part = here.with_suffix(".part")
    part.touch()
    try:
        here.with_suffix(".at").touch()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(0.05)
    finally:
        part.unlink()
