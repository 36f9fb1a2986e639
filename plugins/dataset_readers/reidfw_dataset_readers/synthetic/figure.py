"""Draws a posed person, part by part, from the far side to the near one."""

from __future__ import annotations

import math
from collections.abc import Callable

from reidfw_dataset_readers.synthetic.canvas import Canvas, Colour, Point
from reidfw_dataset_readers.synthetic.patterns import TOP_COVERAGE, mirrored, number_columns, number_pattern
from reidfw_dataset_readers.synthetic.people import Person
from reidfw_dataset_readers.synthetic.skeleton import Joint, Limbs, Skeleton

_Part = tuple[float, Callable[[], None]]
"""How near a part is to the viewer (pixels), and what draws it."""


def draw_person(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    """Draws a person on a canvas.

    Args:
        canvas: what to draw on.
        person: the look.
        skeleton: the pose, in pixels of the canvas.
    """
    parts: list[_Part] = [
        (-0.01, lambda: _draw_pelvis(canvas, person, skeleton)),
        (0.0, lambda: _draw_torso(canvas, person, skeleton)),
        (skeleton.head.near + 0.03, lambda: _draw_head(canvas, person, skeleton)),
    ]
    for limbs in (skeleton.left, skeleton.right):
        parts.append(_leg_part(canvas, person, skeleton, limbs))
        parts.append(_arm_part(canvas, person, skeleton, limbs))
    if person.hair_style == "long":
        parts.append((skeleton.back.near + 0.01, lambda: _draw_long_hair(canvas, person, skeleton)))
    if person.bag == "backpack":
        parts.append((skeleton.back.near, lambda: _draw_backpack(canvas, person, skeleton)))
        parts.append((0.02, lambda: _draw_straps(canvas, person, skeleton)))
    elif person.bag == "shoulder_bag":
        parts.append((0.015, lambda: _draw_sling(canvas, person, skeleton)))
        parts.append((skeleton.left.hip.near * 2.5, lambda: _draw_shoulder_bag(canvas, person, skeleton)))
    if person.bottom.kind == "skirt":
        parts.append((-0.005, lambda: _draw_skirt(canvas, person, skeleton)))
    for _, draw in sorted(parts, key=lambda part: part[0]):
        draw()


def _across(skeleton: Skeleton, width: float, depth: float) -> float:
    """Half the visible width in pixels of a body that is ``width`` wide and ``depth`` deep (fractions of height)."""
    wide, deep = width * skeleton.facing, depth * skeleton.turned
    return 0.5 * skeleton.scale * math.sqrt(wide * wide + deep * deep)


def _between(start: Joint | Point, end: Joint | Point, fraction: float) -> Point:
    x0, y0 = start.point if isinstance(start, Joint) else start
    x1, y1 = end.point if isinstance(end, Joint) else end
    return x0 + (x1 - x0) * fraction, y0 + (y1 - y0) * fraction


def _moved(point: Point, right: float, down: float) -> Point:
    return point[0] + right, point[1] + down


def _darker(colour: Colour, factor: float = 0.72) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _leg_part(canvas: Canvas, person: Person, skeleton: Skeleton, limbs: Limbs) -> _Part:
    near = (limbs.hip.near + limbs.knee.near) * 0.5 - 1.0
    return near, lambda: _draw_leg(canvas, person, skeleton, limbs)


def _draw_leg(canvas: Canvas, person: Person, skeleton: Skeleton, limbs: Limbs) -> None:
    thickness = skeleton.scale * person.build.limb
    bare = person.bottom.kind != "trousers"
    cloth = person.bottom.colour
    thigh, knee, ankle = 0.050 * thickness, 0.037 * thickness, (0.023 if bare else 0.030) * thickness
    canvas.capsule(limbs.ankle.point, limbs.toe.point, 0.025 * thickness, 0.020 * thickness, person.shoes)
    canvas.capsule(
        limbs.knee.point, limbs.ankle.point, knee * (0.85 if bare else 1.0), ankle, person.skin if bare else cloth
    )
    if person.bottom.kind == "skirt":
        canvas.capsule(limbs.hip.point, limbs.knee.point, thigh, knee * 0.85, person.skin)
        return
    end = _between(limbs.hip, limbs.knee, 0.95)
    canvas.capsule(limbs.hip.point, end, thigh, knee * (1.2 if bare else 1.0), cloth)
    if person.bottom.side_stripe is not None:
        outward = math.copysign(0.6, limbs.hip.x - skeleton.pelvis.x) * abs(skeleton.facing) * knee
        stripe = person.bottom.side_stripe
        for start, stop in ((limbs.hip.point, end),) if bare else ((limbs.hip.point, end), (end, limbs.ankle.point)):
            canvas.capsule(_moved(start, outward, 0), _moved(stop, outward, 0), 0.22 * knee, 0.22 * knee, stripe)


def _arm_part(canvas: Canvas, person: Person, skeleton: Skeleton, limbs: Limbs) -> _Part:
    near = (limbs.shoulder.near + limbs.hand.near) * 0.5
    return near, lambda: _draw_arm(canvas, person, skeleton, limbs)


def _draw_arm(canvas: Canvas, person: Person, skeleton: Skeleton, limbs: Limbs) -> None:
    thickness = skeleton.scale * person.build.limb
    top = person.top
    sleeve = top.accent if top.sleeves_in_accent else _darker(top.colour, 0.92)
    upper = person.skin if top.sleeves == "none" else sleeve
    fore = sleeve if top.sleeves == "long" else person.skin
    canvas.capsule(limbs.elbow.point, limbs.hand.point, 0.029 * thickness, 0.022 * thickness, fore)
    canvas.capsule(limbs.shoulder.point, limbs.elbow.point, 0.038 * thickness, 0.031 * thickness, upper)
    canvas.ellipse(limbs.hand.point, 0.024 * thickness, 0.027 * thickness, person.skin)
    if person.bag == "carrier_bag" and limbs is skeleton.right:
        handle = limbs.hand.point
        low = _moved(handle, 0.0, 0.05 * skeleton.scale)
        canvas.slab(handle, low, 0.005 * skeleton.scale, 0.03 * skeleton.scale, _darker(person.bag_colour))
        half = 0.055 * skeleton.scale
        canvas.slab(low, _moved(low, 0.0, 0.12 * skeleton.scale), half, half * 1.1, person.bag_colour)


def _draw_pelvis(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    half = _across(skeleton, person.build.hip_width, person.build.depth * 1.05)
    middle = skeleton.pelvis.point
    waist = _moved(middle, 0.0, -0.07 * skeleton.scale)
    canvas.slab(waist, _moved(middle, 0.0, 0.02 * skeleton.scale), half * 0.95, half, person.bottom.colour)


def _draw_skirt(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    half = _across(skeleton, person.build.hip_width, person.build.depth * 1.05)
    hem = _between(_between(skeleton.left.knee, skeleton.right.knee, 0.5), skeleton.pelvis, 0.08)
    reach = abs(skeleton.left.knee.x - skeleton.right.knee.x) * 0.5 + 0.045 * skeleton.scale
    canvas.slab(
        _moved(skeleton.pelvis.point, 0.0, -0.07 * skeleton.scale),
        hem,
        half * 0.95,
        max(half * 1.25, reach),
        person.bottom.colour,
    )


def _draw_torso(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    build, top = person.build, person.top
    half_top = _across(skeleton, build.shoulder_width * 1.02, build.depth)
    half_bottom = _across(skeleton, build.hip_width, build.depth * 1.05)
    radius = 0.03 * skeleton.scale
    shoulders = _moved(skeleton.neck.point, 0.0, -0.004 * skeleton.scale)
    hem = _moved(skeleton.pelvis.point, 0.0, -0.03 * skeleton.scale)
    inner = max(half_top - radius, 0.1)
    canvas.capsule(
        skeleton.neck.point,
        skeleton.head.point,
        0.03 * skeleton.scale,
        0.026 * skeleton.scale,
        person.skin,
    )
    canvas.capsule(_moved(shoulders, -inner, radius), _moved(shoulders, inner, radius), radius, radius, top.colour)
    body_top = _moved(shoulders, 0.0, radius * 0.9)
    canvas.slab(body_top, hem, half_top, half_bottom, top.colour)
    pattern = TOP_COVERAGE[top.pattern]
    if pattern is not None:
        seen = pattern if skeleton.facing >= 0 else mirrored(pattern)
        canvas.slab(body_top, hem, half_top, half_bottom, top.accent, pattern=seen)
    if top.number is not None:
        _draw_number(canvas, person, skeleton, top.number)


def _draw_number(canvas: Canvas, person: Person, skeleton: Skeleton, number: int) -> None:
    """A large number on the back, a smaller one on the chest, foreshortened by the turn of the body."""
    seen = abs(skeleton.facing)
    if seen < 0.35:
        return
    showing_back = skeleton.facing < 0
    cell = (0.026 if showing_back else 0.019) * skeleton.scale
    middle = skeleton.back.point if showing_back else skeleton.chest.point
    middle = (middle[0], skeleton.chest.y * 0.5 + skeleton.back.y * 0.5)
    half = cell * number_columns(number) * 0.5 * seen
    start = _moved(middle, 0.0, -2.0 * cell)
    end = _moved(middle, 0.0, 3.0 * cell)
    ground = person.top.colour if person.top.pattern != "plain" else _darker(person.top.colour, 0.9)
    canvas.slab(
        _moved(start, 0, -0.8 * cell),
        _moved(end, 0, 0.8 * cell),
        half + cell * 0.8,
        half + cell * 0.8,
        ground,
        flat=True,
    )
    canvas.slab(start, end, half, half, person.top.accent, pattern=number_pattern(number), flat=True)


def _draw_head(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    size = person.build.head * skeleton.scale
    centre = skeleton.head.point
    wide = size * (0.78 + 0.08 * abs(skeleton.turned))
    facing = skeleton.facing
    if person.hair_style == "ponytail" and facing > 0.2:
        _draw_ponytail(canvas, person, centre, size, skeleton)
    canvas.ellipse(centre, wide, size, person.skin)
    if person.hair_style != "bald":
        _draw_hair(canvas, person, centre, size, skeleton)
    if person.hair_style == "ponytail" and facing <= 0.2:
        _draw_ponytail(canvas, person, centre, size, skeleton)
    if facing > 0.3:
        _draw_face(canvas, person, centre, size, skeleton)
    if person.hat != "none":
        _draw_hat(canvas, person, centre, size, skeleton)


def _draw_hair(canvas: Canvas, person: Person, centre: Point, size: float, skeleton: Skeleton) -> None:
    volume = 1.25 if person.hair_style == "curly" else 1.08
    wide = size * 0.84 * volume
    if skeleton.facing < -0.3:  # the back of the head is all hair, down to the neck
        canvas.ellipse(
            _moved(centre, 0.0, -0.08 * size), wide, size * volume, person.hair, above=centre[1] + 0.6 * size
        )
        return
    line = centre[1] + (-0.42 if skeleton.facing > 0.3 else -0.25) * size
    canvas.ellipse(_moved(centre, 0.0, -0.08 * size), wide, size * volume, person.hair, above=line)
    if abs(skeleton.turned) > 0.4:
        back_of_head = _moved(centre, -0.35 * size * skeleton.turned, -0.1 * size)
        canvas.ellipse(back_of_head, wide * 0.62, size * 0.88 * volume, person.hair)


def _draw_long_hair(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    """The hair that falls down the back; the torso hides most of it from the front."""
    size = person.build.head * skeleton.scale
    top = _moved(skeleton.head.point, -0.45 * size * skeleton.turned, -0.2 * size)
    half = size * (0.95 - 0.35 * abs(skeleton.turned))
    canvas.slab(top, _moved(top, -0.25 * size * skeleton.turned, 2.3 * size), half, half * 1.1, person.hair)


def _draw_ponytail(canvas: Canvas, person: Person, centre: Point, size: float, skeleton: Skeleton) -> None:
    root = _moved(centre, -1.0 * size * skeleton.turned, -0.35 * size)
    tip = _moved(root, -0.5 * size * skeleton.turned, 1.7 * size)
    canvas.capsule(root, tip, 0.32 * size, 0.16 * size, person.hair)


def _draw_face(canvas: Canvas, person: Person, centre: Point, size: float, skeleton: Skeleton) -> None:
    for side in (-1.0, 1.0):
        x = (side * 0.32 * skeleton.facing + 0.45 * skeleton.turned) * size
        canvas.ellipse(_moved(centre, x, 0.0), 0.11 * size, 0.09 * size, (0.1, 0.08, 0.08))
    mouth = _moved(centre, 0.45 * skeleton.turned * size, 0.5 * size)
    canvas.ellipse(mouth, 0.22 * size, 0.07 * size, _darker(person.skin, 0.65))


def _draw_hat(canvas: Canvas, person: Person, centre: Point, size: float, skeleton: Skeleton) -> None:
    colour = person.hat_colour
    brim_y = centre[1] - 0.30 * size
    crown = _moved(centre, 0.0, -0.25 * size)
    height = 1.0 if person.hat == "beanie" else 0.9
    canvas.ellipse(crown, 0.95 * size, height * size, colour, above=brim_y)
    brim = (centre[0], brim_y)
    if person.hat == "sun_hat":
        canvas.ellipse(brim, 1.75 * size, 0.25 * size, _darker(colour, 0.9))
    elif person.hat == "cap" and skeleton.facing > -0.5:
        tip = _moved(brim, 0.95 * size * skeleton.turned, 0.05 * size)
        canvas.ellipse(tip, (0.55 + 0.25 * abs(skeleton.turned)) * size, 0.16 * size, _darker(colour))
    elif person.hat == "beanie":
        canvas.slab(
            _moved(brim, 0, -0.3 * size), _moved(brim, 0, 0.1 * size), 0.92 * size, 0.94 * size, _darker(colour)
        )


def _draw_backpack(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    half = _across(skeleton, 0.19, 0.12)
    top = _moved(skeleton.back.point, -0.045 * skeleton.turned * skeleton.scale, -0.075 * skeleton.scale)
    bottom = _moved(top, 0.0, 0.235 * skeleton.scale)
    canvas.slab(top, bottom, half * 0.88, half, person.bag_colour)
    pocket = _between(top, bottom, 0.55)
    if skeleton.facing < 0:
        canvas.slab(pocket, _between(top, bottom, 0.92), half * 0.65, half * 0.65, _darker(person.bag_colour))


def _draw_straps(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    if skeleton.facing < 0.2:
        return
    for limbs in (skeleton.left, skeleton.right):
        start = _between(skeleton.neck, limbs.shoulder, 0.6)
        end = _between(skeleton.pelvis, start, 0.35)
        canvas.capsule(start, end, 0.012 * skeleton.scale, 0.012 * skeleton.scale, _darker(person.bag_colour))


def _draw_sling(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    start = _between(skeleton.neck, skeleton.right.shoulder, 0.6)
    width = 0.011 * skeleton.scale
    canvas.capsule(start, skeleton.left.hip.point, width, width, _darker(person.bag_colour))


def _draw_shoulder_bag(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    outward = 0.07 * skeleton.facing * skeleton.scale
    top = _moved(skeleton.left.hip.point, outward, -0.04 * skeleton.scale)
    half = _across(skeleton, 0.09, 0.16)
    bottom = _moved(top, 0.0, 0.115 * skeleton.scale)
    canvas.slab(top, bottom, half, half, person.bag_colour)
    canvas.slab(top, _between(top, bottom, 0.4), half, half * 0.9, _darker(person.bag_colour))
