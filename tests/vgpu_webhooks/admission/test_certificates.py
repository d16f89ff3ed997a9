import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vgpu_webhooks.admission.certificates import CertificateError, Certificates


def write_pair(folder: Path, name: str) -> None:
    """Replaces the pair in the folder by a new self-signed one for ``name``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    since = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    )
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(since).not_valid_after(since + timedelta(days=36500))
    signed = builder.sign(key, hashes.SHA256())
    replace(folder / "tls.crt", signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    replace(
        folder / "tls.key",
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain),
    )


def replace(path: Path, content: bytes) -> None:
    """As a kubelet renews a Secret: another file takes the name."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


def served_name(certificates: Certificates) -> str:
    """The name in the certificate that a client is shown, by a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = certificates.context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    name = x509.load_der_x509_certificate(shown).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return str(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pair(tmp_path, "first")
    return tmp_path


@pytest.fixture
def certificates(folder: Path) -> Certificates:
    return Certificates(folder / "tls.crt", folder / "tls.key")


def test_a_renewed_pair_is_served_by_the_same_context(folder: Path, certificates: Certificates) -> None:
    before = served_name(certificates)
    write_pair(folder, "second")

    assert certificates.refresh()
    assert (before, served_name(certificates)) == ("first", "second")


def test_files_that_did_not_change_are_not_read_again(certificates: Certificates) -> None:
    assert not certificates.refresh()


def test_a_half_written_pair_leaves_the_old_one_serving(
    folder: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    key = (folder / "tls.key").read_bytes()
    write_pair(folder, "second")
    replace(folder / "tls.key", key)

    certificates.refresh_or_log()

    assert "certificate kept" in caplog.text
    assert served_name(certificates) == "first"


def test_a_pair_completed_later_is_served(folder: Path, certificates: Certificates) -> None:
    (folder / "tls.key").unlink()
    certificates.refresh_or_log()
    write_pair(folder, "second")

    assert certificates.refresh()
    assert served_name(certificates) == "second"


@pytest.mark.parametrize("content", [None, b"", b"no pem"])
def test_without_a_usable_pair_it_says_what_to_do(folder: Path, content: bytes | None) -> None:
    (folder / "tls.key").unlink()
    if content is not None:
        (folder / "tls.key").write_bytes(content)

    with pytest.raises(CertificateError, match=r"expected a PEM certificate in .* put a matching pair there"):
        Certificates(folder / "tls.crt", folder / "tls.key")


def test_the_end_of_the_pair_that_is_served_is_known(folder: Path) -> None:
    certificates = Certificates(folder / "tls.crt", folder / "tls.key")

    assert datetime.fromtimestamp(certificates.expires_at, UTC) == datetime(2125, 12, 8, tzinfo=UTC)
