"""Which Chromium is measured, and how is it slowed down?"""

from __future__ import annotations

import os
import shutil
from typing import Final

from bench.soak_children import ChildFailed

__all__ = ["ARGUMENTS", "PAINT", "SLOWED_TIMES", "chromium_path"]

ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
SLOWED_TIMES: Final = 4
"""As a small laptop's processor would be, or a phone's."""
PAINT: Final = """new Promise((resolve) => {
  new PerformanceObserver((list) => {
    const [paint] = list.getEntriesByName("first-contentful-paint");
    if (paint) resolve(paint.startTime);
  }).observe({type: "paint", buffered: true});
})"""
"""Gives the milliseconds until a page showed something."""


def chromium_path() -> str:
    """Find a Chromium.

    Raises:
        ChildFailed: there is none.
    """
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise ChildFailed("there is no Chromium: apt-get install chromium, or set CHROMIUM to its path")
    return found
