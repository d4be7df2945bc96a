"""Scales a Deployment or a StatefulSet to a number of replicas, and back to the original number.

Effective when no more live Pods than that remain and the endpoints agree: a Pod may take its whole
terminationGracePeriodSeconds, which is waited for as long as the step lasts. Restored when as many Pods are ready as
before. Refused where no Pod is ready, and where the cluster's admission changes the number.

A number of replicas that this fault has set is restored; one that someone else has set is left alone. The rule:
docs/design.md.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from pydantic import Field

from chaos.errors import Altered, CannotInject, Foreign, NotYet
from chaos.fault import Deadman, Fault, Recorded
from chaos.kube import other_controllers
from chaos.kube.cluster import API_ERRORS, MANAGER, Cluster, api_error_text, managers, not_tried, refused
from chaos.kube.right import Right
from chaos.kube.workload import KINDS, Original, Selector, Workload, grace_s, is_ready, staying
from chaos.target import Target
from contract.strict import Strict

# How long a write is repeated after conflicts: each annotation makes a version too, up to twenty a second.
CONFLICTS_S = 5.0
WATCH_S = 5  # of one watch
PAUSE_S = 0.5


class Options(Strict):
    replicas: int = Field(ge=0, description="number of replicas to scale to")


class Set(Recorded):
    replicas: int = Field(ge=0)


class State(Recorded):
    uid: str
    generation: int | None = None
    original: Original
    set: Set
    selector: Selector | None = None
    grace_s: float = 0.0
    came: int | None = None


class ScaleTo(Fault):
    kinds = KINDS
    options = Options
    recorded = State
    deadman = Deadman.REAPER

    def __init__(self, cluster: Cluster | None, target: Target, options: Options) -> None:
        assert cluster is not None
        self._cluster, self._replicas = cluster, options.replicas
        self._workload = Workload(cluster, target.handle)
        self._tried = False
        self._version: str | None = None  # of our own write: later changes are someone else's
        # Until then no other process of ours writes: the controller, up to the deadline of its record.
        self._alone_until = 0.0
        # Replicas after our last write, or at the snapshot; None: the answer was lost, or we have written nothing.
        self._came: int | None = None

    def snapshot(self) -> dict[str, Any]:
        workload = self._workload
        found = workload.read()
        replicas = found["spec"].get("replicas", 1)
        if not replicas:
            raise CannotInject(f"{workload} has no replicas: there is nothing to take away")
        if replicas == self._replicas:
            raise CannotInject(f"{workload} has {replicas} replicas already: there is nothing to change")
        uid, selector = found["metadata"]["uid"], found["spec"]["selector"]
        seen = workload.look(uid, selector)
        self._alone_until, self._came = math.inf, replicas
        state = {
            "uid": uid,
            "generation": found["metadata"].get("generation"),
            "original": workload.original(found, seen),
            "set": {"replicas": self._replicas},
            "selector": selector,
            "grace_s": grace_s(seen.pods) if self._replicas < replicas else 0.0,
        }
        untried = self._try(found)
        return state | ({"untried": untried} if untried else {})

    def _try(self, found: dict[str, Any]) -> str | None:
        """A dry run of the scale, which passes admission as a real one does. None: the result is as requested; otherwise why the
        result is unknown. Raises CannotInject."""
        scale = f"a scale of {self._workload} to {self._replicas}"
        try:
            came = _replicas(self._cluster.try_scale(self._workload.kind, found, self._replicas))
        except API_ERRORS as e:
            why = refused(e)
            if why is not None:
                raise CannotInject(f"the cluster denies {scale}: {why}") from None
            return f"a dry run of {scale} got no answer, so its result is unknown: {api_error_text(e)}"
        if came != self._replicas:
            raise CannotInject(f"the cluster changes {scale} into {came}: its admission does so")
        return None

    def arm(self, state: dict[str, Any], seconds: float) -> None:
        self._alone_until = time.monotonic() + seconds

    def inject(self, state: dict[str, Any]) -> None:
        over = time.monotonic() + CONFLICTS_S
        while True:
            scale = self._cluster.scale(*self._where)
            if scale is None:
                raise CannotInject(f"{self._workload} was deleted after the snapshot")
            if scale["metadata"]["uid"] != state["uid"]:
                raise CannotInject(f"{self._workload} was re-created after the snapshot")
            if _replicas(scale) != state["original"]["replicas"]:
                self._arrived(state)
                return
            # Conditional on the version just read: a delayed write meets a conflict.
            self._tried = True
            done = self._write(scale, state["set"]["replicas"])
            if done is not None:
                self._must_be_as_set(done, state)
                return
            if time.monotonic() > over:
                raise CannotInject(self._conflicts())

    def _arrived(self, state: dict[str, Any]) -> None:
        """The number differs from the snapshot: an earlier try arrived, and its answer was lost. Raises CannotInject where someone
        else has set the number, or it is not the requested one."""
        found = self._cluster.workload(*self._where)
        if found is None or not self._tried or not self._is_ours(found, state, self._came):
            now = "deleted" if found is None else f"scaled to {_replicas(found)}"
            raise CannotInject(f"{self._workload} was {now} by someone else after the snapshot")
        self._came = _replicas(found)
        self._must_be_as_set(found, state)

    def _must_be_as_set(self, came: dict[str, Any], state: dict[str, Any]) -> None:
        self._version = came["metadata"]["resourceVersion"]
        if _replicas(came) != state["set"]["replicas"]:
            raise CannotInject(self._altered(_replicas(came), state["set"]["replicas"]))

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        target = state["set"]["replicas"]
        if target > state["original"]["replicas"]:
            pods = self._workload.pods(state["uid"], state["selector"])
            ready = sum(is_ready(p) for p in staying(pods))
            if ready < target:
                raise NotYet(f"{ready} of {target} Pods ready")
            return {"ready": ready}
        seen = self._workload.look(state["uid"], state["selector"])
        if len(seen.pods) > target or len(seen.endpoints) > target:
            going = len(seen.pods) - len(staying(seen.pods))
            raise NotYet(
                f"{len(seen.pods)} Pods remain, {going} of them terminating, which may take {grace_s(seen.pods):.0f} s; "
                f"endpoints of {len(seen.endpoints)}"
            )
        return {"pods": len(seen.pods), "endpoints": len(seen.endpoints)}

    def restore(self, state: dict[str, Any]) -> None:
        original = state["original"]["replicas"]
        assert original, "an original of nothing is never recorded"
        over = time.monotonic() + CONFLICTS_S
        while True:
            found = self._cluster.workload(*self._where)
            words = self._foreign(found, state)
            if words:
                raise Foreign(words)
            assert found is not None, "what is gone is foreign"
            if _replicas(found) == original:
                return
            done = self._write(found, original)
            if done is not None:
                self._workload.written()
                if _replicas(done) != original:
                    raise Altered(self._altered(_replicas(done), original), {"came": _replicas(done)})
                return
            if time.monotonic() > over:
                raise NotYet(self._conflicts())

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        original = state["original"]["replicas"]
        found = self._cluster.workload(*self._where)
        if found is not None and found["metadata"]["uid"] != state["uid"]:
            raise Foreign(self._foreign(found, state))
        # An autoscaler may scale it after our restore. The result of our own inject is not a restore.
        if found is not None and (replicas := _replicas(found)) != original:
            if self._is_ours(found, state, self._came):
                as_set = f"{self._workload} has {replicas} of {original} replicas, as the fault has set it"
                raise NotYet(
                    as_set if replicas == state["set"]["replicas"] else self._altered(replicas, original)
                )
            if not replicas:
                raise NotYet(f"{self._scaled(found, state)} since it was restored")
        more = state["set"]["replicas"] > state["original"]["replicas"]
        return self._workload.back(state["original"], no_more=more)

    @property
    def missing(self) -> str:
        return self._workload.missing

    def takes_s(self, state: dict[str, Any]) -> float:
        return float(state["grace_s"])

    def remarks(self, state: dict[str, Any]) -> list[str]:
        found = self._workload.remarks(state["original"])
        left, original = state["set"]["replicas"], state["original"]
        if original["ready"] <= left < original["replicas"]:
            found.append(
                f"a scale to {left} removes no serving Pod: {original['ready']} Pods are ready, and unready ones go first"
            )
        return found + ([state["untried"]] if "untried" in state else [])

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        workload, version, where, came = self._workload, self._version, self._where, self._came
        while version is not None and not over():
            try:
                for event in self._cluster.watch_workload(*where, version, WATCH_S):
                    if over():
                        return None
                    if event["type"] == "ERROR":
                        # The server no longer has the events after our version: read the current object.
                        found = self._cluster.workload(*where)
                        event = {"type": "MODIFIED", "object": found} if found else {"type": "DELETED"}
                    if event["type"] == "DELETED":
                        return f"{workload} was deleted by someone else"
                    if event["type"] == "MODIFIED":
                        found = event["object"]
                        version = found["metadata"]["resourceVersion"]
                        if self._left(found, state, came):
                            return self._scaled(found, state)
            except API_ERRORS:
                time.sleep(PAUSE_S)
        return None

    def rights(self) -> list[Right]:
        return self._workload.rights("get", "patch")

    def others(self) -> list[str]:
        return other_controllers.of(self._cluster, self._workload, self._replicas)

    @property
    def _where(self) -> tuple[str, str, str]:
        return self._workload.kind, self._workload.namespace, self._workload.name

    def _write(self, found: dict[str, Any], replicas: int) -> dict[str, Any] | None:
        """Scale it and keep the resulting number; None: someone else wrote first."""
        before, self._came = self._came, None
        try:
            done = self._cluster.set_scale(self._workload.kind, found, replicas)
        except API_ERRORS as e:
            if refused(e) is not None:
                self._came = before  # nothing was written
            raise
        self._came = before if done is None else _replicas(done)
        return done

    def _foreign(self, found: dict[str, Any] | None, state: dict[str, Any]) -> str | None:
        """Why it is no longer as we left it, in words; None: it is."""
        if found is None:
            return f"{self._workload} was deleted by someone else; there is nothing left to restore"
        replicas = _replicas(found)
        if found["metadata"]["uid"] != state["uid"]:
            return f"{self._workload} was re-created; the new one has {replicas} replicas and is left alone"
        if replicas != state["original"]["replicas"] and not self._is_ours(found, state, self._came):
            return f"{self._scaled(found, state)} and is left alone"
        return None

    def _scaled(self, found: dict[str, Any], state: dict[str, Any]) -> str:
        """That someone else has scaled it, and the original number: its record is closed then, so this is the only trace."""
        before = state["original"]["replicas"]
        return f"{self._workload} (replicas before the fault: {before}) was scaled to {_replicas(found)} by someone else"

    def _left(self, workload: dict[str, Any], state: dict[str, Any], came: int | None) -> bool:
        """Whether the number is no longer the result of our write. True after any restore too."""
        return _replicas(workload) == state["original"]["replicas"] or not self._is_ours(
            workload, state, came
        )

    def _is_ours(self, workload: dict[str, Any], state: dict[str, Any], came: int | None) -> bool:
        """Whether its replicas, which differ from the original, are the result of a write of ours.

        The field's manager has changed it last, before admission did. But a scale to zero removes the field (a Scale omits zero),
        and later scales get no manager at all. Then the number decides: `came`, the result of our own write, or the one in the
        record. Without these it is ours if it is the number that was set, or the first change of the spec since the snapshot,
        or the number that the cluster makes of one of our two writes.
        """
        if workload["metadata"]["uid"] != state["uid"]:
            return False
        wrote, replicas = managers(workload, "spec", "replicas") or set(), _replicas(workload)
        if wrote - {MANAGER}:
            return False
        if replicas in (came, state.get("came")):
            return True
        if came is not None and time.monotonic() < self._alone_until:
            return False
        before = state.get("generation")
        if before is not None and workload["metadata"].get("generation") == before + 1:
            return True
        if replicas == state["set"]["replicas"]:
            return True
        return any(
            self._would_be(workload, number) == replicas
            for number in (state["set"]["replicas"], state["original"]["replicas"])
        )

    def _would_be(self, workload: dict[str, Any], replicas: int) -> int | None:
        """The replicas that a scale would result in now; None: it is denied, or a dry run is not possible. Raises API_ERRORS where
        there is no answer."""
        try:
            return _replicas(self._cluster.try_scale(self._workload.kind, workload, replicas))
        except API_ERRORS as e:
            if not_tried(e) or refused(e) is not None:
                return None
            raise

    def _conflicts(self) -> str:
        return f"{self._workload} is being changed by someone else: only conflicts for {CONFLICTS_S:.0f} s"

    def _altered(self, came: int, requested: int) -> str:
        return f"{self._workload}: {requested} replicas were requested, the cluster set {came}: its admission changes a scale"


def _replicas(found: dict[str, Any]) -> int:
    """Of a Scale, which omits them at zero, and of a workload, which never does."""
    return found["spec"].get("replicas") or 0


FAULT = ScaleTo
