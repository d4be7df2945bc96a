"""Scales a Deployment or a StatefulSet to so many replicas, and back to as many as there were.

Effective when no more live Pods than that are left and the endpoints agree: a Pod may take its whole
terminationGracePeriodSeconds, which is waited for as long as the step lasts. Restored when as many Pods are ready as were
before; a target of which none is ready is refused, and so is one of whose scale the cluster's admission makes another number.

A number that is not the original is restored where it is ours, and left alone where somebody else has made it: docs/design.md
has the rule.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from pydantic import Field

from chaos.errors import Altered, CannotInject, Foreign, NotYet
from chaos.fault import Deadman, Fault
from chaos.kube import other_controllers
from chaos.kube.cluster import API_ERRORS, MANAGER, Cluster, error_text, managers, not_tried, refused
from chaos.kube.right import Right
from chaos.kube.workload import KINDS, Workload, grace_s, is_ready, staying
from chaos.target import Target
from contract.strict import Strict

# So long a write that met a newer version is made again: annotations make versions, too, twenty a second in a storm of them.
CONFLICTS_S = 5.0
WATCH_S = 5  # how long one watch lasts
PAUSE_S = 0.5


class Options(Strict):
    replicas: int = Field(ge=0)


class ScaleTo(Fault):
    kinds = KINDS
    options = Options
    deadman = Deadman.REAPER

    def __init__(self, cluster: Cluster | None, target: Target, options: Options) -> None:
        assert cluster is not None
        self._cluster, self._replicas = cluster, options.replicas
        self._workload = Workload(cluster, target.handle)
        self._tried = False
        self._version: str | None = None  # of our own write: what comes after it is somebody else's
        # Until when nobody of ours but this process writes: the controller, up to the deadline of its record.
        self._alone_until = 0.0
        # As our last write left it, or the snapshot found it; None: its answer was lost, or we have written nothing.
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
        """A dry run of the scale, which is admitted as a real one: None where it comes to what is requested; otherwise why
        that is unknown. Raises CannotInject."""
        scale = f"a scale of {self._workload} to {self._replicas}"
        try:
            came = _replicas(self._cluster.try_scale(self._workload.kind, found, self._replicas))
        except API_ERRORS as e:
            why = refused(e)
            if why is not None:
                raise CannotInject(f"the cluster denies {scale}: {why}") from None
            return f"a dry run of {scale} gave no answer, so what the cluster makes of it is unknown: {error_text(e)}"
        if came != self._replicas:
            raise CannotInject(f"the cluster makes {came} of {scale}: its admission changes it")
        return None

    def arm(self, state: dict[str, Any], seconds: float) -> None:
        self._alone_until = time.monotonic() + seconds

    def inject(self, state: dict[str, Any]) -> None:
        over = time.monotonic() + CONFLICTS_S
        while True:
            scale = self._cluster.scale(*self._where)
            if scale is None:
                raise CannotInject(f"{self._workload} was deleted since it was looked at")
            if scale["metadata"]["uid"] != state["uid"]:
                raise CannotInject(f"{self._workload} was re-created since it was looked at")
            if _replicas(scale) != state["original"]["replicas"]:
                self._arrived(state)
                return
            # Conditional on the version just read: a write that was held up on its way finds a conflict.
            self._tried = True
            done = self._write(scale, state["set"]["replicas"])
            if done is not None:
                self._must_be_as_set(done, state)
                return
            if time.monotonic() > over:
                raise CannotInject(self._conflicts())

    def _arrived(self, state: dict[str, Any]) -> None:
        """It is not as the snapshot found it: an earlier try has arrived, though its answer has not. Raises CannotInject where it
        is somebody else's number, or not what was requested."""
        found = self._cluster.workload(*self._where)
        if found is None or not self._tried or not self._is_ours(found, state, self._came):
            now = "deleted" if found is None else f"scaled to {_replicas(found)}"
            raise CannotInject(f"{self._workload} was {now} by someone else since it was looked at")
        self._came = _replicas(found)
        self._must_be_as_set(found, state)

    def _must_be_as_set(self, came: dict[str, Any], state: dict[str, Any]) -> None:
        self._version = came["metadata"]["resourceVersion"]
        if _replicas(came) != state["set"]["replicas"]:
            raise CannotInject(self._altered(_replicas(came), state["set"]["replicas"]))

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        wanted = state["set"]["replicas"]
        if wanted > state["original"]["replicas"]:
            pods = self._workload.pods(state["uid"], state["selector"])
            ready = sum(is_ready(p) for p in staying(pods))
            if ready < wanted:
                raise NotYet(f"{ready} of {wanted} Pods ready")
            return {"ready": ready}
        seen = self._workload.look(state["uid"], state["selector"])
        if len(seen.pods) > wanted or len(seen.endpoints) > wanted:
            going = len(seen.pods) - len(staying(seen.pods))
            raise NotYet(
                f"{len(seen.pods)} Pods are left, {going} of them terminating, which may take {grace_s(seen.pods):.0f} s; "
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
        # Another may scale it after our restore, as an autoscaler does. What our own write came to is no restore.
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
                f"a scale to {left} takes none away that serves: {original['ready']} Pods are ready, and others go first"
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
                        # What came after our version is forgotten there: what is there now counts.
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
        """Scale it, unless somebody was faster: None. What it came to is kept."""
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
        """Whether it is no longer what we left, in words."""
        if found is None:
            return f"{self._workload} was deleted by someone else; there is nothing left to bring back"
        replicas = _replicas(found)
        if found["metadata"]["uid"] != state["uid"]:
            return f"{self._workload} was re-created; the new one has {replicas} replicas and is left alone"
        if replicas != state["original"]["replicas"] and not self._is_ours(found, state, self._came):
            return f"{self._scaled(found, state)} and is left alone"
        return None

    def _scaled(self, found: dict[str, Any], state: dict[str, Any]) -> str:
        """That somebody has scaled it, and what it had: its record is closed then, and nothing else would tell."""
        before = state["original"]["replicas"]
        return f"{self._workload} (replicas before the fault: {before}) was scaled to {_replicas(found)} by someone else"

    def _left(self, workload: dict[str, Any], state: dict[str, Any], came: int | None) -> bool:
        """Whether somebody has moved it off what our write came to. A restore has, whoever made it."""
        return _replicas(workload) == state["original"]["replicas"] or not self._is_ours(
            workload, state, came
        )

    def _is_ours(self, workload: dict[str, Any], state: dict[str, Any], came: int | None) -> bool:
        """Whether its replicas, which are not the original, are what a write of ours came to.

        Who owns the field has changed it last, before admission did. But a scale to zero takes the field away, for a Scale omits
        zero, and from then on nobody who scales it becomes its owner, neither we nor anybody else. Then it is known by `came`, what
        our own write came to, or one that is in the record. Without that: it is what was set; or it is the first change of the spec since the snapshot; or the
        cluster makes just this number of one of our two writes.
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
            self._would_be(workload, wanted) == replicas
            for wanted in (state["set"]["replicas"], state["original"]["replicas"])
        )

    def _would_be(self, workload: dict[str, Any], replicas: int) -> int | None:
        """What the cluster would make of a scale now; None: it denies it, or makes no dry run. Raises API_ERRORS: no answer decides
        nothing."""
        try:
            return _replicas(self._cluster.try_scale(self._workload.kind, workload, replicas))
        except API_ERRORS as e:
            if not_tried(e) or refused(e) is not None:
                return None
            raise

    def _conflicts(self) -> str:
        return f"{self._workload} is being changed by someone else: nothing but conflicts for {CONFLICTS_S:.0f} s"

    def _altered(self, came: int, requested: int) -> str:
        return f"{self._workload}: {requested} replicas were requested, and the cluster made {came} of them: its admission changes a scale"


def _replicas(found: dict[str, Any]) -> int:
    """Of a Scale, which omits them at zero, and of a workload, which never does."""
    return found["spec"].get("replicas") or 0


FAULT = ScaleTo
