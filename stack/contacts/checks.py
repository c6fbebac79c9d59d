"""What in a plan may be a mistake."""

from __future__ import annotations

from stack.contacts.plan import Contact, Plan


def overlaps(plan: Plan) -> list[tuple[Contact, Contact]]:
    """Contacts of one direction that overlap: each with the one before it that lasts longest.
    ION refuses such plans; here they are links of their own."""
    longest: dict[tuple[str, str], Contact] = {}
    found = []
    for contact in plan.contacts:
        pair = (contact.source, contact.destination)
        before = longest.get(pair)
        if before is not None and before.end_ms > contact.start_ms:
            found.append((before, contact))
        if before is None or contact.end_ms > before.end_ms:
            longest[pair] = contact
    return found


def without_range(plan: Plan) -> list[Contact]:
    """Contacts whose direction has no light time at all, which then counts as 0."""
    return [
        contact
        for contact in plan.contacts
        if not plan.light_time(contact.source, contact.destination).owlts_ns
    ]
