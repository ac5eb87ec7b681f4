"""Whether a quantity grew while the load stayed the same.

The first quarter of the time is let go: caches fill, pools grow to their size, as many run logs come
as are kept. Of what is left two things are asked:

- By how much does the median of the last quarter exceed the median of the second?
- By how much does the quantity rise between the middles of these quarters, by its robust slope (the
  median of the slopes between all pairs of samples: Theil and Sen's)?

It grew if both are more than what is allowed. A single burst in one of the quarters moves medians
less than means, and a step that goes back again has no slope; what leaks has both.
"""

from __future__ import annotations

from itertools import combinations
from statistics import median

from attrs import frozen

MOST_POINTS = 60
"""Points for the slope: samples are put together until there are no more than these."""


@frozen(kw_only=True)
class Allowance:
    """How much more a quantity may be: so many, or so large a part of it, whichever is more."""

    number: float
    part: float

    def of(self, level):
        return max(self.number, self.part * level)


@frozen(kw_only=True)
class Verdict:
    """What came of a quantity.

    Attributes:
        second: The median of the second quarter.
        last: That of the last.
        rise: What the robust slope makes of the time between the two.
        allowed: How much more the last may be.
    """

    second: float
    last: float
    rise: float
    allowed: float

    @property
    def grew(self):
        return min(self.last - self.second, self.rise) > self.allowed


def judge(values, allowance):
    """The verdict on samples that were taken at equal intervals, of which there are 8 at least."""
    quarter = len(values) // 4
    steady = values[quarter:]
    second = median(steady[:quarter])
    return Verdict(
        second=second,
        last=median(steady[-quarter:]),
        rise=slope(steady) * 2 * quarter,
        allowed=allowance.of(second),
    )


def slope(values):
    """The robust slope of samples that were taken at equal intervals, for one such interval."""
    size = -(-len(values) // MOST_POINTS)
    points = [median(values[start : start + size]) for start in range(0, len(values), size)]
    slopes = [(b - a) / ((j - i) * size) for (i, a), (j, b) in combinations(enumerate(points), 2)]
    return median(slopes)
