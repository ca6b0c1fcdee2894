"""What the emulator serves, and the discovery documents that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Resource:
    """A kind of object and where it is found."""

    group_version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.group_version.rpartition("/")[0]

    @property
    def full_name(self) -> str:
        """As messages of the API name it: ``jobs.batch``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_STATUS = ("status",)
RESOURCES = (
    Resource("v1", "namespaces", "Namespace", namespaced=False, subresources=_STATUS),
    Resource("v1", "nodes", "Node", namespaced=False, subresources=_STATUS),
    Resource("v1", "persistentvolumes", "PersistentVolume", namespaced=False, subresources=_STATUS),
    Resource("v1", "pods", "Pod", subresources=("status", "log")),
    Resource("v1", "configmaps", "ConfigMap"),
    Resource("v1", "secrets", "Secret"),
    Resource("v1", "services", "Service", subresources=_STATUS),
    Resource("v1", "serviceaccounts", "ServiceAccount"),
    Resource("v1", "events", "Event"),
    Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim", subresources=_STATUS),
    Resource("v1", "resourcequotas", "ResourceQuota", subresources=_STATUS),
    Resource("v1", "limitranges", "LimitRange"),
    Resource("apps/v1", "deployments", "Deployment", subresources=("status", "scale")),
    Resource("apps/v1", "replicasets", "ReplicaSet", subresources=("status", "scale")),
    Resource("apps/v1", "statefulsets", "StatefulSet", subresources=("status", "scale")),
    Resource("apps/v1", "daemonsets", "DaemonSet", subresources=_STATUS),
    Resource("batch/v1", "jobs", "Job", subresources=_STATUS),
    Resource("batch/v1", "cronjobs", "CronJob", subresources=_STATUS),
    Resource("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", subresources=_STATUS),
    Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", subresources=_STATUS),
    Resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
    Resource("networking.k8s.io/v1", "ingresses", "Ingress", subresources=_STATUS),
    Resource("rbac.authorization.k8s.io/v1", "roles", "Role"),
    Resource("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding"),
    Resource("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", namespaced=False),
    Resource("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    Resource("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", namespaced=False),
    Resource("storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False),
    Resource("monitoring.coreos.com/v1", "servicemonitors", "ServiceMonitor"),
    Resource("monitoring.coreos.com/v1", "podmonitors", "PodMonitor"),
    Resource("monitoring.coreos.com/v1", "prometheusrules", "PrometheusRule"),
    Resource("keda.sh/v1alpha1", "scaledobjects", "ScaledObject"),
    Resource("keda.sh/v1alpha1", "triggerauthentications", "TriggerAuthentication"),
    Resource("cert-manager.io/v1", "certificates", "Certificate"),
    Resource("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute"),
    Resource("gateway.networking.k8s.io/v1", "grpcroutes", "GRPCRoute"),
)
BY_PATH = {(r.group_version, r.plural): r for r in RESOURCES}
BY_KIND = {(r.group_version, r.kind): r for r in RESOURCES}
GROUP_VERSIONS = tuple(dict.fromkeys(r.group_version for r in RESOURCES))


def resource(kind: str) -> Resource:
    """Return the resource of a kind, which is unambiguous here."""
    return next(r for r in RESOURCES if r.kind == kind)


def api_resources(group_version: str) -> dict[str, Any]:
    """Return the ``APIResourceList`` of a group and version."""
    rows = []
    for r in RESOURCES:
        if r.group_version == group_version:
            row = {"name": r.plural, "singularName": r.kind.lower(), "namespaced": r.namespaced, "kind": r.kind}
            rows.append({**row, "verbs": VERBS})
            rows += [
                {**row, "name": f"{r.plural}/{s}", "singularName": "", "verbs": ["get", "patch", "update"]}
                for s in r.subresources
            ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}


def api_groups() -> dict[str, Any]:
    """Return the ``APIGroupList``."""
    groups = dict.fromkeys(gv.rpartition("/")[0] for gv in GROUP_VERSIONS if "/" in gv)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group(g) for g in groups]}


def api_group(group: str) -> dict[str, Any]:
    """Return one ``APIGroup``."""
    versions = [{"groupVersion": gv, "version": gv.split("/")[1]} for gv in GROUP_VERSIONS if gv.startswith(f"{group}/")]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": versions, "preferredVersion": versions[0]}


def openapi_index() -> dict[str, Any]:
    """Return the index of OpenAPI v3 documents."""
    roots = ["api/v1" if gv == "v1" else f"apis/{gv}" for gv in GROUP_VERSIONS]
    return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}}


def openapi_paths(root: str) -> dict[str, Any]:
    """Return an OpenAPI v3 document without schemas: it tells clients that the server validates fields and tries changes."""
    group_version = root.removeprefix("apis/").removeprefix("api/")
    group, _, version = group_version.rpartition("/")
    paths = {}
    for r in RESOURCES:
        if r.group_version == group_version:
            base = f"/{root}/" + ("namespaces/{namespace}/" if r.namespaced else "") + r.plural + "/{name}"
            names = ("fieldValidation", "dryRun", "fieldManager", "force")
            paths[base] = {
                "patch": {
                    "operationId": f"patch{r.kind}",
                    "responses": {"200": {"description": "OK"}},
                    "x-kubernetes-action": "patch",
                    "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": r.kind},
                    "parameters": [{"name": n, "in": "query", "schema": {"type": "string"}} for n in names],
                }
            }
    return {"openapi": "3.0.0", "info": {"title": "emulator", "version": "1"}, "paths": paths, "components": {"schemas": {}}}
