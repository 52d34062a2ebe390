"""Traces, sent to an OTLP collector: which module of which run took how long, on which replica, and at which attempt.

They are made where `OTEL_EXPORTER_OTLP_ENDPOINT` is set (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`); else nothing is imported, and a
span is nothing. OpenTelemetry's other variables hold as well: headers, sampler, resource attributes.

A trace goes from process to process as the `traceparent` of W3C: in a request's header, in a task, and beside the claims of a run
that has not ended, where whoever takes the run over finds it. A span tells ids, numbers, and names of modules and models. It never
tells words, file names, or what an error says, which may name both.
"""

import asyncio
import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

logger = logging.getLogger("ray.serve")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SLOW_SECONDS = 0.1
"""A call to the store that takes less has no span."""
STOP_SECONDS = 2.0

Attributes = Mapping[str, str | int | float | bool | None]
"""A name without a dot is one of ours, and gets `immersivaudio.` before it. What is None is not told."""
Kind = Literal["INTERNAL", "SERVER", "CLIENT"]


class Span:
    """Something that takes time. Without tracing, what is told is heard by nobody."""

    def __init__(self, real: Any = None) -> None:
        self.real = real

    def tell(self, attributes: Attributes) -> None:
        """Add to what is known of it."""
        if self.real is not None:
            for name, value in attributes.items():
                if value is not None:
                    self.real.set_attribute(name if "." in name else f"immersivaudio.{name}", value)

    def rename(self, name: str) -> None:
        """Give it a name that was not known when it began."""
        if self.real is not None:
            self.real.update_name(name)

    def failed(self, why: str) -> None:
        """It did not do what it was to do. `why`: a class of errors, no message."""
        if self.real is not None:
            from opentelemetry.trace import StatusCode

            self.real.set_status(StatusCode.ERROR)
            self.real.set_attribute("error.type", why)


class _Process:
    """What this process traces with: nothing, before `start`."""

    provider: Any = None
    tracer: Any = None


_process = _Process()
_here: ContextVar[Any] = ContextVar("immersivaudio_span", default=None)
_NOTHING = Span()


def start(deployment: str) -> None:
    """Trace what this process does from now on, if the environment says where to send it. Once per replica."""
    if _process.tracer is not None or not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        logger.warning(
            "traces are asked for, and nothing can send them: pip install '.[tracing]' in the project's folder (%s)",
            error,
        )
        return
    own = {"host.name": socket.gethostname(), "immersivaudio.deployment": deployment}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        own["service.name"] = "immersivaudio"
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _process.provider, _process.tracer = provider, provider.get_tracer("immersivaudio")
    atexit.register(stop)


def stop() -> None:
    """Send what is left, for two seconds at most. Blocks: for threads."""
    provider, _process.provider, _process.tracer = _process.provider, None, None
    if provider is not None:
        sending = threading.Thread(target=provider.shutdown, daemon=True)  # it would wait half a minute for a collector
        sending.start()
        sending.join(STOP_SECONDS)


def is_on() -> bool:
    """Whether anybody hears of spans."""
    return _process.tracer is not None


@contextmanager
def span(
    name: str, attributes: Attributes | None = None, *, within: str | None = None, kind: Kind = "INTERNAL"
) -> Iterator[Span]:
    """A span around the block, and around what is begun in it. An exception is told by its class alone.

    within: `traceparent` of whoever asked for it, in another process. None: whatever span this is called in.
    """
    tracer = _process.tracer  # once: another thread may stop it meanwhile, and its spans then go nowhere
    if tracer is None:
        yield _NOTHING
        return
    real = _begin(tracer, name, within=within, kind=kind)
    told, before = Span(real), _here.set(real)
    told.tell(attributes or {})
    try:
        yield told
    except BaseException as error:
        _tell_of(told, error)
        raise
    finally:
        _here.reset(before)
        real.end()


@contextmanager
def slow(name: str) -> Iterator[None]:
    """A span around the block, but only if it turns out to be slow, and only inside of another one."""
    if _process.tracer is None or _here.get() is None:
        yield
        return
    began, failure = time.time_ns(), None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        tracer = _process.tracer
        if tracer is not None and time.time_ns() - began >= SLOW_SECONDS * 1e9:
            real = _begin(tracer, name, kind="CLIENT", began=began)
            if failure is not None:
                _tell_of(Span(real), failure)
            real.end()


def _begin(tracer: Any, name: str, *, kind: Kind, within: str | None = None, began: int | None = None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if within is not None:  # what nobody could have meant is passed over, and the span is the first of its trace
        context = TraceContextTextMapPropagator().extract({"traceparent": within}, Context())
    else:
        context = Context() if _here.get() is None else set_span_in_context(_here.get(), Context())
    return tracer.start_span(name, context, SpanKind[kind], start_time=began)


def _tell_of(told: Span, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        told.tell({"cancelled": True})
    else:
        told.failed(type(error).__name__)


def traceparent() -> str | None:
    """The span that this is called in, for another process. None where there is none."""
    if _here.get() is None:
        return None
    context = _here.get().get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def log_fields() -> dict[str, str]:
    """For the `extra` of a log line: the trace that it belongs to."""
    here = traceparent()
    return {"trace_id": here.split("-")[1]} if here else {}


def carried() -> Any:
    """What `carry` takes into a context that inherits nothing else."""
    return _here.get()


def carry(here: Any) -> None:
    """Go on inside this span, in a context of its own."""
    _here.set(here)
