"""Makes an authority, a certificate it signs, and says how long one may go on; pure but for random keys.

The authority's key is never kept: with every renewal there is a new authority.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=365)
SKEW = timedelta(hours=1)
"""How far the clocks of a cluster may be apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """PEM texts: a server's certificate, its key, and the authorities by which it can be checked."""

    certificate: bytes
    key: bytes
    authorities: bytes


def issue(host: str, *, now: datetime) -> Issued:
    """A certificate for one host name, by an authority made for it alone."""
    signing, serving = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{host} authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    authority = (
        _builder(issuer, issuer, signing.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(signing, hashes.SHA256())
    )
    certificate = (
        _builder(subject, issuer, serving.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return Issued(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=serving.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        authorities=authority.public_bytes(serialization.Encoding.PEM),
    )


def serves(found: Issued, host: str, *, now: datetime) -> bool:
    """Whether it is for the host, signed by an authority at hand, and in the first two thirds of its life."""
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate)
        key = serialization.load_pem_private_key(found.key, password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    fresh = now < certificate.not_valid_after_utc - LIFE / 3
    matches = key.public_key() == certificate.public_key() and host in names.get_values_for_type(x509.DNSName)
    return fresh and matches and any(_signed(certificate, by) for by in _read(found.authorities))


def still_valid(authorities: bytes, *, now: datetime) -> bytes:
    """Those of a bundle that have not run out, so that what they signed is trusted while it is replaced."""
    kept = (each for each in _read(authorities) if now < each.not_valid_after_utc)
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in kept)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFE)
    )


def _read(authorities: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(authorities)
    except ValueError:  # empty, or not PEM
        return []


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
