"""Behaviour around a call; each one a function of ``(request, call_next)``."""

from ._compose import (
    Handler as Handler,
    Middleware as Middleware,
    compose as compose,
)
