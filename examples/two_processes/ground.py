"""The node on the ground: sends a file, has it digested in orbit, and checks the answer."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from orbitferry import Eid, Node, run

SATELLITE = Eid.parse("dtn://satellite/")


async def main(configuration: Path, content: Path) -> int:
    """Send, wait, compare; 0 when everything is right."""
    with content.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    started = time.monotonic()
    async with Node.from_file(configuration) as node:
        print("ready", flush=True)
        sent = await node.services.files.send(content, SATELLITE)
        progress = await node.services.files.wait(sent)
        moved_s = time.monotonic() - started
        job = await node.services.jobs.submit(SATELLITE, "digest", {}, [content])
        status = await node.services.jobs.wait(job)
        answer = ""
        if status.complete and "digests.txt" in status.files:
            answer = status.files["digests.txt"].read_text().split()[0]
        counters = node.counters()
    link = "link.satellite."
    result = {
        "file": progress.state,
        "job": status.state.name,
        "computed_in_orbit": answer,
        "computed_on_the_ground": expected,
        "seconds": round(moved_s, 2),
        "goodput_mbit_s": round(size * 8 / 1e6 / moved_s, 1),
        "octets_resent": counters[link + "ltp.data_bytes_resent"],
        "octets_sent": counters[link + "ltp.data_bytes_sent"],
        "repair_packets": counters[link + "fec.tx_repair_packets"],
        "blackouts_noticed": counters[link + "ltp.stalls"],
    }
    print(json.dumps(result), flush=True)
    return 0 if progress.state == "delivered" and answer == expected else 1


if __name__ == "__main__":
    sys.exit(run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
