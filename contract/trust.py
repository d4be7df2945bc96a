"""Who vouches for a server's certificate: those whom this machine trusts, or the topology's `ca_file` in their place.

In their place, as with curl's --cacert: where an own authority is named, a certificate from any other is a surprise.
"""

import functools
import os
import ssl

from contract.refusal import Refusal


def client_context(ca_file: str | None, make: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """Verifies the certificate and the host's name. `make`: gevent has a class of its own. Raises OSError."""
    context = make(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=ca_file)
    return context


def kept_context(ca_file: str | None) -> ssl.SSLContext:
    """The same for requests that come once a second: made once, and anew when the file changes. Raises OSError.

    Reading the machine's own authorities takes 30 ms, in which a load generator would be late.
    """
    return _context(ca_file, None if ca_file is None else os.stat(ca_file).st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _context(ca_file: str | None, _changed_ns: int | None) -> ssl.SSLContext:
    return client_context(ca_file)


def check(ca_file: str | None, where: str) -> None:
    """Raises Refusal where it cannot be read, or holds no certificate."""
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
