"""Certificates for tests, made by the openssl command."""

import itertools
import shutil
import ssl
import subprocess

from catena import TIMEOUT_S

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, timeout=TIMEOUT_S,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def need_openssl(test):
    test.need(shutil.which("openssl"), "the openssl command is absent: install openssl")


class Authority:
    """Signs certificates; what it makes lies in `folder`."""

    def __init__(self, folder, name):
        self.certificate = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        openssl("req", "-x509", *NEW_KEY, "-days", 2, "-subj", f"/CN={name}",
                "-keyout", self._key, "-out", self.certificate)

    def sign(self, certificate, key, names):
        """Makes a key and its certificate."""
        asked = certificate.with_suffix(".csr")
        openssl("req", *NEW_KEY, "-subj", "/CN=member", "-addext", f"subjectAltName={names}",
                "-keyout", key, "-out", asked)
        openssl("x509", "-req", "-days", 2, "-CAcreateserial", "-copy_extensions", "copy",
                "-in", asked, "-CA", self.certificate, "-CAkey", self._key, "-out", certificate)


class TlsFiles:
    """What the --tls-* options name. All three files change by one rename, as in Kubernetes."""

    def __init__(self, folder, authority, names="IP:127.0.0.1,DNS:localhost"):
        self._folder = folder
        self._names = names
        self._versions = itertools.count()
        live = folder / "live"
        self.certificate, self.key = live / "tls.crt", live / "tls.key"
        self.authority = live / "ca.crt"
        self.role_options = ("--tls-cert", self.certificate, "--tls-key", self.key,
                             "--tls-ca", self.authority)
        self.renew(authority)

    def renew(self, authority):
        version = self._folder / str(next(self._versions))
        version.mkdir()
        authority.sign(version / "tls.crt", version / "tls.key", self._names)
        shutil.copyfile(authority.certificate, version / "ca.crt")
        link = self._folder / "next"
        link.symlink_to(version)
        link.replace(self._folder / "live")

    def der(self):
        """The certificate as a peer sees it."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text(encoding="ascii"))

    def context(self, member=True):
        """For a connection from Python; it shows the certificate where `member`."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        if member:
            context.load_cert_chain(self.certificate, self.key)
        return context
