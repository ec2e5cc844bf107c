"""What is about to be published: copies of the current payloads, changed, not yet signed."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from builder.trust.roles import ROOT, TARGETS, TOP_LEVEL, delegation
from builder.trust.state import State
from builder.trust.tuf_types import (
    Delegations,
    PublicKey,
    Root,
    TargetFile,
    Targets,
)


@dataclass(slots=True)
class Draft:
    """The next edition; `touched` are the roles that are to be signed anew whatever happens.

    A role that is not touched is signed anew all the same where its signatures no longer suffice
    for the keys that the draft names.
    """

    root: Root
    targets: Targets
    delegated: dict[str, Targets] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    @classmethod
    def first(cls) -> "Draft":
        """The draft of a repository that does not exist yet."""
        return cls(
            root=Root(consistent_snapshot=True),
            targets=Targets(delegations=Delegations({}, roles={})),
            touched=set(TOP_LEVEL),
        )

    @classmethod
    def of(cls, state: State) -> "Draft":
        """A draft that changes nothing yet."""
        return cls(
            root=copy.deepcopy(state.root.signed),
            targets=copy.deepcopy(state.targets.signed),
            delegated={
                name: copy.deepcopy(metadata.signed) for name, metadata in state.delegated.items()
            },
        )

    def delegate(self, role: str, keys: Sequence[PublicKey], threshold: int) -> None:
        """Add a delegated role, with no targets yet."""
        delegations = self.targets.delegations or Delegations({}, roles={})
        roles = dict(delegations.roles or {})
        roles[role] = delegation(role, [], threshold)
        delegations.roles = roles
        self.targets.delegations = delegations
        for key in keys:
            self.targets.add_key(key, role)
        self.delegated[role] = Targets()
        self.touched |= {TARGETS, role}

    def set_target(self, role: str, target: TargetFile) -> None:
        """Have `role` sign a target, in place of an older one of the same path."""
        self.delegated[role].targets[target.path] = target
        self.touched.add(role)

    def change_keys(
        self,
        role: str,
        add: Sequence[PublicKey],
        remove: Sequence[str],
        threshold: int | None,
    ) -> None:
        """Change who signs `role`; keys that are there, or gone, already are passed over."""
        delegator, owner = (self.root, ROOT) if role in TOP_LEVEL else (self.targets, TARGETS)
        described = delegator.get_delegated_role(role)
        before = (set(described.keyids), described.threshold)
        for key in add:
            delegator.add_key(key, role)
        for keyid in remove:
            if keyid in described.keyids:
                delegator.revoke_key(keyid, role)
        described.threshold = threshold or described.threshold
        if (set(described.keyids), described.threshold) != before:
            self.touched.add(owner)
