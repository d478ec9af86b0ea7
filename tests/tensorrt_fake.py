"""TensorRT without a card: a module as strict about names, keywords and types as the bindings whose description it is
made from, and behind it engines that ONNX Runtime runs in the memory of a ``FakeCuda``."""

from __future__ import annotations

import ctypes
import inspect
import json
import re
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cuda_fake import FakeCuda
from google.protobuf.message import DecodeError

VERSIONS = ("10.16", "11.4")
_PLAN = b"a plan of "


def read_api(version: str) -> dict[str, Any]:
    """What ``tensorrt_api`` found in the wheel of a version."""
    api: dict[str, Any] = json.loads((Path(__file__).parent / f"tensorrt-{version}.json").read_text())
    return api


class Behaviour:
    """What the strict shell calls, ``Class_method(self, ...)`` and ``Class_property(self)``; a test changes what goes
    wrong. Anything that is not here returns what its signature promises."""

    refuses: str = ""
    """The name of what returns nothing or False."""

    def __init__(self, trt: Any, cuda: FakeCuda, version: str) -> None:
        self._trt = trt
        self._cuda = cuda
        self._version = version

    def make(self, kind: str, **state: Any) -> Any:
        """An object of a class that the bindings make themselves."""
        made = object.__new__(getattr(self._trt, kind))
        vars(made).update(state)
        return made

    def complain(self, logger: Any, words: str) -> None:
        logger.log(self._trt.ILogger.ERROR, words)

    def Builder___init__(self, it, logger):
        vars(it).update(log=logger)

    def Builder_create_network(self, it, flags=0):
        return self.make("INetworkDefinition", flags=flags, model=None)

    def Builder_build_serialized_network(self, it, network, config):
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building engine", "", 2)
            goes_on = monitor.step_complete("Building engine", 0) and monitor.step_complete("Building engine", 1)
            monitor.phase_finish("Building engine")
            if not goes_on:
                return None
        if self.refuses == "build" or network.model is None:
            return self.complain(it.log, "no tactic for anything")
        shapes = config.profiles[0]
        about = json.dumps([self._version, shapes]).encode()
        return self.make("IHostMemory", data=_PLAN + about + b"\0" + network.model)

    def IHostMemory___bytes__(self, it):
        return it.data

    def OnnxParser___init__(self, it, network, logger):
        vars(it).update(network=network, errors=[])

    def OnnxParser_parse(self, it, model, path=None):
        try:
            onnx.load_model_from_string(bytes(model))
        except DecodeError as error:
            it.errors.append(self.make("ParserError", words=f"cannot be parsed: {error}"))
            return False
        vars(it.network).update(model=bytes(model))
        return True

    def OnnxParser_num_errors(self, it):
        return len(it.errors)

    def OnnxParser_get_error(self, it, index):
        return it.errors[index]

    def ParserError_desc(self, it):
        return it.words

    def Builder_create_optimization_profile(self, it):
        return self.make("IOptimizationProfile", shapes={})

    def IOptimizationProfile_set_shape(self, it, input, min, opt, max):
        it.shapes[input] = [list(min), list(opt), list(max)]

    def Builder_create_builder_config(self, it):
        return self.make("IBuilderConfig", profiles=[], cache=None)

    def IBuilderConfig_progress_monitor(self, it):
        return vars(it).get("_progress_monitor")

    def IBuilderConfig_add_optimization_profile(self, it, profile):
        if self.refuses == "profile":
            return -1
        it.profiles.append(profile.shapes)
        return len(it.profiles) - 1

    def IBuilderConfig_create_timing_cache(self, it, serialized_timing_cache):
        return self.make("ITimingCache", data=bytes(serialized_timing_cache))

    def IBuilderConfig_set_timing_cache(self, it, cache, ignore_mismatch):
        if cache.data not in (b"", b"timings"):
            return False
        vars(it).update(cache=cache)
        return True

    def IBuilderConfig_get_timing_cache(self, it):
        return it.cache

    def ITimingCache_serialize(self, it):
        return self.make("IHostMemory", data=b"timings")

    def Runtime___init__(self, it, logger):
        vars(it).update(log=logger)

    def Runtime_deserialize_cuda_engine(self, it, serialized_engine):
        head, _, model = bytes(serialized_engine).partition(b"\0")
        if self.refuses == "plan" or not head.startswith(_PLAN):
            return self.complain(it.log, "this is no plan")
        version, shapes = json.loads(head.removeprefix(_PLAN))
        if version != self._version:
            return self.complain(it.log, f"a plan of {version}")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return self.make("ICudaEngine", session=session, shapes=shapes, log=it.log)

    def ICudaEngine_num_io_tensors(self, it):
        return len(it.session.get_inputs()) + len(it.session.get_outputs())

    def ICudaEngine_get_tensor_name(self, it, index):
        return [each.name for each in (*it.session.get_inputs(), *it.session.get_outputs())][index]

    def ICudaEngine_get_tensor_mode(self, it, name):
        inputs = {each.name for each in it.session.get_inputs()}
        return self._trt.TensorIOMode.INPUT if name in inputs else self._trt.TensorIOMode.OUTPUT

    def ICudaEngine_get_tensor_dtype(self, it, name):
        return self._trt.DataType.HALF if self.refuses == "edges" else self._trt.DataType.FLOAT

    def ICudaEngine_get_tensor_profile_shape(self, it, name, profile_index):
        return [tuple(shape) for shape in it.shapes[name]]

    def ICudaEngine_create_runtime_config(self, it):
        return self.make("IRuntimeConfig", caches=[])

    def IRuntimeConfig_create_runtime_cache(self, it):
        return self.make("IRuntimeCache", data=b"")

    def IRuntimeConfig_set_runtime_cache(self, it, cache=None):
        it.caches.append(cache)
        return True

    def IRuntimeCache_deserialize(self, it, blob):
        vars(it).update(data=bytes(blob))
        return bytes(blob) == b"compiled"

    def IRuntimeCache_serialize(self, it):
        return self.make("IHostMemory", data=b"compiled")

    def ICudaEngine_create_execution_context(self, it, strategy=None, runtime_config=None):
        if self.refuses == "context":
            return self.complain(it.log, "out of memory")
        return self.make("IExecutionContext", built=it, shapes={}, addresses={}, captured=False)

    def IExecutionContext_set_tensor_address(self, it, name, memory):
        it.addresses[name] = memory
        return True

    def IExecutionContext_set_input_shape(self, it, name, shape):
        least, _, most = it.built.shapes[name]
        assert not it.captured, "one context per captured graph"
        if not all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
            self.complain(it.built.log, f"{shape} is not in the profile")
            return False
        it.shapes[name] = tuple(shape)
        return True

    def IExecutionContext_infer_shapes(self, it):
        return [each.name for each in it.built.session.get_inputs() if each.name not in it.shapes]

    def IExecutionContext_execute_async_v3(self, it, stream_handle):
        if self.refuses == "execute":
            self.complain(it.built.log, "an illegal address")
            return False
        stream = self._cuda.streams[stream_handle]
        vars(it).update(captured=it.captured or stream.captured is not None)
        shapes = dict(it.shapes)
        stream.give(lambda: self._run(it, shapes))
        return True

    def _run(self, it, shapes):
        inputs = {name: self._array(it.addresses[name], shape).copy() for name, shape in shapes.items()}
        names = [each.name for each in it.built.session.get_outputs()]
        for name, values in zip(names, it.built.session.run(names, inputs), strict=True):
            self._array(it.addresses[name], values.shape)[...] = values + (self.refuses == "answers")

    def _array(self, address, shape):
        size = int(np.prod(shape))
        self._cuda.require(address, 4 * size, self._cuda.device)
        return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape)


