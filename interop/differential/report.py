"""What a comparison found: as JSON, from which everything else is made, and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interop.differential.compare import Cluster, Comparison, Disagreement
from interop.differential.labels import Label, label_of

Found = dict[str, Any]
HEX_SHOWN = 160

CHANGED = " What draws the inputs has changed since: today this seed gives others."

_KINDS = {
    "accepts": "takes what is refused here",
    "refuses": "refuses what is taken here",
    "reads": "reads a field otherwise",
    "sends": "sends on something else",
    "blames": "refuses it for something else",
    "breaks": "comes to no verdict",
}
_RIGHT = {
    "reference": "Orbitferry",
    "other": "the other",
    "both": "both may",
    "neither": "neither",
}


def found(protocol: str, seed: str, comparison: Comparison, labels: Sequence[Label]) -> Found:
    """Everything that is worth keeping."""
    ordered = sorted(
        comparison.clusters.items(), key=lambda one: (one[0].name, one[0].kind, -one[1].inputs)
    )
    return {
        "protocol": protocol,
        "seed": seed,
        "inputs": comparison.inputs,
        "taken": comparison.taken,
        "differing": comparison.differing,
        "implementations": {one.name: one.version for one in comparison.implementations},
        "clusters": [
            {
                "kind": key.kind,
                "name": key.name,
                "cause": key.cause,
                "inputs": cluster.inputs,
                "case": cluster.smallest.hex(),
                "minimal": cluster.minimal,
                "verdicts": cluster.verdicts,
                **_label(label_of(key, labels)),
            }
            for key, cluster in ordered
        ],
    }  # fmt: skip


def restore(one: Found, comparison: Comparison) -> None:
    """Go on from what was found so far.  Raises `ValueError` when others were compared then."""
    asked = {each.name: each.version for each in comparison.implementations}
    if asked != one["implementations"]:
        raise ValueError(f"{one['protocol']}: compared were {one['implementations']}, not {asked}")
    comparison.inputs, comparison.taken = one["inputs"], one["taken"]
    comparison.differing = one["differing"]
    for row in one["clusters"]:
        comparison.clusters[Disagreement(row["kind"], row["name"], row["cause"])] = Cluster(
            row["inputs"], bytes.fromhex(row["case"]), row["verdicts"], row["minimal"]
        )


def _label(label: Label | None) -> dict[str, str]:
    if label is None:
        return {"clause": "", "right": "", "words": ""}
    return {"clause": label.clause, "right": label.right, "words": label.words}


def relabel(one: Found, labels: Sequence[Label]) -> None:
    """Put what is known today beside each cluster."""
    for cluster in one["clusters"]:
        key = Disagreement(cluster["kind"], cluster["name"], cluster["cause"])
        cluster.update(_label(label_of(key, labels)))


def unlabelled(one: Found) -> list[Mapping[str, Any]]:
    """Clusters of which nobody has said who is right."""
    return [cluster for cluster in one["clusters"] if not cluster["right"]]


def markdown(every: Sequence[Found]) -> str:
    """The tables of `docs/differential.md`."""
    parts = []
    for one in every:
        versions = ", ".join(f"{name} {v}" for name, v in one["implementations"].items())
        parts.append(
            f"## {one['protocol']}\n\n{versions}. Seed {one['seed']}: {one['inputs']:,} inputs, "
            f"of which {one['taken']:,} are taken by the reference; on {one['differing']:,} "
            f"somebody differs, in {len(one['clusters'])} clusters."
            f"{CHANGED if one.get('changed') else ''}\n"
        )
        names = dict.fromkeys(cluster["name"] for cluster in one["clusters"])
        for name in names:
            parts.append(f"### {name} ({one['protocol']})\n")
            parts.append("| what | cause | inputs | clause | keeps to it | case |")
            parts.append("|---|---|---|---|---|---|")
            parts += [_row(cluster) for cluster in one["clusters"] if cluster["name"] == name]
            parts.append("")
    return "\n".join(parts)


def _row(cluster: Mapping[str, Any]) -> str:
    case = cluster["case"]
    shown = f"`{case[:HEX_SHOWN]}`" if case else "no octets"
    if len(case) > HEX_SHOWN:
        shown += f" ({len(case) // 2} octets)"
    cause = cluster["cause"].replace("|", "\\|")
    return (
        f"| {_KINDS[cluster['kind']]} | {cause}: {cluster['words']} | {cluster['inputs']:,} "
        f"| {cluster['clause']} | {_RIGHT.get(cluster['right'], '?')} | {shown} |"
    )
