"""One file per dialect; vendors that imitate one are rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from ._base import (
        APIKey as APIKey,
        Auth as Auth,
        Capability as Capability,
        Engine as Engine,
        HTTPProvider as HTTPProvider,
        ProviderSpec as ProviderSpec,
        bearer as bearer,
        header as header,
    )
    from ._batching import BatchesAPI as BatchesAPI, BatchSubmitter as BatchSubmitter
    from ._counting import (
        CountingAPI as CountingAPI,
        TokenCounter as TokenCounter,
        counter_of as counter_of,
        estimated_count as estimated_count,
    )
    from ._embedding import (
        Embedder as Embedder,
        EmbeddingsAPI as EmbeddingsAPI,
        embedder_of as embedder_of,
    )
    from ._listing import (
        ListingAPI as ListingAPI,
        ModelLister as ModelLister,
        lister_of as lister_of,
    )
    from ._profiles import Modality as Modality, ModelProfile as ModelProfile
    from ._protocols import (
        Closable as Closable,
        HealthChecker as HealthChecker,
        ModelDescriber as ModelDescriber,
        Provider as Provider,
    )
else:
    __getattr__ = lazily(
        __name__,
        {
            "_base": "APIKey Auth Capability Engine HTTPProvider ProviderSpec bearer header",
            "_batching": "BatchesAPI BatchSubmitter",
            "_counting": "CountingAPI TokenCounter counter_of estimated_count",
            "_embedding": "Embedder EmbeddingsAPI embedder_of",
            "_listing": "ListingAPI ModelLister lister_of",
            "_profiles": "Modality ModelProfile",
            "_protocols": "Closable HealthChecker ModelDescriber Provider",
        },
    )
