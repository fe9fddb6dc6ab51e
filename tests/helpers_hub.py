"""A stand-in for the Hugging Face cache: files of data sets as the client's own download would have left them."""

from __future__ import annotations

from pathlib import Path

from fixtures.hub import HubFiles


def fill_cache(folder: Path, data: HubFiles, path: str, content: bytes) -> Path:
    """Puts a file of a data set into the cache below ``folder`` at its pinned revision."""
    repository = folder / f"datasets--{data.repo.replace('/', '--')}"
    file = repository / "snapshots" / data.revision / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
