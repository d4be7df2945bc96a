"""A StatefulSet of the cluster, as namespace/name."""

from contract.fields import NamespacedName
from contract.handle_kind import HandleKind, namespace_in

HANDLE = HandleKind(given=NamespacedName, lock_in=namespace_in)
