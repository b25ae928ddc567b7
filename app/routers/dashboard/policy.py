"""What may a page load, and who may frame it?"""

from __future__ import annotations

from typing import Final

__all__ = ["PAGE_HEADERS", "POLICY"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""No inline script or style, no eval, no other host, no frame."""
PAGE_HEADERS: Final = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",  # `no-referrer` makes browsers send `Origin: null` with forms
    "vary": "cookie, hx-request",
}
"""Sent with every page; ``RequestGuard`` adds those that every answer has."""
