"""What the sources share: a thread that waits for the device, the disk or the network, so that a reader never does."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator

from models.errors import SourceAddressError, SourceError
from stream.source import Chunk, EndOfAudio

QUEUE_S = 1.0
"""Audio held for a reader that is late; then the thread waits, and the source's own buffers fill."""

JOIN_S = 1.5
"""How long ``close`` waits for the thread. A thread that hangs longer (in a name look-up) ends by itself, unheard."""


class Run:
    """One opening of a source: what its thread may ask for."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._on_stop: list[Callable[[], None]] = []

    @property
    def stopped(self) -> bool:
        """True once the source was closed: the thread should end."""
        return self._stopped.is_set()

    def on_stop(self, unblock: Callable[[], None]) -> None:
        """Call ``unblock`` when the source is closed (at once if it was): it must end the thread's blocking call."""
        with self._lock:
            if not self.stopped:
                self._on_stop.append(unblock)
                return
        unblock()

    def sleep_until(self, due: float) -> bool:
        """Sleep until ``time.monotonic()`` is ``due``; False if the source was closed meanwhile."""
        return not self._stopped.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """Make the thread end."""
        with self._lock:
            self._stopped.set()
            callbacks, self._on_stop = self._on_stop, []
        for unblock in callbacks:
            unblock()


class _Queue:
    """The audio between one run's thread and the reader; guarded by the source's condition."""

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self.seconds = 0.0
        self.end: BaseException | None = None
        """What ended it; raised once the chunks before it have been read."""

    @property
    def settled(self) -> bool:
        """There is something to read: audio, or the end."""
        return bool(self.chunks) or self.end is not None


class ThreadedSource(ABC):
    """A ``Source`` whose audio is produced by a generator that runs in a thread of its own.

    A kind of source implements ``_produce``. It is open when the first audio is there, within ``open_timeout_s``; or
    also without, where ``needs_audio`` is False. ``close`` and ``interrupt`` may come from any thread.
    """

    open_timeout_s = 15.0
    needs_audio = True

    def __init__(
        self, address: str, *, name: str, live: bool = True, finite: bool = False, synthetic: bool = False
    ) -> None:
        self.address = address
        self.name = name
        self.sample_rate_hz = 0
        self.live = live
        self.finite = finite
        self.synthetic = synthetic
        self.title: str | None = None
        self._changed = threading.Condition()
        self._interrupted = False
        self._worked_before = False
        self._run: Run | None = None
        self._queue = _Queue()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _produce(self, run: Run) -> Generator[Chunk]:
        """Connect, set ``sample_rate_hz``, yield the audio, disconnect. Runs in the source's thread.

        Returning means the end of a finite source. Whatever it raises is raised by ``open`` or ``read``.
        """

    def open(self) -> None:
        """Connect and wait for the first audio. Raises as ``Source.open``."""
        self._disconnect()
        run, queue = Run(), _Queue()
        thread = threading.Thread(target=self._work, args=(run, queue), name=f"source {self.name}", daemon=True)
        with self._changed:
            self._run, self._queue, self._thread = run, queue, thread
        thread.start()
        try:
            self._await_first(run, queue)
        except BaseException:
            self.close()
            raise

    def _await_first(self, run: Run, queue: _Queue) -> None:
        with self._changed:
            ready, interrupted = self._wait_for(lambda: queue.settled or run.stopped, self.open_timeout_s)
            if not queue.chunks and queue.end is not None and not isinstance(queue.end, EndOfAudio):
                if self._worked_before and isinstance(queue.end, SourceAddressError):
                    # An address that has worked is not wrong: what is missing now (unplugged, restarting) may return.
                    raise SourceError(str(queue.end)) from queue.end
                raise queue.end
            if run.stopped or interrupted:
                raise SourceError(f"{self.name}: closed while it was being opened")
            if not ready and self.needs_audio:
                raise SourceError(f"{self.name}: no audio came within {self.open_timeout_s:g} s")
            self._worked_before = True

    def read(self, timeout_s: float) -> Chunk | None:
        """The next audio, None after ``timeout_s`` seconds without. Raises as ``Source.read``."""
        with self._changed:
            run, queue = self._run, self._queue
            if run is None:
                raise SourceError(f"{self.name}: read before it was opened")
            ready, _ = self._wait_for(lambda: queue.settled or run.stopped, timeout_s)
            if not ready:
                return None
            if run.stopped:
                raise SourceError(f"{self.name}: closed while it was being read")
            if not queue.chunks and queue.end is not None:
                raise queue.end
            chunk = queue.chunks.popleft()
            queue.seconds -= self._seconds(chunk)
            self._changed.notify_all()
            return chunk

    def close(self) -> None:
        """Disconnect. Safe to call twice and from any thread."""
        self._disconnect()
        with self._changed:
            self._interrupted = False

    def interrupt(self) -> None:
        """Make a waiting ``read`` or ``open`` return soon; from any thread."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def _disconnect(self) -> None:
        with self._changed:
            run, thread = self._run, self._thread
            self._run = self._thread = None
        if run is None or thread is None:
            return
        run.stop()
        with self._changed:
            self._changed.notify_all()
        thread.join(JOIN_S)

    def _wait_for(self, ready: Callable[[], bool], timeout_s: float) -> tuple[bool, bool]:
        """Wait, holding the condition: whether it is ready, or was interrupted first (which is thereby answered)."""
        self._changed.wait_for(lambda: ready() or self._interrupted, timeout_s)
        interrupted, self._interrupted = self._interrupted, False
        return ready() and not interrupted, interrupted

    def _work(self, run: Run, queue: _Queue) -> None:
        end: BaseException = EndOfAudio()
        chunks = self._produce(run)
        try:
            for chunk in chunks:
                if not self._put(chunk, run, queue):
                    break
        except BaseException as error:  # noqa: BLE001  not swallowed: open() or read() raises it in the reader's thread
            end = error
        finally:
            chunks.close()
        with self._changed:
            queue.end = end
            self._changed.notify_all()

    def _put(self, chunk: Chunk, run: Run, queue: _Queue) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: queue.seconds < QUEUE_S or run.stopped)
            if run.stopped:
                return False
            queue.chunks.append(chunk)
            queue.seconds += self._seconds(chunk)
            self._changed.notify_all()
        return True

    def _seconds(self, chunk: Chunk) -> float:
        return len(chunk.samples) / self.sample_rate_hz
