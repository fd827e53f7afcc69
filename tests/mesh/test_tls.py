"""TLS with client certificates on the real server: who has the right ones works, all others learn what to mend."""

import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from jetmesh.jetstream import certificates, tls
from jetmesh.runtime.context import connect
from jetmesh.service import Service
from jetmesh.settings import Settings, SettingsError, read
from jetmesh.telemetry import providers
from jetmesh.testing import Broker, LocalMesh, until
from jetmesh.topology import accounts, nkeys
from jetmesh_shop.flow import SERVICES
from tests.mesh.whole import whole_mesh
from tests.support.samples import body

NAME = "localhost"
SECONDS = "2"


@dataclass(frozen=True, slots=True)
class Files:
    """Certificates made for one test: the mesh's CA with the broker's and a client's pair, and another CA with one."""

    folder: Path

    def make(self) -> None:
        """Write them."""
        for name in ("ours", "theirs"):
            ca = trustme.CA()
            ca.cert_pem.write_to_path(self.folder / f"{name}.ca.pem")
            for who, host in (("server", NAME), ("client", "client.example.com")):
                pair = ca.issue_cert(host)
                pair.cert_chain_pems[0].write_to_path(self.folder / f"{name}.{who}.pem")
                pair.private_key_pem.write_to_path(self.folder / f"{name}.{who}.key")

    def path(self, name: str) -> str:
        """The file of this name."""
        return str(self.folder / name)

    @staticmethod
    def put(files: dict[str, str], places: dict[str, Path]) -> None:
        """Write each file where the variable of its name points to."""
        for name, path in files.items():
            places[name].write_bytes(Path(path).read_bytes())

    def client(self, ca: str = "ours", pair: str = "ours") -> dict[str, str]:
        """The variables of a client that trusts this CA and has a pair that this one signed; none, if empty."""
        own = {tls.CERTIFICATE: self.path(f"{pair}.client.pem"), tls.KEY: self.path(f"{pair}.client.key")}
        return {tls.CA: self.path(f"{ca}.ca.pem"), **(own if pair else {})}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The certificates."""
    made = Files(tmp_path / "tls")
    made.folder.mkdir()
    made.make()
    return made


@pytest.fixture
def verifying(tmp_path: Path, files: Files) -> Iterator[Broker]:
    """A broker that asks every client for a certificate and a key of its account."""
    server = {"cert_file": files.path("ours.server.pem"), "key_file": files.path("ours.server.key")}
    block = json.dumps({**server, "ca_file": files.path("ours.ca.pem"), "verify": True})
    users = nkeys.ensure(tmp_path / "keys", nkeys.users(SERVICES))
    (tmp_path / "nats.conf").write_text(f"tls: {block}\n{accounts.configuration(SERVICES, users)}")
    with Broker(tmp_path / "broker", "-c", str(tmp_path / "nats.conf")) as server_:
        yield server_


def settings_of(broker: Broker, tmp_path: Path, user: str, host: str = NAME, **variables: str) -> Settings:
    """A user of the mesh, on the way to the broker under this name."""
    seed = str(nkeys.seed_file(tmp_path / "keys", user))
    own = {"NATS_URL": f"nats://{host}:{broker.port}", "JETMESH_NATS_NKEY_SEED": seed}
    return read(Settings, {**own, "JETMESH_CONNECT_SECONDS": SECONDS, **variables})


async def refusal(settings: Settings) -> str:
    """What who can't connect is told."""
    with pytest.raises(ConnectionError) as refused:
        async with connect(settings, providers.start("test", {}), "test"):
            pass
    return str(refused.value)


def identity(folder: Path, name: str) -> dict[str, str]:
    """The account of a service."""
    return {
        "JETMESH_NATS_NKEY_SEED": str(nkeys.seed_file(folder, name)),
        "JETMESH_NATS_MICRO_NKEY_SEED": str(nkeys.seed_file(folder, f"{name}-micro")),
        "JETMESH_NATS_API_PREFIX": accounts.API_PREFIX,
    }


async def test_a_service_knows_when_the_certificates_of_its_connection_end(
    verifying: Broker, files: Files, tmp_path: Path
) -> None:
    settings = settings_of(verifying, tmp_path, "operator", **files.client())
    async with connect(settings, providers.start("test", {}), "test") as mesh:
        ends = certificates.ends(settings, mesh.connection.server.certificate)
    assert set(ends) == {"broker", "client", "ca"}
    assert all(end > time.time() for end in ends.values())


