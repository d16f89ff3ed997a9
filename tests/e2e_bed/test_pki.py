"""Certificates of the bed are good for what they are issued for."""

import datetime
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from vgpu_e2e import pki

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_is_signed_by_its_authority(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path, now=NOW)

    issued = authority.issue("server", common_name="server")

    read(issued.certificate).verify_directly_issued_by(read(authority.certificate))


def test_hosts_are_names_or_addresses(tmp_path: Path) -> None:
    issued = pki.Authority(tmp_path, now=NOW).issue("s", common_name="s", hosts=["localhost", "127.0.0.1"])

    names = read(issued.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_an_identity_carries_its_user_and_groups(tmp_path: Path) -> None:
    issued = pki.Authority(tmp_path, now=NOW).issue("a", common_name="jane", organizations=["one", "two"])

    subject = read(issued.certificate).subject

    assert [each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["jane"]
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [each.value for each in groups] == ["one", "two"]


def test_a_certificate_is_valid_around_the_time_it_was_issued(tmp_path: Path) -> None:
    issued = read(pki.Authority(tmp_path, now=NOW).issue("s", common_name="s").certificate)

    assert issued.not_valid_before_utc == NOW - pki.CLOCK_SKEW
    assert issued.not_valid_after_utc == NOW + pki.VALIDITY


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    issued = pki.Authority(tmp_path, now=NOW).issue("s", common_name="s")

    assert stat.S_IMODE(issued.key.stat().st_mode) == 0o600


def test_a_signing_key_is_in_the_format_that_the_api_server_reads(tmp_path: Path) -> None:
    path = pki.Authority(tmp_path, now=NOW).signing_key("tokens")

    assert path.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    serialization.load_pem_private_key(path.read_bytes(), password=None)
