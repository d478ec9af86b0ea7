"""A model file's seal: the SHA-256 of all bytes before it, so that damage is seen though the file still runs.

The seal is the last entry of the ONNX file's metadata. Serialised messages of protocol buffers may be joined end to
end, so a file with its seal is an ONNX model like any other.
"""

from __future__ import annotations

import hashlib

from models.errors import ModelFileError

SEAL_KEY = "genrescope.sha256"
"""Metadata key of the seal."""

_KEY, _DIGITS = SEAL_KEY.encode(), 2 * hashlib.sha256().digest_size
# Field 14 of ModelProto, metadata_props, is an entry of (1) key and (2) value, each with its length before it.
_ENTRY = bytes([1 << 3 | 2, len(_KEY), *_KEY, 2 << 3 | 2, _DIGITS])
_START = bytes([14 << 3 | 2, len(_ENTRY) + _DIGITS, *_ENTRY])
_LENGTH = len(_START) + _DIGITS


def sealed(model: bytes) -> bytes:
    """A serialised ONNX model without a seal, with one."""
    return model + _seal(model)


def require_unbroken(data: bytes) -> None:
    """Refuse a sealed file whose bytes are not those that were sealed; a file that never had a seal passes.

    Raises:
        ModelFileError: the file is damaged, or another program has changed it.
    """
    model, end = data[:-_LENGTH], data[-_LENGTH:]
    # Damage may hit the seal too: what still looks more like the beginning of one than like anything else is one.
    alike = sum(a == b for a, b in zip(end, _START, strict=False))
    if 2 * alike > len(_START) and end != _seal(model):
        raise ModelFileError(
            "its bytes are not those that were written (damaged, or changed by another program); get it again"
        )


def _seal(model: bytes) -> bytes:
    return _START + hashlib.sha256(model).hexdigest().encode()