async def test_the_whole_mesh_runs_with_accounts_and_client_certificates(
    verifying: Broker, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:

        async def mesh_of(*services: Service, **environment: Any) -> LocalMesh:
            seed = str(nkeys.seed_file(tmp_path / "keys", "operator"))
            url = f"nats://{NAME}:{verifying.port}"
            own = {"NATS_URL": url, "JETMESH_NATS_NKEY_SEED": seed, **files.client()}
            mesh = await stack.enter_async_context(LocalMesh(services, (), {**own, **environment}))
            for service in services:
                await mesh.start(service, **identity(tmp_path / "keys", service.name))
            return mesh

        async with whole_mesh(mesh_of, tmp_path, monkeypatch) as whole:
            await whole.mesh.publish("orders.placed", body("o-1"))
            await whole.is_balanced(await whole.ended("o-1"))
            verifying.restart()
            await whole.mesh.publish("orders.placed", body("o-2"))
            await whole.is_balanced(await whole.ended("o-2"))


async def test_a_renewed_ca_and_certificate_are_used_at_the_next_connect(
    verifying: Broker, files: Files, tmp_path: Path
) -> None:
    """The broker moves to another CA; the client's files are replaced in place, and nobody restarts it."""
    mine = {name: tmp_path / Path(path).name for name, path in files.client().items()}
    files.put(files.client(), mine)
    settings = settings_of(verifying, tmp_path, "operator", **{name: str(path) for name, path in mine.items()})
    config = tmp_path / "nats.conf"
    async with connect(settings, providers.start("test", {}), "test") as mesh:
        config.write_text(config.read_text().replace("ours.", "theirs."))
        verifying.restart()
        await until(lambda: "is not trusted" in mesh.connection.trouble)
        files.put(files.client(ca="theirs", pair="theirs"), mine)
        await until(lambda: not mesh.connection.trouble, 20)
        await mesh.connection.flush()


@pytest.mark.parametrize(
    ("client", "host", "says"),
    [
        (
            {"pair": ""},
            NAME,
            "asks for a client's certificate: JETMESH_NATS_TLS_CERTIFICATE and JETMESH_NATS_TLS_KEY must",
        ),
        (
            {"pair": "theirs"},
            NAME,
            "does not take the certificate of JETMESH_NATS_TLS_CERTIFICATE: a CA that it trusts",
        ),
        (
            {"ca": "theirs"},
            NAME,
            "is not trusted (unable to get local issuer certificate): JETMESH_NATS_TLS_CA must name",
        ),
        (
            {},
            "127.0.0.1",
            "is for another name (IP address mismatch, certificate is not valid for '127.0.0.1'.): NATS_URL",
        ),
    ],
    ids=["no certificate", "another CA's certificate", "another CA", "another name"],
)
async def test_who_is_refused_learns_which_setting_to_mend(
    verifying: Broker, files: Files, tmp_path: Path, client: dict[str, str], host: str, says: str
) -> None:
    settings = settings_of(verifying, tmp_path, "operator", host, **files.client(**client))
    assert says in await refusal(settings)


async def test_who_does_not_ask_for_tls_learns_whom_to_trust(verifying: Broker, files: Files, tmp_path: Path) -> None:
    assert f"{tls.CA} must name the CA" in await refusal(settings_of(verifying, tmp_path, "operator"))


async def test_a_broker_in_the_clear_is_not_spoken_to_where_tls_was_asked_for(broker: Broker, files: Files) -> None:
    url = f"nats://ada:secret@{NAME}:{broker.port}"
    settings = read(Settings, {"NATS_URL": url, "JETMESH_CONNECT_SECONDS": SECONDS, **files.client()})
    said = await refusal(settings)
    assert "the broker does not ask for TLS" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({tls.CA: "none.pem"}, f"{tls.CA}: .*none.pem: No such file"),
        ({tls.CA: "ours.client.key"}, f"{tls.CA}: .* has no certificate in PEM"),
        ({tls.KEY: "ours.client.key"}, f"{tls.CERTIFICATE}: {tls.KEY} is set, and this is not"),
        ({tls.CERTIFICATE: "ours.client.pem"}, f"{tls.CERTIFICATE}, {tls.KEY}: no certificate with its key in PEM"),
        ({tls.CERTIFICATE: "ours.client.pem", tls.KEY: "none.key"}, f"{tls.KEY}: .*none.key: No such file"),
        ({tls.CERTIFICATE: "ours.client.pem", tls.KEY: "theirs.client.key"}, f"{tls.KEY}: .* is not the key of"),
        ({tls.CERTIFICATE: "ours.client.pem", tls.KEY: "locked.key"}, f"{tls.KEY}: .*locked.key has a passphrase"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_with_its_setting(
    files: Files, variables: dict[str, str], says: str
) -> None:
    key = load_pem_private_key(Path(files.path("ours.client.key")).read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase"))
    Path(files.path("locked.key")).write_bytes(locked)
    settings = read(Settings, {name: files.path(file) for name, file in variables.items()})
    with pytest.raises(SettingsError, match=says) as wrong:
        tls.context(settings)
    assert "PRIVATE KEY" not in str(wrong.value)
