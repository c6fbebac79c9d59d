"""What forward error correction costs: ``python -m tests.benchmarks.bench_fec``.

Rates are MB of data per second, the best of many rounds; the peer in the same run is reedsolo.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from stack.core.train import Train
from stack.fec.erasure import NumpyErasureCode, ReedsoloErasureCode
from stack.fec.framework import FecConfig, FecReceiver, FecSender
from stack.fec.reed_solomon import LinkCodeConfig, NumpyLinkCode, ReedsoloLinkCode
from tests.strategies.fec import U8

SECONDS = 0.4


def best_s(call: Callable[[], object], seconds: float = SECONDS) -> float:
    """The shortest of the calls that fit into `seconds`."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best


def erasure(table: Table) -> None:
    """k + r symbols of 1400 octets; decoding with r of them lost, and a new loss every time."""
    rng = np.random.default_rng(1)
    reference = ReedsoloErasureCode()
    for k, r in ((64, 16), (64, 4), (64, 32), (20, 5), (200, 40)):
        code = NumpyErasureCode()
        source = rng.integers(0, 256, (k, 1_400), np.uint8)
        encode = k * 1_400 / best_s(lambda: code.encode(source, r)) / 1e6  # noqa: B023
        column = source[:, :1]
        slow = k / best_s(lambda: reference.encode(column, r), 0.05) / 1e6  # noqa: B023
        row(table, f"erasure {k}+{r}, encode", encode, slow)
        everything = np.concatenate([source, code.encode(source, r)])
        lost = sorted(rng.permutation(k)[:r].tolist())
        esis = sorted(set(range(k + r)) - set(lost))
        symbols = everything[esis]
        decode = best_s(lambda: code.recover(symbols, esis, lost))  # noqa: B023
        few = symbols[:, :1]
        slow = k / best_s(lambda: reference.recover(few, esis, lost), 0.05) / 1e6  # noqa: B023
        row(table, f"erasure {k}+{r}, decode {r}, loss seen before", k * 1_400 / decode / 1e6, slow)
        fresh = best_s(lambda: NumpyErasureCode(0).recover(symbols, esis, lost))  # noqa: B023
        setup = best_s(lambda: NumpyErasureCode(0), 0.05)
        name = f"erasure {k}+{r}, decode {r}, new loss"
        row(table, name, k * 1_400 / (fresh - setup) / 1e6, slow)


def link(table: Table) -> None:
    """RS(255,223), dual basis, 2048 codewords at a time."""
    rng = np.random.default_rng(2)
    code, reference = NumpyLinkCode(LinkCodeConfig()), ReedsoloLinkCode(LinkCodeConfig())
    frames = rng.integers(0, 256, (2_048, 223), np.uint8)
    blocks = code.encode_many(frames)
    rate = frames.size / best_s(lambda: code.encode_many(frames)) / 1e6
    slow = 223 / best_s(lambda: reference.encode_many(frames[:1]), 0.05) / 1e6
    row(table, "RS(255,223) encode", rate, slow)
    for errors, share in ((0, 1.0), (4, 0.01), (4, 1.0), (16, 1.0)):
        wrong = blocks.copy()
        for at in rng.permutation(len(wrong))[: int(len(wrong) * share)]:
            places = rng.permutation(255)[:errors]
            wrong[at, places] ^= rng.integers(1, 256, errors, np.uint8)
        rate = frames.size / best_s(lambda: code.decode_many(wrong)) / 1e6  # noqa: B023
        sample: U8 = wrong[:1]
        slow = 223 / best_s(lambda: reference.decode_many(sample), 0.05) / 1e6  # noqa: B023
        name = f"RS(255,223) decode, {errors} errors in {share:.0%}"
        row(table, name, rate, slow if share == 1.0 else None)
    wrong = blocks[:1].copy()
    wrong[0, 5] ^= 1
    alone = best_s(lambda: code.decode_many(wrong), 0.1)
    table.add_row("RS(255,223), one bad frame alone", f"{alone * 1e6:.0f} µs", "", "")


def framework(table: Table) -> None:
    """Microseconds a datagram of 1400 octets, without the coding (r = 0) and with it."""
    for r, interleave, count in ((0, 1, 64), (0, 8, 64), (0, 1, 8), (16, 1, 64), (16, 8, 64)):
        config = FecConfig(r=r, interleave=interleave)
        sender, receiver = FecSender(config), FecReceiver(config)
        train = Train(np.random.default_rng(3).bytes(1_400 * count), 1_400)
        send = receive = float("inf")
        for _ in range(10):  # rounds of whole sets of blocks
            start = time.perf_counter()
            sent = [sender.protect([train], 0) for _ in range(64)]
            middle = time.perf_counter()
            for parts in sent:
                for part in parts:
                    receiver.receive(part, 0)
            send = min(send, (middle - start) / 64)
            receive = min(receive, (time.perf_counter() - middle) / 64)
        name = f"FECFRAME r={r}, {interleave} interleaved, trains of {count}"
        figures = f"{send / count * 1e6:.2f} µs", f"{receive / count * 1e6:.2f} µs"
        table.add_row(name, f"send {figures[0]}", f"receive {figures[1]}", "")


def row(table: Table, name: str, rate: float, peer: float | None) -> None:
    if peer is None:
        table.add_row(name, f"{rate:.0f} MB/s", "", "")
    else:
        table.add_row(name, f"{rate:.0f} MB/s", f"{peer:.3f} MB/s", f"{rate / peer:,.0f}")


def main() -> None:
    """Print the table."""
    table = Table("what", "ours", "reedsolo", "ratio", title="Forward error correction")
    erasure(table)
    link(table)
    framework(table)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
