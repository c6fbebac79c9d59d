"""Opening UDP ports: what goes wrong is said clearly, and free pairs are found."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from stack.adapters import udp_sockets
from stack.adapters.loop import new_event_loop, run
from stack.adapters.udp import open_udp
from stack.core.errors import ConfigError

LOCAL = ("127.0.0.1", 0)


def test_a_port_in_use_is_a_clear_error() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(LOCAL)
            host, port = taken.getsockname()
            words = f"local: cannot bind UDP {host}:{port}: Address already in use"
            with pytest.raises(ConfigError, match=rf"{words} \(is another program using it\?"):
                await open_udp((host, port))

    asyncio.run(main())


def test_an_address_of_another_machine_is_a_clear_error() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=r"no such address; 0\.0\.0\.0 stands for all"):
            await open_udp(("192.0.2.1", 0))

    asyncio.run(main())


def test_a_pair_above_the_last_port_is_a_clear_error() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="65535"):
            await open_udp(("127.0.0.1", 65_535), repair_port=True)

    asyncio.run(main())


def test_a_name_that_does_not_resolve_is_a_clear_error() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="remote: cannot resolve"):
            await open_udp(LOCAL, ("host.invalid", 1))

    asyncio.run(main())


def test_any_free_pair_is_found_when_the_first_neighbour_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []
    bound = udp_sockets._bound

    def refuse_twice(family: int, local: tuple[object, ...], *sizes: int) -> socket.socket:
        tried.append(local[1])
        if local[1] != 0 and len(tried) < 5:
            raise OSError(errno.EADDRINUSE, "in use")
        return bound(family, local, *sizes)

    monkeypatch.setattr(udp_sockets, "_bound", refuse_twice)

    async def main() -> None:
        port = await open_udp(LOCAL, repair_port=True)
        await port.close()

    asyncio.run(main())
    assert [number == 0 for number in tried] == [True, False] * 3


def test_the_portable_path_steps_in_on_a_loop_without_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_readers(*args: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "add_reader", no_readers)
            with pytest.raises(ConfigError, match="fast path"):
                await open_udp(LOCAL, fast=True)
            sockets = udp_sockets.open_sockets(
                socket.AF_INET,
                LOCAL,
                repair_port=False,
                receive_buffer_bytes=1 << 16,
                send_buffer_bytes=1 << 16,
            )
            for sock in sockets:
                sock.close()

    asyncio.run(main())


def test_run_uses_a_new_loop_and_returns() -> None:
    async def main() -> str:
        return "done"

    assert run(main()) == "done"
    loop = new_event_loop()
    assert not loop.is_running()
    loop.close()
