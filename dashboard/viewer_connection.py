"""A viewer's connection, below the live socket: what cannot be delivered is not kept."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class ViewerConnection(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket connection, cut when it has been served to its end.

    Uvicorn itself would wait for the viewer to read what was written before: one that never does would hold the
    connection, and megabytes written to it, for ever.
    """

    async def run_asgi(self) -> None:
        """Serve the connection; then wait for nothing that the network has not taken."""
        await super().run_asgi()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
