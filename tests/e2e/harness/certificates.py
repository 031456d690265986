"""Certificates made by openssl for one test."""

from collections import namedtuple
from pathlib import Path

from . import machine

Certificate = namedtuple("Certificate", "cert key")


class Authority:
    """A certificate authority of its own; `path` is its certificate."""

    def __init__(self, name="test authority"):
        self.dir = machine.scratch("ca")
        self.path = self.dir / "ca.crt"
        self._key = self.dir / "ca.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.path),
        )
        machine.own(self.path, 0o644)

    @staticmethod
    def _openssl(*arguments):
        done = machine.run(["openssl", *arguments])
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")

    def issue(self, common_name, *, alternative_names="DNS:localhost,IP:127.0.0.1,IP:::1", days=2):
        """A certificate for servers and clients; the key is readable by the servers' user only."""
        stem = self.dir / f"{common_name}-{len(list(self.dir.iterdir()))}"
        cert, key, request = (Path(f"{stem}.{end}") for end in ("crt", "key", "csr"))
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={common_name}", "-keyout", key, "-out", request),
        )
        extensions = machine.write(
            Path(f"{stem}.ext"),
            f"subjectAltName={alternative_names}\n" if alternative_names else "basicConstraints=CA:FALSE\n",
        )
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self._key),
            *("-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", cert),
        )
        machine.own(cert, 0o644)
        machine.own(key, 0o600)
        return Certificate(cert, key)