def fake_tensorrt(version: str, cuda: FakeCuda, *, api: dict[str, Any] | None = None) -> Any:
    """The module. ``module.behaviour`` is its inside, ``module.called`` the names that were used."""
    described = api or read_api(version)
    module = SimpleNamespace(__version__=described["version"], called=set())
    classes: dict[str, Any] = {}
    module.behaviour = Behaviour(module, cuda, described["version"])
    for name, description in described["classes"].items():
        if description["enum"]:
            classes[name] = IntEnum(name, description["enum"])
        else:
            classes[name] = _strict_class(name, description, module, classes)
        setattr(module, name, classes[name])
    # ILogger.Severity and its values are of the class itself.
    severities = IntEnum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})
    module.ILogger.Severity = severities
    for severity in severities:
        setattr(module.ILogger, severity.name, severity)
    return module


def _strict_class(name: str, description: dict[str, Any], module: Any, classes: dict[str, Any]) -> type:
    def set_attribute(self, key: str, value: object) -> None:
        known = description["properties"].get(key)
        if known is None and type(self).__name__ == name:  # a class made from it may have what it likes
            raise AttributeError(f"{name!r} object has no attribute {key!r}")
        if known is not None and not known[1]:
            raise AttributeError(f"{name}.{key} cannot be set")
        if known is not None:
            module.called.add(f"{name}.{key}")
        vars(self)[key if known is None else f"_{key}"] = value

    body: dict[str, Any] = {"__setattr__": set_attribute}
    for method, signatures in description["methods"].items():
        if signatures:
            body[method] = _strict_method(name, method, signatures, module, classes)
    for key, (kind, _) in description["properties"].items():
        body[key] = property(_getter(name, key, kind, module))
    if hasattr(Behaviour, f"{name}___bytes__"):
        body["__bytes__"] = _bytes(name, module)
    return type(name, (), body)


