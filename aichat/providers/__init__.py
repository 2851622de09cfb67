"""One file per dialect; vendors that imitate one are rows."""

from ._base import (
    APIKey as APIKey,
    Auth as Auth,
    Capability as Capability,
    Closable as Closable,
    Engine as Engine,
    HealthChecker as HealthChecker,
    HTTPProvider as HTTPProvider,
    ModelDescriber as ModelDescriber,
    Provider as Provider,
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
