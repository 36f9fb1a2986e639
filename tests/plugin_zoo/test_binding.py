"""A component that does not keep the contract of its kind is refused when it is bound, not in the middle of a run."""

from __future__ import annotations

import textwrap

import pytest

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog
from reidfw_core.components import Component
from reidfw_core.errors import DataError, PluginBroken


def backbone(zoo, methods: str) -> Component:
    body = textwrap.indent(textwrap.dedent(methods), "    ")
    source = f"from reidfw_core.api import Backbone, hookimpl\nclass Net(Backbone):\n    '''A net.'''\n{body}"
    zoo.install("acme-net", source=source, entry_points={"backbones": {"acme.net": "Net"}})
    return Catalog().load("backbones", "acme.net")()


def listener(zoo, name: str, methods: str) -> Component:
    body = textwrap.indent(textwrap.dedent(methods), "    ")
    source = f"from reidfw_core.api import DataError, Listener, hookimpl\nclass Ear(Listener):\n{body}"
    zoo.install(f"acme-{name}", source=source, entry_points={"listeners": {f"acme.{name}": "Ear"}})
    return Catalog().load("listeners", f"acme.{name}")()


@pytest.mark.parametrize(
    ("methods", "complaint"),
    [
        ("def build_backbone(self, input_shape): return 1", "lacks the required hook build_backbone"),
        ("width = 3", "lacks the required hook build_backbone"),
        ("@hookimpl\ndef build_backbon(self, input_shape): return 1", "build_backbon"),
        ("@hookimpl\ndef build_backbone(self, image_size): return 1", "image_size"),
        ("@hookimpl\ndef build_backbone(self, input_shape, size_px): return 1", "size_px"),
    ],
    ids=["not marked", "no hook", "misspelt hook", "misspelt argument", "unknown argument"],
)
def test_a_contract_that_is_not_kept_is_told_at_once(zoo, good_backbone, methods, complaint):
    bus = HookBus()
    with pytest.raises(PluginBroken, match=r"backbones 'acme\.net' does not keep its contract") as broken:
        bus.add(backbone(zoo, methods), "acme.net")
    assert complaint in broken.value.message
    zoo.install("acme-good", source=good_backbone, entry_points={"backbones": {"acme.good": "Good"}})
    good = Catalog().load("backbones", "acme.good")()
    bus.add(good, "acme.good")
    shape = (64, 32, 3)
    assert bus.ask(good, "build_backbone", input_shape=shape, pretrained=False, seed=1) == shape


def test_a_component_that_gives_no_answer(zoo):
    net = backbone(zoo, "@hookimpl\ndef build_backbone(self, input_shape): pass")
    bus = HookBus()
    bus.add(net, "acme.net")
    with pytest.raises(PluginBroken, match=r"'acme\.net' gave no answer to build_backbone"):
        bus.ask(net, "build_backbone", input_shape=(64, 32, 3), pretrained=False, seed=1)


def test_only_the_asked_component_answers(zoo, good_backbone):
    zoo.install("acme-good", source=good_backbone, entry_points={"backbones": {"acme.good": "Good"}})
    net = backbone(zoo, "@hookimpl\ndef build_backbone(self, seed): return seed")
    good = Catalog().load("backbones", "acme.good")()
    bus = HookBus()
    bus.add(good, "acme.good")
    bus.add(net, "acme.net")
    question = {"input_shape": (64, 32, 3), "pretrained": False, "seed": 7}
    assert bus.ask(good, "build_backbone", **question) == (64, 32, 3)
    assert bus.ask(net, "build_backbone", **question) == 7


def test_a_listener_may_watch_an_answer_but_not_give_one(zoo, good_backbone):
    replacing = listener(zoo, "replacing", "@hookimpl\ndef build_backbone(self): return 'mine'")
    watching = listener(
        zoo,
        "watching",
        """
        seen = ()

        @hookimpl(wrapper=True)
        def build_backbone(self, seed):
            answer = yield
            self.seen = (seed, answer)
            return answer
        """,
    )
    zoo.install("acme-good", source=good_backbone, entry_points={"backbones": {"acme.good": "Good"}})
    good = Catalog().load("backbones", "acme.good")()
    bus = HookBus()
    with pytest.raises(PluginBroken, match="a listener may only wrap build_backbone"):
        bus.add(replacing, "acme.replacing")
    bus.add(watching, "acme.watching")
    bus.add(good, "acme.good")
    assert bus.ask(good, "build_backbone", input_shape=(8, 8, 3), pretrained=False, seed=7) == (8, 8, 3)
    assert watching.seen == (7, (8, 8, 3))


def test_a_failing_listener_is_named_and_does_as_it_declares(zoo, caplog):
    careless = listener(zoo, "careless", "on_error = 'warn'\n@hookimpl\ndef step_started(self): 1 / 0")
    strict = listener(zoo, "strict", "@hookimpl\ndef step_started(self): 1 / 0")
    telling = listener(zoo, "telling", "@hookimpl\ndef step_started(self): raise DataError('no room')")
    counting = listener(
        zoo, "counting", "steps = ()\n@hookimpl\ndef step_started(self, step): self.steps = (*self.steps, step)"
    )
    step = {"step": "train", "number": 1, "total": 1}

    patient = HookBus()
    patient.add(careless, "acme.careless")
    patient.add(counting, "acme.counting")
    patient.tell("step_started", **step)
    assert counting.steps == ("train",), "one listener's failure kept another from hearing"
    assert "acme.careless" in caplog.text
    assert "ZeroDivisionError" in caplog.text

    for failing, name, error in ((strict, "strict", PluginBroken), (telling, "telling", DataError)):
        bus = HookBus()
        bus.add(failing, f"acme.{name}")
        with pytest.raises(error, match="no room" if name == "telling" else r"'acme\.strict' failed in step_started"):
            bus.tell("step_started", **step)
