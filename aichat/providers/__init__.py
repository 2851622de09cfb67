"""One file per dialect; vendors that imitate one are rows."""

from ._base import (
    APIKey as APIKey,
    Auth as Auth,
    Capability as Capability,
    Closable as Closable,
    HealthChecker as HealthChecker,
    HTTPProvider as HTTPProvider,
    Provider as Provider,
    ProviderSpec as ProviderSpec,
    bearer as bearer,
    header as header,
)
