"""The Secrets that cert-manager makes of Certificates, as the kubelet mounts them: all files of a
version change by one rename."""

import itertools
import os
import shutil

from certificates import Authority

FILES = ("tls.crt", "tls.key", "ca.crt")


class Secret:
    """Of a Certificate. Readable by `user` alone."""

    def __init__(self, folder, certificate, authority, user):
        self.folder, self._authority, self._user = folder, authority, user
        self._names = ",".join(f"DNS:{n}" for n in certificate["spec"]["dnsNames"])
        self._versions = itertools.count()
        folder.mkdir()
        for file in FILES:
            (folder / file).symlink_to(f"..data/{file}")
        self.renew()

    def renew(self):
        name = f"..{next(self._versions)}"
        version = self.folder / name
        version.mkdir()
        self._authority.sign(version / "tls.crt", version / "tls.key", self._names)
        shutil.copyfile(self._authority.certificate, version / "ca.crt")
        for file in FILES:
            os.chown(version / file, self._user, self._user)
        scratch = self.folder / "..data_tmp"
        scratch.symlink_to(name)
        scratch.replace(self.folder / "..data")


class CertManager:
    """The Secrets of all Certificates among `objects`, by name."""

    def __init__(self, folder, objects, user):
        folder.mkdir()
        authority = Authority(folder, "authority")
        self.authority = authority.certificate
        self.secrets = {
            o["spec"]["secretName"]: Secret(folder / o["spec"]["secretName"], o, authority, user)
            for o in objects if o["kind"] == "Certificate" and not o["spec"].get("isCA")}

    def renew(self):
        for secret in self.secrets.values():
            secret.renew()
