"""Rules no schema has: what makes objects work together, and pods as restricted as they can be.

Every rule takes the objects of one release and yields sentences, each beginning with the object at fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from helm import Manifest

Rule = Callable[[tuple[Manifest, ...]], Iterator[str]]
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_FACTORS = {"": Decimal(1), "m": Decimal("0.001")} | {
    prefix + suffix: Decimal(base) ** power
    for base, suffix in ((1000, ""), (1024, "i"))
    for power, prefix in enumerate(("k" if base == 1000 else "K", "M", "G", "T", "P"), start=1)
}
# https://kubernetes.io/docs/concepts/security/pod-security-standards/, volume types of `restricted`.
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
STANDARD_LABELS = tuple(f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "version", "managed-by"))


@dataclass(frozen=True)
class Pod:
    """The pod of an object, or the one its template makes."""

    owner: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    def containers(self) -> Iterator[Mapping[str, Any]]:
        yield from self.spec.get("initContainers", ())
        yield from self.spec["containers"]

    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for c in self.containers() for port in c.get("ports", ())}


def pods(manifests: Iterable[Manifest]) -> Iterator[Pod]:
    for manifest in manifests:
        found = manifest.object
        if manifest.kind == "CronJob":
            found = found["spec"]["jobTemplate"]
        if manifest.kind in {"Deployment", "Job", "CronJob"}:
            found = found["spec"]["template"]
        elif manifest.kind != "Pod":
            continue
        yield Pod(f"{manifest.kind} {manifest.name}", found["metadata"]["labels"], found["spec"])


def restricted(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """Pod Security Standard ``restricted``, and a root file system that cannot be written."""
    for pod in pods(manifests):
        spec, security = pod.spec, pod.spec.get("securityContext", {})
        yield from (f"{pod.owner}: {name}" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
        for volume in spec.get("volumes", ()):
            # nfs is mounted by nodes as a claim would be; the standard has no word for it, so only tests use it.
            if not set(volume) - {"name"} <= _VOLUMES | {"nfs"}:
                yield f"{pod.owner}: volume {volume['name']} is of a forbidden type"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: the token of the service account is mounted"
        for container in pod.containers():
            yield from (f"{pod.owner}: {container['name']} {fault}" for fault in _open_doors(container, security))


def _open_doors(container: Mapping[str, Any], of_pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**of_pod, **own}
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    capabilities = own.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "has capabilities"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "may run as root"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "has no seccomp profile"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "can write its root file system"
    if "procMount" in own or any("hostPort" in port for port in container.get("ports", ())):
        yield "reaches into the host"


def selected(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """Every selector finds the pods or services it is meant for."""
    labels = [pod.labels for pod in pods(manifests)]
    services = [m.object["metadata"]["labels"] for m in manifests if m.kind == "Service"]
    for manifest in manifests:
        spec = manifest.object.get("spec", {})
        targets = services if manifest.kind == "ServiceMonitor" else labels
        selector = {
            "Service": lambda s: s["selector"],
            "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
            "ServiceMonitor": lambda s: s["selector"]["matchLabels"],
        }.get(manifest.kind)
        if selector is not None and not any(selector(spec).items() <= found.items() for found in targets):
            yield f"{manifest.kind} {manifest.name}: the selector finds nothing"
        if manifest.kind == "Deployment":
            if not spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items():
                yield f"Deployment {manifest.name}: the selector does not find its own pods"
            volatile = {"app.kubernetes.io/version", "helm.sh/chart"} & spec["selector"]["matchLabels"].keys()
            if volatile:
                yield f"Deployment {manifest.name}: the selector changes with an upgrade"
    for pod in pods(manifests):
        for constraint in pod.spec.get("topologySpreadConstraints", ()):
            if not constraint["labelSelector"]["matchLabels"].items() <= pod.labels.items():
                yield f"{pod.owner}: a spread constraint does not count its own pods"


def connected(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """Every port, backend and scaled object that is named is there."""
    ports: dict[str, int] = {}
    for pod in pods(manifests):
        ports |= pod.ports()
        for container in pod.containers():
            named = {p["name"]: p["containerPort"] for p in container.get("ports", ())}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                for handler in container.get(probe, {}).values():
                    port = handler.get("port") if isinstance(handler, Mapping) else None
                    if port is not None and port not in named and port not in named.values():
                        yield f"{pod.owner}: {probe} asks port {port}, which {container['name']} does not have"
    services = {m.name: m.object["spec"]["ports"] for m in manifests if m.kind == "Service"}
    for name, offered in services.items():
        yield from (f"Service {name}: no container has port {p['targetPort']}" for p in offered if p["targetPort"] not in ports)
    for manifest in manifests:
        yield from (f"{manifest.kind} {manifest.name}: {fault}" for fault in _loose_ends(manifest, manifests, services, ports))


def _loose_ends(
    manifest: Manifest, manifests: tuple[Manifest, ...], services: Mapping[str, Any], ports: Mapping[str, int]
) -> Iterator[str]:
    spec = manifest.object.get("spec", {})
    backends: list[tuple[str, object]] = []
    if manifest.kind == "Ingress":
        found = [path["backend"]["service"] for rule in spec["rules"] for path in rule["http"]["paths"]]
        backends = [(b["name"], b["port"].get("name") or b["port"]["number"]) for b in found]
    elif manifest.kind in {"HTTPRoute", "GRPCRoute"}:
        backends = [(b["name"], b["port"]) for rule in spec["rules"] for b in rule["backendRefs"]]
    for name, port in backends:
        if port not in {value for p in services.get(name, ()) for value in (p["name"], p["port"])}:
            yield f"service {name} has no port {port}"
    if manifest.kind == "ServiceMonitor":
        offered = {p["name"] for found in services.values() for p in found}
        yield from (f"no service has port {e['port']}" for e in spec["endpoints"] if e["port"] not in offered)
    if manifest.kind == "NetworkPolicy":
        allowed = {p["port"] for rule in spec.get("ingress", ()) for p in rule.get("ports", ())}
        yield from (f"port {port} is allowed, and no container has it" for port in allowed - set(ports.values()))
    target = spec.get("scaleTargetRef") if manifest.kind in {"HorizontalPodAutoscaler", "ScaledObject"} else None
    if target is not None and (target["kind"], target["name"]) not in {(m.kind, m.name) for m in manifests}:
        yield f"{target['kind']} {target['name']} is not there"
    if target is not None:
        scaled = next(m for m in manifests if m.kind == "Deployment")
        if "replicas" in scaled.object["spec"]:
            yield "the Deployment sets replicas as well"


def mounted(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """Every mount has its volume, every volume its mount, and what the chart makes is made under the name that is used."""
    made = {(m.kind, m.name) for m in manifests}
    for pod in pods(manifests):
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
        if len(volumes) != len(pod.spec.get("volumes", ())):
            yield f"{pod.owner}: two volumes of one name"
        mounts = [mount for container in pod.containers() for mount in container.get("volumeMounts", ())]
        yield from (f"{pod.owner}: no volume {m['name']}" for m in mounts if m["name"] not in volumes)
        yield from (f"{pod.owner}: volume {name} is not mounted" for name in volumes.keys() - {m["name"] for m in mounts})
        for container in pod.containers():
            places = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
            yield from (f"{pod.owner}: two mounts at {place}" for place in {p for p in places if places.count(p) > 1})
        for kind, name in _references(pod):
            if name.startswith(f"{pod.labels['app.kubernetes.io/instance']}-nodogram-") and (kind, name) not in made:
                yield f"{pod.owner}: {kind} {name} is not there"


def _references(pod: Pod) -> Iterator[tuple[str, str]]:
    for volume in pod.spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in pod.containers():
        for variable in container.get("env", ()):
            if "configMapKeyRef" in variable.get("valueFrom", {}):
                yield "ConfigMap", variable["valueFrom"]["configMapKeyRef"]["name"]
    yield "ServiceAccount", pod.spec["serviceAccountName"]


def quantity(text: object) -> Decimal:
    """Return the value of a quantity.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    return Decimal(match[1]) * _FACTORS[match[2] or ""]


