"""A day in several jurisdictions: data and a job go where they may, in virtual time."""

from pathlib import Path

import orbitferry as of

LAWS = {"daejeon": "KR", "sat1": "KR", "kiruna": "SE", "abroad": "XX", "busan": "KR"}
SOON, LATER = [(0, 32_400)], [(3_600, 32_400)]
PASSES_S = {("daejeon", "abroad"): SOON, ("abroad", "sat1"): SOON}
PASSES_S |= {("daejeon", "kiruna"): LATER, ("kiruna", "sat1"): LATER}
KR, BOTH = of.NodeSet.parse("KR"), of.NodeSet.parse("KR | SE")
POLICY = of.DataPolicy(readers=KR, rest=BOTH, transit=BOTH, audit=True)


async def shout(context: of.JobContext) -> None:
    context.output("out.txt").write_text(context.inputs[0].read_text().upper())


async def day(root: Path) -> str:
    """The day; the id of the message that was sent under the policy."""
    (scene := root / "scene.txt").write_text("a scene of our own")
    async with (
        of.domain_nodes(
            root, LAWS, PASSES_S, handlers={"shout": shout}, revoked=["busan"]
        ) as nodes,
        of.Mailbox(nodes["sat1"].port) as mailbox,
    ):
        ground, jobs = nodes["daejeon"].port, nodes["daejeon"].services.jobs
        start_ms = ground.dtn_ms()
        bundle = await of.send_message(ground, mailbox.eid, b"for KR", policy=POLICY)
        await of.send_message(ground, mailbox.eid, b"for everybody")
        job = await jobs.submit("dtn://sat1/", "shout", inputs=[scene], policy=POLICY)
        for name in ("kiruna", "busan"):
            try:
                await jobs.submit(f"dtn://{name}/", "shout", inputs=[scene], policy=POLICY)
            except of.PolicyError as error:
                print(f"refused: {error}")
        for _ in range(2):
            message = await mailbox.receive()
            hours = (ground.dtn_ms() - start_ms) / 3_600_000
            carried = nodes["abroad"].counters().get("bundles.bundles_received", 0)
            print(f"at the satellite after {hours:.1f} h: {bytes(message.payload)!r};", end=" ")
            print(f"the relay abroad was given {carried} bundle(s)")
            await mailbox.done(message)
        print("the job has made", (await jobs.wait(job)).files["out.txt"].read_text())
    return str(bundle)
