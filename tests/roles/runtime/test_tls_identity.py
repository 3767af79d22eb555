from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from roles.runtime.errors import TlsUnusable
from roles.runtime.tls_identity import TlsIdentity, TlsMetrics
from tests.roles.runtime.certificates import DAY, Pair, make_pair


def load(pair: Pair, registry: CollectorRegistry | None = None) -> TlsIdentity:
    metrics = TlsMetrics(registry or CollectorRegistry(), "t")
    return TlsIdentity(pair.certificate, pair.key, metrics=metrics)


def refusal(pair: Pair) -> TlsUnusable:
    with pytest.raises(TlsUnusable) as caught:
        load(pair)
    return caught.value


def test_a_sound_pair_is_taken_and_its_end_is_told(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    assert load(make_pair(tmp_path), registry).context
    expires = registry.get_sample_value("hashpool_t_tls_certificate_expires_seconds")
    assert expires
    assert expires > 1e9


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_missing_file_is_named_with_its_setting(tmp_path: Path, which: str) -> None:
    pair = make_pair(tmp_path)
    file: Path = getattr(pair, which)
    file.unlink()
    error = refusal(pair)
    assert error.text == f"{file} cannot be read: No such file or directory"
    assert f"tls.{which}" in error.hint


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    assert "Is a directory" in refusal(Pair(tmp_path, pair.key)).text


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_without_a_certificate_is_told(tmp_path: Path, content: bytes) -> None:
    pair = make_pair(tmp_path)
    pair.certificate.write_bytes(content)
    error = refusal(pair)
    assert error.text == f"{pair.certificate} holds no certificate"
    assert "PEM" in error.hint


def test_a_file_without_a_key_or_with_one_under_a_password_is_told(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    pair.key.write_bytes(b"nothing")
    assert "holds no key that can be used" in refusal(pair).text
    locked = make_pair(tmp_path, "locked", password=b"secret")
    error = refusal(locked)
    assert "holds no key that can be used" in error.text
    assert "password" in error.hint


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    one, other = make_pair(tmp_path, "one"), make_pair(tmp_path, "other")
    error = refusal(Pair(one.certificate, other.key))
    assert error.text == f"{other.key} is not the key of the certificate in {one.certificate}"
    assert error.hint


def test_a_key_that_everybody_can_read_is_refused_with_the_cure(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    pair.key.chmod(0o644)
    assert refusal(pair).hint == f"chmod o= {pair.key}"
    pair.key.chmod(0o640)
    assert load(pair).context


@pytest.mark.parametrize(
    ("begins", "ends", "text"),
    [(-9 * DAY, -DAY, "has expired at"), (DAY, 9 * DAY, "is not valid before")],
)
def test_a_certificate_out_of_its_time_is_refused(
    tmp_path: Path, begins: timedelta, ends: timedelta, text: str
) -> None:
    error = refusal(make_pair(tmp_path, begins=begins, ends=ends))
    assert text in error.text
    assert error.hint


def test_other_files_are_taken_over_when_they_are_sound_and_else_nothing_changes(tmp_path: Path) -> None:
    first, second = make_pair(tmp_path, "first"), make_pair(tmp_path, "second")
    identity = load(first)
    before = identity.context
    first.key.write_bytes(b"nothing")
    with pytest.raises(TlsUnusable):
        identity.reload()
    with pytest.raises(TlsUnusable):
        identity.prepare(second.certificate, first.key)
    assert identity.context is before
    take_over = identity.prepare(second.certificate, second.key)
    assert identity.context is before
    take_over()
    assert identity.context is not before
    identity.reload()