def sized(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """Requests of CPU and memory, a limit of memory, and no request above its limit."""
    for pod in pods(manifests):
        for container in pod.containers():
            resources = container.get("resources", {})
            try:
                requests, limits = (
                    {key: quantity(value) for key, value in resources.get(part, {}).items()} for part in ("requests", "limits")
                )
            except ValueError as error:
                yield f"{pod.owner}: {container['name']}: {error}"
                continue
            if not {"cpu", "memory"} <= requests.keys() or "memory" not in limits:
                yield f"{pod.owner}: {container['name']} says too little of what it needs"
            yield from (
                f"{pod.owner}: {container['name']} requests more {key} than its limit"
                for key in requests.keys() & limits.keys()
                if requests[key] > limits[key]
            )
        for volume in pod.spec.get("volumes", ()):
            if "emptyDir" in volume and volume["emptyDir"].get("sizeLimit", "0") != "0":
                quantity(volume["emptyDir"]["sizeLimit"])


def pinned(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """Every image has a version."""
    for pod in pods(manifests):
        for container in pod.containers():
            reference, _, digest = str(container["image"]).partition("@")
            tag = reference.rpartition("/")[2].partition(":")[2]
            if tag == "latest" or not (tag or digest):
                yield f"{pod.owner}: {container['image']} has no version"


def named(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """Names are host names, labels are labels, and no two objects are one."""
    seen: set[tuple[object, ...]] = set()
    for manifest in manifests:
        metadata = manifest.object["metadata"]
        identity = (manifest.object["apiVersion"], manifest.kind, metadata.get("namespace"), manifest.name)
        if identity in seen:
            yield f"{manifest.kind} {manifest.name}: twice"
        seen.add(identity)
        longest = 52 if manifest.kind == "CronJob" else 63
        if not _NAME.fullmatch(manifest.name) or len(manifest.name) > longest:
            yield f"{manifest.kind} {manifest.name}: no name of at most {longest} characters"
        labels = metadata.get("labels", {})
        yield from (
            f"{manifest.kind} {manifest.name}: label {key}={value}"
            for key, value in labels.items()
            if not _LABEL_VALUE.fullmatch(str(value)) or not isinstance(value, str)
        )
        if "extra-objects" not in manifest.template:
            yield from (f"{manifest.kind} {manifest.name}: no label {key}" for key in STANDARD_LABELS if key not in labels)


def unspoken(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """No secret is written down: not in a ConfigMap, not in a variable."""
    for manifest in manifests:
        if manifest.kind == "Secret":
            yield f"Secret {manifest.name}: made by the chart"
        if manifest.kind == "ConfigMap":
            text = "\n".join(manifest.object["data"].values())
            if re.search(r"-----BEGIN|(?i:password|passwd|secret[_-]?key)\s*[:=]", text):
                yield f"ConfigMap {manifest.name}: looks as if it held a secret"
    for pod in pods(manifests):
        for container in pod.containers():
            for variable in container.get("env", ()):
                hidden = re.search(r"TOKEN|PASSWORD|SECRET|CREDENTIAL|_KEY$", variable["name"])
                if hidden and "value" in variable and not str(variable["value"]).startswith("/"):
                    yield f"{pod.owner}: {variable['name']} is written down"


RULES: tuple[Rule, ...] = (restricted, selected, connected, mounted, sized, pinned, named, unspoken)
