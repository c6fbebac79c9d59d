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
    make_plan,
    no_passphrase,
    spread_news,
    write_places,
)
from orbitferry import (
    DataPolicy,
    JobContext,
    Mailbox,
    NodeSet,
    PolicyError,
    dtn_from_unix,
    dtn_to_iso,
    dump_plan,
    run_virtual,
    send_message,
)

LAWS = {"daejeon": "KR", "sat1": "KR", "kiruna": "SE", "abroad": "XX", "busan": "KR"}
SPOTS = {
    "daejeon": (36.4, 127.4),
    "kiruna": (67.9, 20.2),
    "abroad": (13.0, 100.5),
    "busan": (35.1, 129.0),
}
HOPS = {
    ("daejeon", "abroad"): 0,
    ("abroad", "sat1"): 0,
    ("daejeon", "kiruna"): 1,
    ("kiruna", "sat1"): 1,
}
KR, BOTH = NodeSet.parse("KR"), NodeSet.parse("KR | SE")
POLICY = DataPolicy(readers=KR, rest=BOTH, transit=BOTH, audit=True)


async def shout(context: JobContext) -> None:
    """The job."""
    context.output("out.txt").write_text(context.inputs[0].read_text().upper())


async def day(root: Path, now_ms: int) -> str:
    """The day; the id of the message that was sent."""
    authority = found_domain(root, LAWS, now_ms)
    spread_news(root, list(LAWS), now_ms)
    authority.revoke(authority.unlock(no_passphrase), "dtn://busan/", now_ms)
    spread_news(root, ["daejeon", "sat1", "kiruna", "abroad"], now_ms)
    start_ms = now_ms + HOUR_MS
    nodes = make_nodes(root, HOPS, start_ms, {"shout": shout})
    scene = root / "scene.txt"
    scene.write_text("a scene of our own")
    async with contextlib.AsyncExitStack() as running:
        for node in nodes.values():
            await running.enter_async_context(node)
        ground, jobs = nodes["daejeon"], nodes["daejeon"].services.jobs
        mailbox = await running.enter_async_context(Mailbox(nodes["sat1"].port))
        bundle = await send_message(ground.port, mailbox.eid, b"for KR", policy=POLICY)
        await send_message(ground.port, mailbox.eid, b"for everybody")
        job = await jobs.submit("dtn://sat1/", "shout", inputs=[scene], policy=POLICY)
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


def check(root: Path, reports: Path, now_ms: int) -> None:
    """Before anything is sent: who may have it, as a table and a map."""
    (root / "policy.toml").write_text(
        f'readers = "{POLICY.readers}"\nrest = "{POLICY.rest}"\ntransit = "{POLICY.transit}"\n'
    )
    (root / "nodes.toml").write_text(  # who is revoked is not named
        "".join(
            f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{law}"]\n'
            for name, law in LAWS.items()
            if name != "busan"
        )
    )
    write_places(root / "places.toml", SPOTS, now_ms)
    dump_plan(make_plan(HOPS, now_ms + HOUR_MS), root / "plan.json")
    where = ["-d", root / "nodes.toml", "--places", root / "places.toml"]
    asked = [root / "policy.toml", root / "plan.json", "dtn://daejeon/", "dtn://sat1/", *where]
    print(command("policy", "check", *asked, "--report", reports).stdout)


def audit(root: Path, reports: Path, bundle: str, now_ms: int) -> int:
    """What the logs of all nodes say of it; 0 when nothing speaks against them."""
    logs = []
    for name in ("daejeon", "kiruna", "sat1", "abroad"):
        log = root / f"{name}.audit"
        if command("audit", "export", root / name / "data", "-o", log).returncode == 0:
            logs.append(log)
        else:
            print(f"{name} has no log, as when nothing under a policy has come there")
    span = ["--from", dtn_to_iso(now_ms), "--to", dtn_to_iso(now_ms + 9 * HOUR_MS)]
    about = [bundle, *logs, "-d", root / "nodes.toml"]
    page = ["--html", reports / "story.html", "--places", root / "places.toml"]
    story = command("audit", "story", *about, *page)
    proof = command("audit", "prove", *about, "--rest", "KR | SE", *span)
    print(story.stdout, proof.stdout, story.stderr, proof.stderr, sep="\n")
    print(f"before: {reports / 'report.html'}; after: {reports / 'story.html'}")
    return story.returncode or proof.returncode


def main(reports: Path) -> int:
    """Run it, and write two pages; 0 when the audit finds nothing against it."""
    now_ms = dtn_from_unix(time.time())
    with tempfile.TemporaryDirectory(prefix="orbitferry-") as name:
        root = Path(name)
        check(root, reports, now_ms)
        bundle = run_virtual(lambda: day(root, now_ms))
        return audit(root, reports, bundle, now_ms)


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:] or ["out/sovereign_day"])))
