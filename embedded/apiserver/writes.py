"""Create, replace, patch, scale and delete, with the preconditions and messages of a 1.36 API server.

Each is synchronous: nothing is awaited between the read and the write.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

from embedded.apiserver import decoding, defaults, errors, managed, pod, refusals
from embedded.apiserver.admission import Admission, admitted
from embedded.apiserver.controllers import Controllers
from embedded.apiserver.options import Options
from embedded.apiserver.resources import NAMESPACES, NODES, PODS, WORKLOADS, Resource
from embedded.apiserver.scale import replicas_of, scale_of
from embedded.apiserver.store import Object, Store

# Metadata that only the server writes.
OWN_META = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


class Writes:
    """The write verbs of one store; `controllers` deletes Pods and the dependents of workloads."""

    def __init__(self, store: Store, controllers: Controllers) -> None:
        self.store = store
        self.controllers = controllers
        self.admission: list[Admission] = []
        controllers.scale = self._scale_for
        controllers.admit = lambda made: admitted(self.admission, "pods", made, dry_run=False)

    def create(self, resource: Resource, namespace: str, body: Any, options: Options) -> Object:
        obj = decoding.whole(resource.api_version, resource.kind, body, options)
        obj = decoding.in_place(resource, obj, namespace)
        meta = obj["metadata"]
        self._must_have(resource, namespace)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + pod.letters(random.getrandbits(32), 5)
        if meta.get("name") and self.store.get(resource, meta.get("namespace", ""), meta["name"]):
            raise errors.already_exists(resource, meta["name"])
        if meta.get("resourceVersion"):
            raise errors.ApiError(500, "resourceVersion should not be set on objects to be created")
        return self._create(resource, obj, options)

    def replace(
        self, resource: Resource, namespace: str, name: str, body: Any, options: Options
    ) -> tuple[bool, Object]:
        """(whether it was created, the object): a PUT of a missing object creates it, if the kind allows that."""
        obj = decoding.whole(resource.api_version, resource.kind, body, options)
        obj = decoding.in_place(resource, obj, namespace, name)
        current = self.store.get(resource, namespace if resource.namespaced else "", name)
        uid, version = obj["metadata"].get("uid"), obj["metadata"].get("resourceVersion")
        if current is None:
            if not resource.create_on_update:
                raise errors.not_found(resource, name)
            if uid:
                key = f"/registry/{resource.plural}/{namespace}/{name}"
                raise errors.conflict(
                    resource,
                    name,
                    f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
                    f"Precondition failed: UID in precondition: {uid}, UID in object meta: ",
                )
            self._must_have(resource, namespace)
            obj["metadata"].pop("resourceVersion", None)
            return True, self._create(resource, obj, options)
        if not version and not resource.unconditional_update:
            raise errors.invalid(
                resource.plural,
                resource.group,
                name,
                "metadata.resourceVersion",
                "Invalid value: 0: must be specified for an update",
            )
        self._check(resource, current, uid, version)
        return False, self._update(resource, current, obj, options)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str,
        content_type: str,
        patch: Any,
        options: Options,
    ) -> Object:
        current = self._current(resource, namespace, name)
        obj = decoding.patched(current, content_type, patch, options)
        obj = decoding.in_place(resource, obj, namespace, name)
        meta = obj["metadata"]
        if meta.get("resourceVersion") not in (None, "", current["metadata"]["resourceVersion"]):
            raise errors.conflict(resource, name)
        if meta.get("uid") not in (None, "", current["metadata"]["uid"]):
            message = f'Invalid value: "{meta["uid"]}": field is immutable'
            raise errors.invalid(resource.kind, resource.group, name, "metadata.uid", message, times=2)
        if subresource == "status":
            obj = {**current, "status": obj.get("status", {})}
        return self._update(resource, current, obj, options, subresource)

    def scale(self, resource: Resource, namespace: str, name: str, scale: Object, options: Options) -> Object:
        """`scale`: the new Scale, from a PUT or after a patch."""
        current = self._current(resource, namespace, name)
        replicas = replicas_of(scale)
        if replicas < 0:
            message = f"Invalid value: {replicas}: must be greater than or equal to 0"
            raise errors.invalid("Scale", "autoscaling", name, "spec.replicas", message)
        meta = scale.get("metadata") or {}
        self._check(
            resource, current, meta.get("uid"), meta.get("resourceVersion"), f"{resource.plural}/scale"
        )
        entries = managed.scaled(current, replicas, options.manager)
        scale = admitted(self.admission, f"{resource.plural}/scale", scale, options.dry_run)
        changed = {**current, "spec": {**current["spec"], "replicas": replicas_of(scale)}}
        return scale_of(self._update(resource, current, changed, options, "scale", entries))

    def patch_scale(
        self, resource: Resource, namespace: str, name: str, content_type: str, patch: Any, options: Options
    ) -> Object:
        current = scale_of(self._current(resource, namespace, name))
        return self.scale(
            resource, namespace, name, decoding.patched(current, content_type, patch, options), options
        )

    def put_scale(self, resource: Resource, namespace: str, name: str, body: Any, options: Options) -> Object:
        scale = decoding.whole("autoscaling/v1", "Scale", body, options)
        return self.scale(
            resource, namespace, name, decoding.in_place(resource, scale, namespace, name), options
        )

    def _scale_for(self, resource: Resource, namespace: str, name: str, replicas: int, manager: str) -> None:
        self.scale(resource, namespace, name, {"spec": {"replicas": replicas}}, Options(manager=manager))

    def delete(self, resource: Resource, namespace: str, name: str, body: Any, options: Options) -> Object:
        """`body`: a DeleteOptions or None. Dependents are deleted in the background; orphaning is not supported."""
        current = self._current(resource, namespace, name)
        given = body if isinstance(body, dict) else {}
        if given.get("propagationPolicy") == "Orphan":
            raise errors.bad_request("propagationPolicy Orphan is not supported here")
        preconditions = given.get("preconditions") or {}
        for key, word, end in (
            ("uid", "UID", "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "modified"),
        ):
            found = current["metadata"][key]
            if preconditions.get(key) not in (None, found):
                why = f"the {word} in the precondition ({preconditions[key]}) does not match the {word} in record ({found})."
                raise errors.conflict(
                    resource, name, f"{why} The object might have been {end}", resource.kind
                )
        dry_run = options.dry_run or given.get("dryRun") == ["All"]
        if resource is PODS:
            if dry_run:
                return current
            return self.controllers.delete_pod(namespace, name, _grace_s(given)) or current
        if not dry_run:
            self.store.remove(resource, current["metadata"].get("namespace", ""), name)
            if resource in WORKLOADS:
                self.controllers.delete_pods_of(current)
        details = {**errors.details_of(resource, name), "uid": current["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def evict(self, namespace: str, name: str, body: Any, options: Options) -> Object:
        """A delete that checks the disruption budgets first."""
        eviction = decoding.whole("policy/v1", "Eviction", body, options)
        current = self._current(PODS, namespace, name)
        if (eviction.get("metadata") or {}).get("name") != name:
            raise errors.bad_request("name in URL does not match name in Eviction object")
        if refusal := self.controllers.refuses_eviction(current):
            raise refusal
        self.delete(PODS, namespace, name, eviction.get("deleteOptions"), options)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _must_have(self, resource: Resource, namespace: str) -> None:
        """In a missing namespace nothing is created; the server's error names the namespace, not the object."""
        if resource.namespaced and self.store.get(NAMESPACES, "", namespace) is None:
            raise errors.not_found(NAMESPACES, namespace)

    def _current(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self.store.get(resource, namespace if resource.namespaced else "", name)
        if found is None:
            raise errors.not_found(resource, name)
        return found

    def _check(
        self,
        resource: Resource,
        current: Object,
        uid: str | None,
        version: str | None,
        kind: str | None = None,
    ) -> None:
        meta = current["metadata"]
        if uid and uid != meta["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta['uid']}"
            raise errors.conflict(resource, meta["name"], why, kind)
        if version and version != meta["resourceVersion"]:
            raise errors.conflict(resource, meta["name"])

    def _create(self, resource: Resource, obj: Object, options: Options) -> Object:
        given = {
            key: value for key, value in obj["metadata"].items() if key not in (*OWN_META, "managedFields")
        }
        now = pod.stamp(self.controllers.now())
        meta: Object = {**given, "uid": str(uuid.uuid4()), "creationTimestamp": now}
        if resource.has_generation:
            meta["generation"] = 1
        # Only a kubelet creates an object with a status.
        if "status" in resource.subresources and resource is not NODES:
            obj = {key: value for key, value in obj.items() if key != "status"}
        obj = defaults.filled(resource.kind, {**obj, "metadata": meta})
        entries = managed.written(None, obj, options.manager, now)
        obj = admitted(self.admission, resource.plural, obj, options.dry_run)
        obj = managed.put(defaults.filled(resource.kind, obj), entries)
        if resource in WORKLOADS:
            obj["status"] = {}
        if refusal := refusals.refusal(resource, obj):
            raise refusal
        return obj if options.dry_run else self.store.put(resource, obj)

    def _update(
        self,
        resource: Resource,
        current: Object,
        obj: Object,
        options: Options,
        subresource: str = "",
        entries: list[Object] | None = None,
    ) -> Object:
        """`entries`: the owners of its fields, if already known."""
        if entries is None:
            obj = defaults.filled(resource.kind, obj)
            entries = managed.written(current, obj, options.manager, pod.stamp(self.controllers.now()))
        if not subresource:
            obj = admitted(self.admission, resource.plural, obj, options.dry_run)
        meta = {
            key: value for key, value in obj["metadata"].items() if key not in (*OWN_META, "managedFields")
        }
        meta |= {key: current["metadata"][key] for key in OWN_META if key in current["metadata"]}
        meta["resourceVersion"] = current["metadata"]["resourceVersion"]
        obj = managed.put(defaults.filled(resource.kind, {**obj, "metadata": meta}), entries)
        if subresource != "status":
            obj.pop("status", None)
            obj |= {"status": current["status"]} if "status" in current else {}
        if refusal := refusals.refusal(resource, obj):
            raise refusal
        if _generation_moves(resource, current, obj):
            obj["metadata"]["generation"] = current["metadata"]["generation"] + 1
        return obj if options.dry_run else self.store.put(resource, obj)


def _grace_s(options: Object) -> int | None:
    grace_s = options.get("gracePeriodSeconds")
    if grace_s is not None and (isinstance(grace_s, bool) or not isinstance(grace_s, int)):
        raise errors.bad_request("gracePeriodSeconds: not an int64")
    # The server treats a negative value as the shortest grace period.
    return 1 if grace_s is not None and grace_s < 0 else grace_s


def _generation_moves(resource: Resource, old: Object, new: Object) -> bool:
    """A new spec is a new generation; for a Deployment, new annotations are too; labels are not."""
    if not resource.has_generation:
        return False
    if resource.kind == "Deployment" and old["metadata"].get("annotations") != new["metadata"].get(
        "annotations"
    ):
        return True
    return bool(old.get("spec") != new.get("spec"))
