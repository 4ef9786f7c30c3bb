"""Who has had how much of a device: tokens served to each account, and to each key of an account.

The counters are those of "Fairness in Serving Large Language Models" (Sheng et al., OSDI 2024, virtual token counter):
whoever has been served least goes first, and whoever comes back from idleness starts level with the least served of
those that are at work, so that nobody saves up a claim by staying away.
"""

from __future__ import annotations

#: What a place counts from the moment it is held, before its tokens are: with equal counters, places are equal too.
PLACE_TOKENS = 64
#: How far ahead a share may be before its place goes to another one that holds at least one of its own, or before its
#: only place goes to one that holds none. Whoever gives way is seldom asked again before so many tokens are served.
QUANTUM_TOKENS = 512


class Share:
    """Of an account, or of a key within one. `served` counts tokens read that were not in memory, and tokens sampled.

    `members` are the sequences that wait or run, `running` those that hold a place. `keys` divide an account.
    """

    def __init__(self) -> None:
        self.served = 0
        self.members = 0
        self.running = 0
        self.keys = Shares()

    @property
    def standing(self) -> int:
        """The lower, the sooner it is its turn."""
        return self.served + self.running * PLACE_TOKENS

    def owes(self, other: Share) -> bool:
        """Whether a place of this share should go to the other one now, and not wait for the end of a sequence."""
        if self.running > 1 and other.running == 0:
            return self.standing > other.standing
        return self.running > other.running and self.served - other.served > QUANTUM_TOKENS


class Shares:
    """Shares by name, side by side: the accounts of a device, or the keys of an account. None is a name like others."""

    def __init__(self) -> None:
        self._shares: dict[str | None, Share] = {}

    def enter(self, name: str | None) -> Share:
        """One more sequence of this name is here."""
        share = self._shares.setdefault(name, Share())
        if share.members == 0:
            share.served = max([share.served, *self._least_served()])
        share.members += 1
        return share

    def leave(self, name: str | None) -> None:
        """A sequence of this name has ended. An idle share that would start level anyway is forgotten."""
        share = self._shares[name]
        share.members -= 1
        if share.members == 0:
            least = self._least_served()
            self._shares = {
                name: share
                for name, share in self._shares.items()
                if share.members or (least and share.served > least[0])
            }

    def _least_served(self) -> list[int]:
        """Of those at work; nothing where none is."""
        return sorted(share.served for share in self._shares.values() if share.members)[:1]
