"""What the nginx of ``make up TLS=1`` needs: ``tls.py PRIVATE PUBLIC``, two folders.

In PRIVATE the server's key with its certificate, and nginx.conf; in PUBLIC the certificate of the authority that
vouches for it. Done again only when a name has changed or the time is nearly over.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICES = ("IDP", "DISPATCH", "MANAGER")
DAYS = 800  # Apple's systems take no more than 825
RENEW_DAYS = 30


def make(names: list[str]) -> tuple[bytes, bytes]:
    """The server's key, certificate and authority in one file, and the authority's certificate.

    The authority signs this one certificate and its key is forgotten, never written: nobody can make another with
    it, so that a browser which is told to trust it trusts these names and no others.
    """
    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name_of_authority = common_name(f"Pickup demo authority, {datetime.now(UTC):%Y-%m-%d}")
    ca = (
        certificate(name_of_authority, name_of_authority, authority.public_key(), authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .sign(authority, hashes.SHA256())
    )
    own = (
        certificate(common_name(names[0]), name_of_authority, server.public_key(), authority.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    key = server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ca_pem = ca.public_bytes(Encoding.PEM)
    return key + own.public_bytes(Encoding.PEM) + ca_pem, ca_pem


def certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, issuers_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    """What both certificates have in common. Strict verifiers want both key identifiers."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers_key), critical=False)
    )


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def is_good(server_pem: Path, names: list[str]) -> bool:
    """Whether the certificate that is there has these names and time left."""
    if not server_pem.exists():
        return False
    own = x509.load_pem_x509_certificates(server_pem.read_bytes())[0]
    known = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has_time = own.not_valid_after_utc > datetime.now(UTC) + timedelta(days=RENEW_DAYS)
    return has_time and known.get_values_for_type(x509.DNSName) == names


def write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than ``mode`` says."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)


def main(private: Path, public: Path) -> None:
    names = [urlsplit(os.environ[f"PICKUP_{service}_URL"]).hostname or "" for service in SERVICES]
    if not (is_good(private / "server.pem", names) and (public / "ca.pem").exists()):
        server_pem, ca_pem = make(names)
        write(public / "ca.pem", ca_pem, 0o644)
        write(private / "server.pem", server_pem, 0o600)
        print("made a certificate for", *names)
    nginx_conf = Path(__file__).with_name("nginx.conf").read_text("utf-8")
    for service in SERVICES:
        nginx_conf = nginx_conf.replace(f"@{service}_PORT@", os.environ[f"PICKUP_{service}_PORT"])
    write(private / "nginx.conf", nginx_conf.encode(), 0o600)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
