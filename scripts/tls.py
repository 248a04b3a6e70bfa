"""Creates the files that nginx needs (``make up TLS=1`` or ``SCALE=2``): ``tls.py PRIVATE PUBLIC`` (two folders).

PRIVATE gets the server's key with its certificate, and nginx.conf. PUBLIC gets the CA's certificate. Creates new
certificates only if a name has changed or they expire soon. With NGINX_SCHEME=http there is only nginx.conf.
"""

import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICES = ("IDP", "DISPATCH", "MANAGER", "LEARN")
DAYS = 800  # Apple's systems accept at most 825
RENEW_DAYS = 30


def make(names: list[str]) -> tuple[bytes, bytes]:
    """The server's key, certificate and CA in one file, and the CA's certificate.

    The CA signs this one certificate. Its key is never written, so it can sign no other: a browser that trusts this
    CA trusts these names only.
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
    """The common parts of both certificates. Strict verifiers require both key identifiers."""
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
    """Whether the existing certificate has these names and does not expire soon."""
    if not server_pem.exists():
        return False
    own = x509.load_pem_x509_certificates(server_pem.read_bytes())[0]
    known = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has_time = own.not_valid_after_utc > datetime.now(UTC) + timedelta(days=RENEW_DAYS)
    return has_time and known.get_values_for_type(x509.DNSName) == names


def write(path: Path, content: bytes, mode: int) -> None:
    """Write atomically; the file never has more permissions than ``mode``."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)


def without_tls(nginx_conf: str) -> str:
    """The configuration for plain http."""
    return re.sub(r"^ *(ssl_|http2 ).*\n", "", nginx_conf, flags=re.MULTILINE).replace(" ssl;", ";")


def main(private: Path, public: Path) -> None:
    names = [urlsplit(os.environ[f"PICKUP_{service}_URL"]).hostname or "" for service in SERVICES]
    uses_tls = os.environ.get("NGINX_SCHEME") != "http"
    if uses_tls and not (is_good(private / "server.pem", names) and (public / "ca.pem").exists()):
        server_pem, ca_pem = make(names)
        write(public / "ca.pem", ca_pem, 0o644)
        write(private / "server.pem", server_pem, 0o600)
        print("made a certificate for", *names)
    nginx_conf = Path(__file__).with_name("nginx.conf").read_text("utf-8")
    for service in SERVICES:
        nginx_conf = nginx_conf.replace(f"@{service}_PORT@", os.environ[f"PICKUP_{service}_PORT"])
    if not uses_tls:
        nginx_conf = without_tls(nginx_conf)
    write(private / "nginx.conf", nginx_conf.encode(), 0o600)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
