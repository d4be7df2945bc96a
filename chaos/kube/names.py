"""How what we make on a cluster is named and labelled."""

LABEL = "app.kubernetes.io/managed-by=brownout"


def name_of(kind: str, handle: str) -> str:
    return f"brownout-{kind}-{handle.split('/')[-1]}"
