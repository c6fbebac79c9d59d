"""A day in several jurisdictions: data and a job go where they may, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from examples.sovereign_day.world import (
    HOUR_MS,
    command,
    found_domain,
    make_nodes,
    no_passphrase,
    spread_news,
)
from orbitferry import (
    DataPolicy,
    JobContext,
    Mailbox,
    NodeSet,
    PolicyError,
    dtn_from_unix,
    dtn_to_iso,
    run_virtual,
    send_message,
)

PLACES = {"daejeon": "KR", "sat": "KR", "kiruna": "SE", "abroad": "XX", "busan": "KR"}
HOPS = {
    ("daejeon", "abroad"): 0,
    ("abroad", "sat"): 0,
    ("daejeon", "kiruna"): 1,
    ("kiruna", "sat"): 1,
}
KR, BOTH = NodeSet.parse("KR"), NodeSet.parse("KR | SE")
POLICY = DataPolicy(readers=KR, rest=BOTH, transit=BOTH, audit=True)


async def shout(context: JobContext) -> None:
    """The job."""
    context.output("out.txt").write_text(context.inputs[0].read_text().upper())


async def day(root: Path, now_ms: int) -> str:
    """The day; the id of the message that was sent."""
    authority = found_domain(root, PLACES, now_ms)
    spread_news(root, list(PLACES), now_ms)
    authority.revoke(authority.unlock(no_passphrase), "dtn://busan/", now_ms)
    spread_news(root, ["daejeon", "sat", "kiruna", "abroad"], now_ms)
    start_ms = now_ms + HOUR_MS
    nodes = make_nodes(root, HOPS, start_ms, {"shout": shout})
    scene = root / "scene.txt"
    scene.write_text("a scene of our own")
    async with contextlib.AsyncExitStack() as running:
        for node in nodes.values():
            await running.enter_async_context(node)
        ground, jobs = nodes["daejeon"], nodes["daejeon"].services.jobs
        mailbox = await running.enter_async_context(Mailbox(nodes["sat"].port))
        bundle = await send_message(ground.port, mailbox.eid, b"for KR", policy=POLICY)
        await send_message(ground.port, mailbox.eid, b"for everybody")
        job = await jobs.submit("dtn://sat/", "shout", inputs=[scene], policy=POLICY)
        for name in ("kiruna", "busan"):
            try:
                await jobs.submit(f"dtn://{name}/", "shout", inputs=[scene], policy=POLICY)
            except PolicyError as error:
                print(f"refused: {error}")
        for _ in range(2):
            delivery = await mailbox.receive()
            after = (ground.port.dtn_ms() - start_ms) / HOUR_MS
            carried = nodes["abroad"].counters().get("bundles.bundles_received", 0)
            print(
                f"at the satellite after {after:.1f} h: {bytes(delivery.payload).decode()!r};"
                f" the relay abroad was given {carried} bundle(s)"
            )
            await mailbox.done(delivery)
        result = (await jobs.wait(job)).files["out.txt"].read_text()
        print(f"the job has run at the satellite: {result}")
        await asyncio.sleep(300)  # until the logs are closed
    return str(bundle)


def audit(root: Path, bundle: str, now_ms: int) -> int:
    """What the logs of all nodes say of it; 0 when nothing speaks against them."""
    logs = []
    for name in ("daejeon", "kiruna", "sat", "abroad"):
        log = root / f"{name}.audit"
        if command("audit", "export", root / name / "data", "-o", log).returncode == 0:
            logs.append(log)
        else:
            print(f"{name} has no log, as when nothing under a policy has come there")
    directory = root / "nodes.toml"
    directory.write_text(
        "".join(
            f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{place}"]\n'
            for name, place in PLACES.items()
        )
    )
    span = ["--from", dtn_to_iso(now_ms), "--to", dtn_to_iso(now_ms + 9 * HOUR_MS)]
    story = command("audit", "story", bundle, *logs, "-d", directory)
    proof = command("audit", "prove", bundle, *logs, "-d", directory, "--rest", "KR | SE", *span)
    print(story.stdout, proof.stdout, story.stderr, proof.stderr, sep="\n")
    return story.returncode or proof.returncode


def main() -> int:
    """Run it; 0 when the audit finds nothing against it."""
    now_ms = dtn_from_unix(time.time())
    with tempfile.TemporaryDirectory(prefix="orbitferry-") as name:
        root = Path(name)
        bundle = run_virtual(lambda: day(root, now_ms))
        return audit(root, bundle, now_ms)


if __name__ == "__main__":
    sys.exit(main())
