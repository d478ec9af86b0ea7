"""The few calls of the CUDA runtime that scoring needs, with our errors: memory, copies, streams and graphs.

By ``cuda-bindings``, NVIDIA's own thin package, so that a machine that only scores needs no torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import EngineError
from models.scorer import FloatArray


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card: its number, its name, and its compute capability, ``"89"`` for 8.9."""

    device: int
    name: str
    sm: str


def runtime() -> Any:
    """The module of the CUDA runtime's bindings.

    Raises:
        EngineError: not installed.
    """
    try:
        from cuda.bindings import runtime as module
    except ImportError as error:
        raise EngineError(
            "scoring on an NVIDIA card needs cuda-bindings, which is not installed: in its folder, "
            '.venv/bin/pip install -c constraints.txt -e ".[tensorrt-rtx]" (RTX cards) or -e ".[tensorrt]" (servers)'
        ) from error
    return module


class Cuda:
    """One device. CUDA has a device for each thread: ``use`` makes it the calling thread's.

    Raises:
        EngineError: no driver, no such device, or no ``cuda-bindings``.
    """

    def __init__(self, device: int = 0) -> None:
        self._rt = runtime()
        try:
            count = self._call(self._rt.cudaGetDeviceCount)
        except EngineError as error:
            raise EngineError(
                f"expected an NVIDIA card and a driver that knows CUDA 13 (580 or newer), got {error}; see `nvidia-smi`"
            ) from error
        if not 0 <= device < count:
            raise EngineError(f"expected an NVIDIA card with a number below {count}, got {device}")
        self._device = device
        properties = self._call(self._rt.cudaGetDeviceProperties, device)
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        self.gpu = Gpu(device, name.rstrip("\0"), f"{properties.major}{properties.minor}")

    def use(self) -> None:
        """Make the device the calling thread's."""
        self._call(self._rt.cudaSetDevice, self._device)

    def stream(self) -> Any:
        """A stream of our own, which does not wait for the default one."""
        return self._call(self._rt.cudaStreamCreateWithFlags, self._rt.cudaStreamNonBlocking)

    def wait(self, stream: Any) -> None:
        """Until all that the stream was given is done."""
        self._call(self._rt.cudaStreamSynchronize, stream)

    def allocate(self, nbytes: int) -> int:
        """Address of memory on the device."""
        return int(self._call(self._rt.cudaMalloc, nbytes))

    def pinned(self, shape: tuple[int, ...]) -> FloatArray:
        """An array in the host's memory that the card may copy by itself. It is never paged out: release it."""
        address = int(self._call(self._rt.cudaHostAlloc, 4 * int(np.prod(shape)), self._rt.cudaHostAllocDefault))
        values = (ctypes.c_float * int(np.prod(shape))).from_address(address)
        return np.ctypeslib.as_array(values).reshape(shape)

    def copy_in(self, device: int, host: FloatArray, stream: Any) -> None:
        """From a pinned array to the device, when the stream comes to it."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._rt.cudaMemcpyAsync, device, host.ctypes.data, host.nbytes, kind, stream)

    def copy_out(self, host: FloatArray, device: int, stream: Any) -> None:
        """From the device to a pinned array, when the stream comes to it."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._rt.cudaMemcpyAsync, host.ctypes.data, device, host.nbytes, kind, stream)

    @contextmanager
    def capturing(self, stream: Any) -> Iterator[list[Any]]:
        """What the stream is given inside is not done but kept, as a graph: the one item of the list afterwards."""
        # Other threads may go on allocating meanwhile.
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._rt.cudaStreamBeginCapture, stream, mode)
        found: list[Any] = []
        try:
            yield found
        except BaseException:
            self._rt.cudaStreamEndCapture(stream)  # its own error would hide what went wrong
            raise
        graph = self._call(self._rt.cudaStreamEndCapture, stream)
        try:
            found.append(self._call(self._rt.cudaGraphInstantiate, graph, 0))
        finally:
            self._call(self._rt.cudaGraphDestroy, graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Do all that was kept, in one call."""
        self._call(self._rt.cudaGraphLaunch, graph, stream)

    def free(self, address: int) -> None:
        """Give memory on the device back."""
        self._call(self._rt.cudaFree, address)

    def free_pinned(self, array: FloatArray) -> None:
        """Give a pinned array back; it must not be looked at again."""
        self._call(self._rt.cudaFreeHost, array.ctypes.data)

    def free_stream(self, stream: Any) -> None:
        """Give a stream back."""
        self._call(self._rt.cudaStreamDestroy, stream)

    def free_graph(self, graph: Any) -> None:
        """Give a graph back."""
        self._call(self._rt.cudaGraphExecDestroy, graph)

    def _call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """The call's result without its status: nothing, one value or a tuple."""
        status, *found = function(*arguments)
        if int(status):
            raise EngineError(f"{function.__name__}: {getattr(status, 'name', status)}")
        return found[0] if len(found) == 1 else tuple(found) or None
