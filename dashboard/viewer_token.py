"""Short-lived tokens that let the page's own component, and nobody else, open the live socket.

Streamlit hands one to the component with its data; the socket verifies it. Another site's script, or a program that
never loaded the page, has none.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

LIFETIME_S = 120
"""A token is good for so many seconds: enough to connect, and to reconnect after a short loss."""


class TokenMint:
    """Issues and verifies tokens ``EXPIRY.SIGNATURE``, signed with a key that lives as long as the page's process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, *, now: float | None = None) -> str:
        """A token that expires ``LIFETIME_S`` seconds after ``now`` (Unix seconds, default: the present)."""
        expiry = str(int((time.time() if now is None else now) + LIFETIME_S))
        return f"{expiry}.{self._sign(expiry)}"

    def verify(self, token: str, *, now: float | None = None) -> bool:
        """True if this mint issued ``token`` and it has not expired by ``now``."""
        expiry, _, signature = token.partition(".")
        try:
            signed = hmac.compare_digest(signature.encode(), self._sign(expiry).encode())
        except UnicodeEncodeError:  # half a surrogate pair: JSON can say it, UTF-8 cannot
            return False
        if not signed:
            return False
        # Signed by us, so the expiry is a whole number.
        return (time.time() if now is None else now) < int(expiry)

    def _sign(self, expiry: str) -> str:
        return hmac.new(self._key, expiry.encode(), hashlib.sha256).hexdigest()
