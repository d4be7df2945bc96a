"""A certificate for 127.0.0.1, created by the machine's openssl. kubectl sends its token over TLS only, so without TLS it
is anonymous; the client libraries send their token over plain HTTP too."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

COMMAND = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650"
    " -subj /CN=brownout-embedded -addext subjectAltName=IP:127.0.0.1"
)


@dataclass(frozen=True)
class Certificate:
    """The files of a self-signed certificate and of its key (mode 0600)."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make(directory: Path) -> Certificate | None:
    """None if openssl is missing or fails; then the API is served without TLS."""
    made = Certificate(directory / "apiserver.crt", directory / "apiserver.key")
    try:
        made.key.unlink(missing_ok=True)
        made.key.touch(mode=0o600)
        subprocess.run(
            [*COMMAND.split(), "-out", str(made.certificate), "-keyout", str(made.key)],
            check=True,
            capture_output=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return made
