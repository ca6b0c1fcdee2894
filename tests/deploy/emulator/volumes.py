"""What a pod mounts, what its variables are: the parts of a pod's description that refer to other objects."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.emulator.runners import Mount
from tests.deploy.emulator.store import Document, Store


class ConfigurationMissingError(Exception):
    """A pod refers to something that is not there."""


def environment(store: Store, pod: Document, container: Document) -> dict[str, str]:
    """Return the variables of a container, with references to earlier ones expanded.

    Raises
    ------
    ConfigurationMissingError
        As a kubelet says it.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if key in source:
                variables.update(_data(store, pod, kind, source[key]["name"], optional=source[key].get("optional", False)))
    for variable in container.get("env") or []:
        value = _value(store, pod, container, variable)
        if value is not None:
            variables[variable["name"]] = expanded(value, variables)
    return variables


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; unknown names stay, and ``$$(NAME)`` is ``$(NAME)``."""

    def value(found: re.Match[str]) -> str:
        return found[0][1:] if found[0].startswith("$$") else variables.get(found[1], found[0])

    return re.sub(r"\$?\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, text)


def mounts(store: Store, root: Path, pod: Document, container: Document, variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """Make the volumes of a pod below ``root`` and return those that a container mounts.

    Raises
    ------
    ConfigurationMissingError
        If a volume does not exist.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
    found = []
    for mount in container.get("volumeMounts") or []:
        source = _volume(store, root, pod, volumes[mount["name"]])
        below = mount.get("subPath") or expanded(mount.get("subPathExpr", ""), variables)
        if below:
            source = source / below
            if not source.exists():
                _make(source)
        found.append(Mount(source, mount["mountPath"], bool(mount.get("readOnly"))))
    return tuple(found)


def claim_folder(root: Path, namespace: str, claim: str) -> Path:
    """Return the folder that stands for a persistent volume claim."""
    return root / "claims" / namespace / claim


def remove_pod_folder(root: Path, pod: Document) -> None:
    """Remove what lived as long as the pod."""
    shutil.rmtree(_pod_folder(root, pod), ignore_errors=True)


def _pod_folder(root: Path, pod: Document) -> Path:
    return root / "pods" / str(pod["metadata"]["uid"])


def termination_log(root: Path, pod: Document, container: str) -> Path:
    """Return an empty file for the last words of a container."""
    path = _pod_folder(root, pod) / f"termination-{container}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")
    return path


def _volume(store: Store, root: Path, pod: Document, volume: Document) -> Path:
    namespace = pod["metadata"]["namespace"]
    if "persistentVolumeClaim" in volume:
        claim = volume["persistentVolumeClaim"]["claimName"]
        if store.find("PersistentVolumeClaim", namespace, claim) is None:
            raise ConfigurationMissingError(f'persistentvolumeclaim "{claim}" not found')
        return _make(claim_folder(root, namespace, claim))
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    folder = _make(_pod_folder(root, pod) / volume["name"])
    if "emptyDir" in volume:
        return folder
    for kind, key, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
        if key in volume:
            data = _data(store, pod, kind, volume[key][name], optional=volume[key].get("optional", False))
            _write(folder, data, volume[key].get("items"))
            return folder
    if "projected" in volume:
        for source in volume["projected"]["sources"]:
            for kind, key in (("ConfigMap", "configMap"), ("Secret", "secret")):
                if key in source:
                    data = _data(store, pod, kind, source[key]["name"], optional=source[key].get("optional", False))
                    _write(folder, data, source[key].get("items"))
        return folder
    raise ConfigurationMissingError(f"volume {volume['name']} is of a type the emulator does not know: {sorted(volume)}")


def _write(folder: Path, data: Mapping[str, str], items: list[Document] | None) -> None:
    paths = dict.fromkeys(data) if items is None else {item["key"]: item["path"] for item in items}
    for key, path in paths.items():
        if key not in data:
            raise ConfigurationMissingError(f"references non-existent key: {key}")
        target = folder / (path or key)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(data[key], encoding="utf-8")
        target.chmod(0o644)


def _make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder


def _data(store: Store, pod: Document, kind: str, name: str, *, optional: bool) -> dict[str, str]:
    found = store.find(kind, pod["metadata"]["namespace"], name)
    if found is None:
        if optional:
            return {}
        raise ConfigurationMissingError(f'{kind.lower()} "{name}" not found')
    if kind == "ConfigMap":
        return dict(found.get("data") or {})
    decoded = {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
    return {**decoded, **(found.get("stringData") or {})}


def _value(store: Store, pod: Document, container: Document, variable: Document) -> str | None:
    source = variable.get("valueFrom")
    if source is None:
        return str(variable.get("value", ""))
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if key in source:
            reference = source[key]
            data = _data(store, pod, kind, reference["name"], optional=reference.get("optional", False))
            if reference["key"] not in data and not reference.get("optional"):
                raise ConfigurationMissingError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
            return data.get(reference["key"])
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        part, _, name = source["resourceFieldRef"]["resource"].partition(".")
        return str(((container.get("resources") or {}).get(part) or {}).get(name, "0"))
    raise ConfigurationMissingError(f"variable {variable['name']} has a source the emulator does not know: {sorted(source)}")


def _field(pod: Document, path: str) -> str:
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((pod["metadata"].get(found[1]) or {}).get(found[2], ""))
    addresses = {"status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1"}
    if path in addresses:
        return addresses[path]
    value: Any = pod
    for key in path.split("."):
        value = value.get(key, "") if isinstance(value, Mapping) else ""
    return str(value)
