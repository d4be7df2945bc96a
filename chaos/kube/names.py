"""Names and labels of the objects that we create on a cluster."""

LABEL = "app.kubernetes.io/managed-by=brownout"


def name_of(kind: str, handle: str) -> str:
    return f"brownout-{kind}-{handle.split('/')[-1]}"
