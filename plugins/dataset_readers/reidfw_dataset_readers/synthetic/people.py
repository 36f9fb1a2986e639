"""What an identity looks like: build, skin, hair, clothes, marks. All of it is fixed by the identity.

People come in groups of look-alikes that share the colours of the top, as players of a team or colleagues do. Within
a group they differ by the pattern on the top, by number, trousers, hair, hat, bag, shoes and build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reidfw_dataset_readers.synthetic.canvas import Colour
from reidfw_dataset_readers.synthetic.draws import Draws

HairStyle = Literal["short", "long", "ponytail", "curly", "bald"]
Hat = Literal["none", "cap", "beanie", "sun_hat"]
Bag = Literal["none", "backpack", "shoulder_bag", "carrier_bag"]
TopPattern = Literal["plain", "hoops", "stripes", "halves", "yoke", "band", "sash", "checks"]
Sleeves = Literal["short", "long", "none"]
BottomKind = Literal["trousers", "shorts", "skirt"]

TOP_COLOURS: tuple[Colour, ...] = (
    (0.82, 0.10, 0.12),  # red
    (0.10, 0.24, 0.72),  # blue
    (0.95, 0.94, 0.90),  # white
    (0.11, 0.11, 0.13),  # black
    (0.10, 0.52, 0.22),  # green
    (0.96, 0.80, 0.12),  # yellow
    (0.94, 0.45, 0.08),  # orange
    (0.46, 0.16, 0.55),  # purple
    (0.20, 0.66, 0.80),  # light blue
    (0.92, 0.48, 0.64),  # pink
)
ACCENT_COLOURS: tuple[Colour, ...] = ((0.95, 0.94, 0.90), (0.11, 0.11, 0.13), (0.95, 0.80, 0.20), (0.15, 0.35, 0.75))
BOTTOM_COLOURS: tuple[Colour, ...] = (
    (0.12, 0.17, 0.42),  # navy
    (0.11, 0.11, 0.12),  # black
    (0.68, 0.56, 0.36),  # khaki
    (0.30, 0.48, 0.75),  # denim
    (0.90, 0.89, 0.86),  # white
    (0.55, 0.12, 0.16),  # wine
    (0.22, 0.38, 0.20),  # olive
)
SKIN_COLOURS: tuple[Colour, ...] = (
    (0.95, 0.78, 0.68),
    (0.87, 0.67, 0.53),
    (0.72, 0.52, 0.38),
    (0.52, 0.35, 0.24),
    (0.35, 0.23, 0.16),
)
HAIR_COLOURS: tuple[Colour, ...] = (
    (0.09, 0.07, 0.06),  # black
    (0.28, 0.17, 0.10),  # brown
    (0.75, 0.58, 0.30),  # blond
    (0.52, 0.21, 0.09),  # red
    (0.66, 0.65, 0.63),  # grey
)
SHOE_COLOURS: tuple[Colour, ...] = ((0.92, 0.92, 0.92), (0.10, 0.10, 0.11), (0.70, 0.15, 0.15), (0.42, 0.27, 0.15))
HAT_COLOURS: tuple[Colour, ...] = ((0.75, 0.12, 0.14), (0.12, 0.18, 0.40), (0.90, 0.88, 0.82), (0.15, 0.15, 0.16))
BAG_COLOURS: tuple[Colour, ...] = ((0.55, 0.33, 0.16), (0.12, 0.12, 0.13), (0.13, 0.38, 0.40), (0.72, 0.20, 0.16))

TOP_PATTERNS: tuple[TopPattern, ...] = ("plain", "hoops", "stripes", "halves", "yoke", "band", "sash", "checks")

_GROUP, _MEMBER = 1, 2


@dataclass(frozen=True, slots=True)
class Build:
    """Proportions of a body, as fractions of its height.

    Attributes:
        height: height relative to the average person (1.0).
        shoulder_width: distance of the shoulder joints.
        hip_width: distance of the outer hips.
        leg_length: height of the hip joints above the ground.
        depth: from chest to back.
        limb: thickness of arms and legs relative to the average (1.0).
        head: half the height of the head.
    """

    height: float
    shoulder_width: float
    hip_width: float
    leg_length: float
    depth: float
    limb: float
    head: float


@dataclass(frozen=True, slots=True)
class Top:
    """Clothes of the upper body; ``number`` is on back and chest, None where there is none."""

    colour: Colour
    accent: Colour
    pattern: TopPattern
    sleeves: Sleeves
    sleeves_in_accent: bool
    number: int | None


@dataclass(frozen=True, slots=True)
class Bottom:
    """Clothes of the lower body; ``side_stripe`` runs down the outer legs."""

    colour: Colour
    kind: BottomKind
    side_stripe: Colour | None


@dataclass(frozen=True, slots=True)
class Person:
    """All that the identity fixes."""

    build: Build
    skin: Colour
    hair_style: HairStyle
    hair: Colour
    hat: Hat
    hat_colour: Colour
    top: Top
    bottom: Bottom
    shoes: Colour
    bag: Bag
    bag_colour: Colour


def person_of(identity: int, *, seed: int, lookalikes: int) -> Person:
    """The look of one identity.

    Args:
        identity: its number, from 0.
        seed: seed of the whole collection.
        lookalikes: size of the groups that share the colours of the top.
    """
    group, member = divmod(identity, lookalikes)
    shared = Draws(seed, _GROUP, group)
    own = Draws(seed, _MEMBER, identity)
    top_colour = shared.pick(TOP_COLOURS)
    accent = shared.pick([colour for colour in ACCENT_COLOURS if _differ(colour, top_colour)])
    patterns = shared.shuffled(TOP_PATTERNS)  # so that no two of up to eight look-alikes wear the same one
    return Person(
        build=_build(own),
        skin=own.pick(SKIN_COLOURS),
        hair_style=own.pick(("short", "short", "long", "ponytail", "curly", "bald")),
        hair=own.pick(HAIR_COLOURS),
        hat=own.pick(("none", "none", "none", "cap", "beanie", "sun_hat")),
        hat_colour=own.pick(HAT_COLOURS),
        top=Top(
            colour=top_colour,
            accent=accent,
            pattern=patterns[member % len(patterns)],
            sleeves=own.pick(("short", "short", "long", "long", "none")),
            sleeves_in_accent=own.chance(0.3),
            number=own.integer(1, 99) if own.chance(0.5) else None,
        ),
        bottom=Bottom(
            colour=own.pick(BOTTOM_COLOURS),
            kind=own.pick(("trousers", "trousers", "trousers", "shorts", "shorts", "skirt")),
            side_stripe=accent if own.chance(0.3) else None,
        ),
        shoes=own.pick(SHOE_COLOURS),
        bag=own.pick(("none", "none", "backpack", "shoulder_bag", "carrier_bag")),
        bag_colour=own.pick(BAG_COLOURS),
    )


def _build(own: Draws) -> Build:
    girth = own.uniform(0.85, 1.25)
    return Build(
        height=own.uniform(0.88, 1.0),
        shoulder_width=own.uniform(0.22, 0.26) * (0.7 + 0.3 * girth),
        hip_width=own.uniform(0.175, 0.215) * (0.6 + 0.4 * girth),
        leg_length=own.uniform(0.44, 0.50),
        depth=own.uniform(0.125, 0.15) * girth,
        limb=own.uniform(0.9, 1.05) * (0.5 + 0.5 * girth),
        head=own.uniform(0.064, 0.074),
    )


def _differ(one: Colour, other: Colour) -> bool:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.6
