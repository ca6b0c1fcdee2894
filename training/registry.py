"""The model registry: which bundle is champion, in MLflow, following the ledger of the gate.

Aliases ``champion``, ``former`` and ``challenger`` name bundles by digest. They say what the ledger says and decide nothing:
the ledger is signed and the registry is not, and serving reads neither but a bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.gate.ledger import LedgerState

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, FORMER, CHALLENGER = "champion", "former", "challenger"
DIGEST, LEDGER_HEAD = "bundle_digest", "ledger_head"


@dataclass(frozen=True)
class RegisteredBundle:
    """A version of the registered model.

    Attributes
    ----------
    uri
        Where the bundle can be fetched; ``urn:sha256:DIGEST`` where nobody said.
    """

    version: str
    digest: str
    uri: str


class BundleRegistry:
    """Bundles of one registered model.

    Parameters
    ----------
    client
        Of :func:`training.tracking.tracking_client`.
    name
        Of the registered model; made if absent.
    """

    def __init__(self, client: MlflowClient, name: str = "nodogram") -> None:
        self._client = client
        self._name = name
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)

    def register(self, digest: str, uri: str | None = None, run_id: str | None = None) -> RegisteredBundle:
        """Register a bundle; one that is there already gets no second version, unless it can be fetched only now.

        Parameters
        ----------
        digest
            SHA-256 of the bundle.
        run_id
            MLflow's, of the training run.
        """
        found = self._version_of(digest)
        if found is not None and (uri is None or uri == found.source):
            return _bundle(found)
        made = self._client.create_model_version(
            self._name, uri or f"urn:sha256:{digest}", run_id, tags={DIGEST: digest}, await_creation_for=0
        )
        return _bundle(made)

    def find(self, alias: str) -> RegisteredBundle | None:
        """Return the bundle an alias names."""
        version = self._aliases().get(alias)
        return None if version is None else _bundle(self._client.get_model_version(self._name, version))

    def follow(self, state: LedgerState) -> None:
        """Let the aliases say what the ledger says; bundles the registry does not know are registered without a place."""
        pending = state.pending[-1][1].challenger.digest if state.pending else None
        aliases = self._aliases()
        for alias, digest in ((FORMER, state.former), (CHAMPION, state.champion), (CHALLENGER, pending)):
            if digest is not None:
                self._client.set_registered_model_alias(self._name, alias, self.register(digest).version)
            elif alias in aliases:
                self._client.delete_registered_model_alias(self._name, alias)
        if state.head is not None:
            self._client.set_registered_model_tag(self._name, LEDGER_HEAD, state.head)

    def _aliases(self) -> dict[str, str]:
        return {alias: str(version) for alias, version in self._client.get_registered_model(self._name).aliases.items()}

    def _version_of(self, digest: str) -> ModelVersion | None:
        found = self._client.search_model_versions(f"name = '{self._name}' and tags.{DIGEST} = '{digest}'")
        return max(found, key=lambda v: int(v.version), default=None)


def _bundle(version: ModelVersion) -> RegisteredBundle:
    return RegisteredBundle(str(version.version), str(version.tags[DIGEST]), str(version.source))
