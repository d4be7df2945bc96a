"""The authorities that are trusted for a server's certificate: this machine's, or the topology's `ca_file` instead.

Instead, as with curl's --cacert: with an authority of its own, a certificate from any other is unexpected.
"""

import functools
import os
import ssl

from contract.refusal import Refusal


def client_context(ca_file: str | None, make: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """A context that verifies the certificate and the host name. `make`: gevent has its own class. Raises OSError."""
    context = make(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=ca_file)
    return context


def kept_context(ca_file: str | None) -> ssl.SSLContext:
    """The same for requests once a second: cached, and made again when the file changes. Raises OSError.

    Reading the machine's own authorities takes 30 ms, which would delay a load generator.
    """
    return _context(ca_file, None if ca_file is None else os.stat(ca_file).st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _context(ca_file: str | None, _changed_ns: int | None) -> ssl.SSLContext:
    return client_context(ca_file)


def check(ca_file: str | None, where: str) -> None:
    """Raises Refusal if the file cannot be read, or has no certificate."""
    if ca_file is None:
        return
    try:
        client_context(ca_file)
    except ssl.SSLError:
        raise Refusal(
            f"{where}: ca_file: {ca_file} has no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        ) from None
    except OSError as e:
        raise Refusal(f"{where}: ca_file: {ca_file} cannot be read: {e.strerror}") from None
