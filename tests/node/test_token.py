"""A node whose signing key is in a token (PKCS #11), as SoftHSM shows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from link_models.clock import run_virtual
from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.identity import AuthorityFolder, NodeFolder
from stack.identity.passphrase import PIN_VARIABLE
from stack.security.first_epoch import approve_request
from stack.services.messages import Mailbox, send_message
from tests.identity.softhsm import PIN, needs_softhsm, softhsm
from tests.node.test_identity import domain, member, nothing, two, update
from tests.node.test_two_nodes import SAT
from tests.node.world import EPOCH_MS


def in_token(root: Path, authority: AuthorityFolder, token: str) -> NodeFolder:
    """The ground station, enrolled with its key in a token."""
    folder = NodeFolder(root / "gs1-identity")
    request = folder.begin(
        Eid.parse("dtn://gs1/"),
        jurisdictions=["KR"],
        roles=(),
        passphrase=PIN,
        entropy=os.urandom,
        token=token,
    )
    answer, _ = approve_request(
        authority,
        nothing,
        request,
        jurisdictions=["KR"],
        roles=(),
        now_ms=EPOCH_MS,
        entropy=os.urandom,
        days=90,
    )
    folder.accept(answer, EPOCH_MS)
    return folder


@needs_softhsm
def test_what_a_token_signs_another_node_believes_and_without_it_nothing_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PIN_VARIABLE, PIN.decode())
    authority = domain(tmp_path)
    with softhsm(tmp_path / "hsm") as hsm:
        ground_folder = in_token(tmp_path, authority, hsm.token("gs1"))
        satellite_folder = member(tmp_path, authority, "sat1")
        update(authority, ground_folder)

        async def main() -> None:
            ground, satellite = two(
                tmp_path,
                ground_folder,
                satellite_folder,
                cose_sign_for=("dtn://sat1/",),
                cose_require_from=("dtn://gs1/",),
            )
            to = SAT.with_service("messages")
            async with ground, satellite, Mailbox(satellite.port) as mailbox:
                await send_message(ground.port, to, b"signed in the token")
                delivery = await mailbox.receive()
                assert bytes(delivery.payload) == b"signed in the token"
                await mailbox.done(delivery)
                gone = softhsm(tmp_path / "gone")  # as if it was taken out: its session has ended
                with gone, pytest.raises(SecurityError, match=r"token gs1.*start the node anew"):
                    await send_message(ground.port, to, b"not signed")
                assert satellite.counters()["bundles.delivered"] == 1

        run_virtual(main)


@needs_softhsm
@pytest.mark.parametrize(
    ("pin", "there", "why"),
    [
        ("wrong-one", True, "token gs1: the PIN is wrong"),
        ("", True, "token gs1: no PIN was given"),
        (PIN.decode(), False, "token gs1: it is not there"),
    ],
)
def test_a_node_does_not_start_without_its_token_and_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: str, there: bool, why: str
) -> None:
    authority = domain(tmp_path)
    with softhsm(tmp_path / "hsm") as hsm:
        folder = in_token(tmp_path, authority, hsm.token("gs1"))
    with softhsm(tmp_path / ("hsm" if there else "gone")):
        monkeypatch.setenv(PIN_VARIABLE, pin)

        async def main() -> None:
            ground, _ = two(tmp_path, folder, folder)
            with pytest.raises(ConfigError, match=why) as refused:
                async with ground:
                    pass
            assert "wrong-one" not in str(refused.value)

        run_virtual(main)
