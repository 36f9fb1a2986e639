"""The pose of a walking person: joints in space, seen from any side."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reidfw_dataset_readers.synthetic.draws import Draws
from reidfw_dataset_readers.synthetic.people import Build

SHOULDER_HEIGHT = 0.80
_FOOT_HEIGHT, _FOOT_LENGTH = 0.03, 0.085
_UPPER_ARM, _FOREARM = 0.165, 0.155
_LOOK_DOWN = 0.14


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person stands in one image.

    Attributes:
        yaw: where the body turns to, in radians: 0 faces the camera, pi/2 walks to the right, pi shows the back.
        phase: phase of the step in radians.
        stride: largest angle of a leg in radians; 0 stands.
        arm_swing: largest angle of an arm in radians.
        elbow_bend: angle by which the forearms point forward of the upper arms, in radians.
        lean: angle by which the torso leans forward, in radians.
    """

    yaw: float
    phase: float
    stride: float
    arm_swing: float
    elbow_bend: float
    lean: float


@dataclass(frozen=True, slots=True)
class Joint:
    """A projected point: pixels to the right and down, and pixels towards the viewer."""

    x: float
    y: float
    near: float

    @property
    def point(self) -> tuple[float, float]:
        """The place in the image."""
        return self.x, self.y


@dataclass(frozen=True, slots=True)
class Limbs:
    """The joints of one side of the body."""

    shoulder: Joint
    elbow: Joint
    hand: Joint
    hip: Joint
    knee: Joint
    ankle: Joint
    toe: Joint


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A posed body in an image.

    Attributes:
        left: joints of the person's left side.
        right: those of the right side.
        neck: between the shoulders.
        pelvis: between the hips.
        head: centre of the head.
        chest: middle of the chest's surface.
        back: middle of the back's surface, between the shoulder blades.
        facing: cosine of yaw: 1 faces the camera, -1 shows the back.
        turned: sine of yaw: 1 walks to the right.
        scale: pixels of the person's height.
    """

    left: Limbs
    right: Limbs
    neck: Joint
    pelvis: Joint
    head: Joint
    chest: Joint
    back: Joint
    facing: float
    turned: float
    scale: float


def random_pose(draws: Draws) -> Pose:
    """A pose from eight directions, with every phase of the step."""
    direction = draws.integer(0, 7) * (math.pi / 4)
    return Pose(
        yaw=direction + draws.uniform(-0.35, 0.35),
        phase=draws.uniform(0.0, 2 * math.pi),
        stride=draws.uniform(0.05, 0.55),
        arm_swing=draws.uniform(0.05, 0.6),
        elbow_bend=draws.uniform(0.05, 0.7),
        lean=draws.uniform(-0.04, 0.14),
    )


def pose_skeleton(build: Build, pose: Pose, *, foot: tuple[float, float], scale: float) -> Skeleton:
    """Places the joints of a body.

    Args:
        build: its proportions.
        pose: its pose.
        foot: pixel on the ground between the feet.
        scale: pixels of the person's height.
    """
    facing, turned = math.cos(pose.yaw), math.sin(pose.yaw)
    swing = pose.stride * math.sin(pose.phase)
    left_leg = _leg(build, swing, pose.stride * max(0.0, math.cos(pose.phase)))
    right_leg = _leg(build, -swing, pose.stride * max(0.0, -math.cos(pose.phase)))
    hip_height = _FOOT_HEIGHT - min(left_leg[1][0], right_leg[1][0])  # the lower foot stands on the ground

    def project(across: float, up: float, forward: float) -> Joint:
        near = (forward * facing - across * turned) * scale
        x = foot[0] + (across * facing + forward * turned) * scale
        return Joint(_grid(x), _grid(foot[1] - up * scale + _LOOK_DOWN * near), _grid(near))

    torso = SHOULDER_HEIGHT - build.leg_length
    shoulder_up = hip_height + torso * math.cos(pose.lean)
    shoulder_forward = torso * math.sin(pose.lean)
    arm_swing = pose.arm_swing * math.sin(pose.phase)

    def limbs(side: float, leg: _LegPlane, arm_angle: float) -> Limbs:
        hip = side * build.hip_width * 0.27
        (knee_up, knee_forward), (ankle_up, ankle_forward) = leg
        shoulder = side * build.shoulder_width * 0.5
        elbow_up = shoulder_up - _UPPER_ARM * math.cos(arm_angle)
        elbow_forward = shoulder_forward + _UPPER_ARM * math.sin(arm_angle)
        bent = arm_angle + pose.elbow_bend
        outward = side * 0.022
        return Limbs(
            shoulder=project(shoulder, shoulder_up - 0.02, shoulder_forward),
            elbow=project(shoulder + outward, elbow_up, elbow_forward),
            hand=project(
                shoulder + outward,
                elbow_up - _FOREARM * math.cos(bent),
                elbow_forward + _FOREARM * math.sin(bent),
            ),
            hip=project(hip, hip_height, 0.0),
            knee=project(hip, hip_height + knee_up, knee_forward),
            ankle=project(hip, hip_height + ankle_up, ankle_forward),
            toe=project(hip * 1.15, hip_height + ankle_up - 0.008, ankle_forward + _FOOT_LENGTH),
        )

    chest_up = hip_height + torso * 0.72
    return Skeleton(
        left=limbs(1.0, left_leg, -arm_swing),
        right=limbs(-1.0, right_leg, arm_swing),
        neck=project(0.0, shoulder_up, shoulder_forward),
        pelvis=project(0.0, hip_height, 0.0),
        head=project(0.0, shoulder_up + 0.055 + build.head, shoulder_forward + 0.012),
        chest=project(0.0, chest_up, shoulder_forward * 0.72 + build.depth * 0.5),
        back=project(0.0, chest_up, shoulder_forward * 0.72 - build.depth * 0.5),
        facing=_grid(facing),
        turned=_grid(turned),
        scale=scale,
    )


_LegPlane = tuple[tuple[float, float], tuple[float, float]]
"""Knee and ankle relative to the hip, each as (up, forward)."""


def _leg(build: Build, angle: float, knee_bend: float) -> _LegPlane:
    half = (build.leg_length - _FOOT_HEIGHT) / 2
    knee = (-half * math.cos(angle), half * math.sin(angle))
    shin = angle - 1.3 * knee_bend
    return knee, (knee[0] - half * math.cos(shin), knee[1] + half * math.sin(shin))


def _grid(value: float) -> float:
    """Rounds to 1/256, so that the last bit of the platform's sine and cosine changes no pixel."""
    return round(value * 256) / 256
