"""The CUDA runtime in the host's memory, as strict as the real one is silent: what a stream is given is done when
somebody waits for it, memory must be alive, large enough and pinned, and a capture keeps instead of doing."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100


class Stream:
    """What a stream is to do, and what is being captured of it. As a number it is its handle."""

    numbers = itertools.count(1000)

    def __init__(self, device: int) -> None:
        self.number = next(self.numbers)
        self.device = device
        self.waiting: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None

    def __int__(self) -> int:
        return self.number

    def give(self, work: Callable[[], None]) -> None:
        (self.waiting if self.captured is None else self.captured).append(work)


class FakeCuda:
    """Stands for the module ``cuda.bindings.runtime``."""

    cudaStreamNonBlocking = 1
    cudaHostAllocDefault = 0
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, *, devices: int = 1, memory: int = 1 << 32) -> None:
        self.devices = devices
        self.name = b"Fake 4090"
        self.device: dict[int, ctypes.Array] = {}
        self.pinned: dict[int, ctypes.Array] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: list[list[Callable[[], None]]] = []
        self.launches = 0
        self._thread = threading.local()
        self._left = memory

    def cudaGetDeviceCount(self):
        return (Status.cudaSuccess, self.devices) if self.devices else (Status.cudaErrorNoDevice, None)

    def cudaSetDevice(self, device: int):
        self._thread.device = device
        return (Status.cudaSuccess if device < self.devices else Status.cudaErrorInvalidValue,)

    def require_device(self, stream: Stream) -> None:
        """Fail if the thread's device is not the stream's: each thread begins with the first."""
        assert getattr(self._thread, "device", 0) == stream.device, "a stream of another device than the thread's"

    def cudaGetDeviceProperties(self, device: int):
        return Status.cudaSuccess, SimpleNamespace(name=self.name, major=8, minor=9)

    def cudaMalloc(self, size: int):
        if size > self._left:
            return Status.cudaErrorMemoryAllocation, None
        self._left -= size
        return Status.cudaSuccess, self._keep(self.device, size)

    def cudaHostAlloc(self, size: int, flags: int):
        return Status.cudaSuccess, self._keep(self.pinned, size)

    def cudaFree(self, address: int):
        return (Status.cudaSuccess if self.device.pop(address, None) else Status.cudaErrorInvalidValue,)

    def cudaFreeHost(self, address: int):
        return (Status.cudaSuccess if self.pinned.pop(address, None) else Status.cudaErrorInvalidValue,)

    def cudaMemcpyAsync(self, to: int, source: int, count: int, kind: int, stream: Stream):
        self.require_device(stream)
        host, device = (source, to) if kind == 1 else (to, source)
        self.require(host, count, self.pinned)
        self.require(device, count, self.device)
        stream.give(lambda: ctypes.memmove(to, source, count) and None)
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int):
        stream = Stream(getattr(self._thread, "device", 0))
        self.streams[int(stream)] = stream
        return Status.cudaSuccess, stream

    def cudaStreamSynchronize(self, stream: Stream):
        assert stream.captured is None, "a stream that is captured cannot be waited for"
        work, stream.waiting = stream.waiting, []
        for each in work:
            each()
        return (Status.cudaSuccess,)

    def cudaStreamDestroy(self, stream: Stream):
        assert not stream.waiting
        del self.streams[int(stream)]
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: Stream, mode: int):
        stream.captured = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: Stream):
        graph, stream.captured = stream.captured, None
        return Status.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: list, flags: int):
        assert graph, "a graph without work"
        self.graphs.append(graph)
        return Status.cudaSuccess, graph

    def cudaGraphDestroy(self, graph: list):
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph: list, stream: Stream):
        self.require_device(stream)
        self.launches += 1
        stream.waiting += graph
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph: list):
        self.graphs = [each for each in self.graphs if each is not graph]
        return (Status.cudaSuccess,)

    def require(self, address: int, count: int, memory: dict[int, ctypes.Array]) -> None:
        """Fail if these bytes are not within what was allocated there."""
        for start, block in memory.items():
            if start <= address and address + count <= start + len(block):
                return
        raise AssertionError(f"{count} bytes at {address:#x} are not allocated there")

    def _keep(self, memory: dict[int, ctypes.Array], size: int) -> int:
        block = (ctypes.c_char * size)()
        address = ctypes.addressof(block)
        memory[address] = block
        return address
