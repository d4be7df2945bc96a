"""A context for requests that come once a second is made once, and again when its file changes."""

import os

import pytest

from contract.trust import kept_context
from tests import tls


@pytest.fixture
def ca_file(tmp_path):
    return str(tls.certificate(tmp_path)[0])


def test_a_kept_context_is_the_same_until_its_file_changes(ca_file):
    first = kept_context(ca_file)
    assert kept_context(ca_file) is first
    changed = os.stat(ca_file).st_mtime_ns + 10**9
    os.utime(ca_file, ns=(changed, changed))
    assert kept_context(ca_file) is not first
    assert kept_context(None) is kept_context(None)


def test_a_file_that_is_gone_is_an_error_and_no_old_context(ca_file):
    kept_context(ca_file)
    os.unlink(ca_file)
    with pytest.raises(OSError, match="No such file"):
        kept_context(ca_file)