def _bytes(name: str, module: Any) -> Callable[[Any], bytes]:
    def data(self: Any) -> bytes:
        found: bytes = getattr(module.behaviour, f"{name}___bytes__")(self)
        return found

    return data


def _getter(name: str, key: str, kind: str, module: Any) -> Callable[[Any], Any]:
    def get(self: Any) -> Any:
        module.called.add(f"{name}.{key}")
        if known := getattr(module.behaviour, f"{name}_{key}", None):
            return known(self)
        return vars(self).get(f"_{key}", _promised(kind))

    return get


def _strict_method(
    name: str, method: str, signatures: list[str], module: Any, classes: dict[str, Any]
) -> Callable[..., Any]:
    def call(self: Any, *given: Any, **named: Any) -> Any:
        reasons = []
        # Not before: some signatures that nobody here calls are no Python.
        for signature, returned in map(_parse, signatures):
            try:
                bound = signature.bind(self, *given, **named)
            except TypeError as error:
                reasons.append(str(error))
                continue
            kinds = {key: signature.parameters[key].annotation for key in list(bound.arguments)[1:]}
            wrong = [key for key, kind in kinds.items() if not _is_a(bound.arguments[key], kind, classes)]
            if wrong:
                reasons.append(f"{wrong} of {kinds}")
                continue
            module.called.add(f"{name}.{method}")
            known = getattr(module.behaviour, f"{name}_{method}", None)
            return known(self, *given, **named) if known else _promised(returned)
        raise TypeError(f"{name}.{method}(): incompatible arguments {given} {named}: {reasons}")

    return call


def _parse(signature: str) -> tuple[inspect.Signature, str]:
    """``"f(self: A, x: int = 3) -> bool"`` as a signature whose annotations are words, and what it returns."""
    found = re.fullmatch(r"\w+\((.*)\) -> (.*)", signature)
    assert found, signature
    parameters = []
    for each in re.split(r", (?=\w+: )", found.group(1)):
        name, _, rest = each.partition(": ")
        kind, equals, default = rest.partition(" = ")
        known = default if equals else inspect.Parameter.empty
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=known, annotation=kind)
        )
    return inspect.Signature(parameters), found.group(2)


def _is_a(value: object, kind: str, classes: dict[str, Any]) -> bool:
    simple: dict[str, Callable[[Any], bool]] = {
        "SupportsInt": lambda it: hasattr(it, "__int__") and not isinstance(it, str),
        "SupportsFloat": lambda it: isinstance(it, int | float),
        "bool": lambda it: isinstance(it, bool),
        "str": lambda it: it is None or isinstance(it, str),
        "Buffer": lambda it: isinstance(it, bytes | bytearray | memoryview),
        "Dims": lambda it: isinstance(it, tuple | list),
        "tuple": lambda it: isinstance(it, tuple),
        "list": lambda it: isinstance(it, list),
    }
    if kind in simple:
        return simple[kind](value)
    return kind not in classes or isinstance(value, classes[kind])


def _promised(kind: str) -> Any:
    return {"bool": True, "int": 0, "float": 0.0, "str": ""}.get(kind)
