"""The conversation with ST's validation firmware: who is there, which model, and one inference at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from reidfw_core.api import BoardFailed, BoardNotFound
from reidfw_targets.device import messages
from reidfw_targets.device.framing import LARGEST_PACKET_BYTES, NEWER, OLDER, PacketLink, Port
from reidfw_targets.device.messages import Cmd, DeviceFault, RunMode, State
from reidfw_targets.device.tensors import DeviceTensor, describe_tensor

logger = logging.getLogger(__name__)

SYNC_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 10.0
INFERENCE_TIMEOUT_S = 60.0
"""Seconds without a byte: at the greeting, for an answer, and while the network runs."""

_MOST_MODELS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceModel:
    """A model in the firmware of a device.

    Attributes:
        name: its C name.
        signature: what its maker signed it with.
        inputs, outputs: its tensors.
        macs: multiply-accumulate operations of one inference.
        tool_version: version of the tool that made it, for example ``3.0.0``.
    """

    name: str
    signature: str
    inputs: tuple[DeviceTensor, ...]
    outputs: tuple[DeviceTensor, ...]
    macs: int
    tool_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """Outputs of one inference, as raw bytes, and its duration on the device in milliseconds."""

    outputs: tuple[bytes, ...]
    duration_ms: float


class DeviceSession:
    """A greeted device. Make it with :func:`greet`."""

    def __init__(self, link: PacketLink) -> None:
        self._link = link
        self._request = 0
        self.device_id = 0
        self.clock_mhz = 0.0

    def sync(self) -> None:
        """Greets the device.

        Raises:
            TimeoutError: nobody answers.
            BoardFailed: the device speaks another protocol.
        """
        answer = self._ask(Cmd.SYNC, "sync", timeout_s=SYNC_TIMEOUT_S).sync
        major, minor = answer.version >> 8, answer.version & 0xFF
        if major != messages.VERSION_MAJOR:
            raise BoardFailed(
                f"The board's firmware speaks version {major}.{minor} of the protocol; {messages.VERSION_MAJOR}.x is "
                "spoken here",
                hint="Load the validation firmware of ST Edge AI Core 2.0 or newer.",
            )

    def introduce(self) -> None:
        """Asks for processor and clock, and agrees on the packet size."""
        answer = self._ask(Cmd.SYS_INFO, "sinfo").sinfo
        self.device_id, self.clock_mhz = int(answer.devid), answer.sclock / 1e6
        wanted = int(answer.com_param)
        if self._link.framing.header_bytes == NEWER.header_bytes and wanted:
            if wanted > LARGEST_PACKET_BYTES:
                raise BoardFailed(f"The board asks for packets of {wanted} bytes; at most {LARGEST_PACKET_BYTES}")
            self._link.framing = self._link.framing.with_payload(wanted)

    def models(self) -> tuple[DeviceModel, ...]:
        """The models in the firmware."""
        found: list[DeviceModel] = []
        for number in range(_MOST_MODELS):
            answer = self._ask(Cmd.NETWORK_INFO, None, param=number)
            kind = messages.payload_of(answer)
            if kind == "ack" and (number or answer.ack.error == DeviceFault.INVALID_PARAM):
                break
            if kind != "minfo":
                raise _unexpected(answer, "minfo")
            found.append(_model(answer.minfo))
        return tuple(found)

    def run(self, model: DeviceModel, inputs: tuple[bytes, ...]) -> Inference:
        """One inference.

        Args:
            model: one of :meth:`models`.
            inputs: the bytes of each input tensor.

        Raises:
            BoardFailed: the device refuses, or stops answering.
        """
        self._expect(self._ask(Cmd.NETWORK_RUN, "ack", param=RunMode.IO_ONLY, name=model.name), State.WAITING)
        for number, content in enumerate(inputs):
            data = messages.make("Data", type=0, size=len(content), addr=0, datas=content)
            self._send(data)
            last = number + 1 == len(inputs)
            self._expect(self._answer("ack", ANSWER_TIMEOUT_S), State.PROCESSING if last else State.WAITING)
            self._acknowledge()
        operator = self._answer("op", INFERENCE_TIMEOUT_S).op
        while operator.type >> 24 & messages.OPERATOR_IS_INTERNAL:  # some firmware tells its operators unasked
            operator = self._answer("op", INFERENCE_TIMEOUT_S).op
        outputs = []
        for number in range(len(model.outputs)):
            answer = self._answer("tensor", INFERENCE_TIMEOUT_S)
            last = number + 1 == len(model.outputs)
            self._expect(answer, State.DONE if last else State.PROCESSING)
            if bool(answer.tensor.desc.flags & messages.TENSOR_IS_LAST) != last:
                raise BoardFailed(f"The board sends another number of outputs than the {len(model.outputs)} it told")
            outputs.append(_content(answer.tensor, model.outputs[number]))
        return Inference(outputs=tuple(outputs), duration_ms=float(operator.duration))

    def _ask(
        self, cmd: Cmd, payload: str | None, *, param: int = 0, name: str = "", timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Any:
        self._request += 1
        self._send(messages.make("Request", reqid=self._request, cmd=cmd, param=param, name=name, opt=0))
        return self._answer(payload, timeout_s, silent=cmd == Cmd.SYNC)

    def _send(self, message: Any) -> None:
        self._link.send(message.SerializeToString(), ANSWER_TIMEOUT_S)

    def _answer(self, payload: str | None, timeout_s: float, *, silent: bool = False) -> Any:
        """The next response that is no log line, of the kind that is due; any kind for None."""
        while True:
            try:
                content = self._link.receive(timeout_s)
            except TimeoutError as cause:
                if silent:
                    raise
                raise BoardFailed(
                    f"The board has not answered for {timeout_s:g} s",
                    hint="Reset the board and try again. Does the network take longer than that?",
                ) from cause
            try:
                answer = messages.parse("Response", content)
            except ValueError as cause:
                raise BoardFailed(f"The board sent what is no message: {cause}") from cause
            if answer.reqid != self._request:
                raise BoardFailed(
                    f"The board answers request {answer.reqid}; {self._request} was asked",
                    hint="Does another program use the same port? Close it, reset the board and try again.",
                )
            if messages.payload_of(answer) != "log":
                break
            logger.debug("board: %s", answer.log.str)
            self._acknowledge()
        if payload is not None and messages.payload_of(answer) != payload:
            raise _unexpected(answer, payload)
        return answer

    def _acknowledge(self) -> None:
        self._send(messages.make("Ack", param=0, error=DeviceFault.NONE))

    @staticmethod
    def _expect(answer: Any, state: State) -> None:
        if messages.payload_of(answer) == "ack" and answer.ack.error != DeviceFault.NONE:
            raise _unexpected(answer, "ack")
        if answer.state != state:
            raise BoardFailed(f"The board is in the state {_name(State, answer.state)}; {state.name} was due")


def greet(port: Port) -> DeviceSession:
    """Begins a conversation, with newer or older firmware.

    Raises:
        BoardNotFound: nobody answers in either way.
        BoardFailed: somebody answers, but not as the protocol says.
    """
    for framing, before in ((NEWER, None), (OLDER, NEWER)):
        link = PacketLink(port, framing)
        link.drain()
        if before is not None:
            link.realign(before)
            link.drain()
        session = DeviceSession(link)
        try:
            session.sync()
        except TimeoutError:
            continue
        session.introduce()
        return session
    raise BoardNotFound(
        "No validation firmware answers",
        hint="Is the firmware loaded and running (evaluation without profile: auto_valid loads it), and the speed the "
        "same? Reset the board and try again.",
    )


def _model(info: Any) -> DeviceModel:
    if info.n_inputs != len(info.inputs) or info.n_outputs != len(info.outputs):
        raise BoardFailed(f"The board tells the model '{info.name}' with tensors missing")
    return DeviceModel(
        name=info.name,
        signature=info.signature,
        inputs=tuple(describe_tensor(one) for one in info.inputs),
        outputs=tuple(describe_tensor(one) for one in info.outputs),
        macs=int(info.n_macc),
        tool_version=".".join(str(info.tool_version >> shift & 0xFF) for shift in (24, 16, 8)),
    )


def _content(tensor: Any, told: DeviceTensor) -> bytes:
    content = bytes(tensor.data.datas)
    if len(content) != told.size_bytes:
        raise BoardFailed(f"The board sent {len(content)} bytes of output '{told.name}'; {told.size_bytes} were due")
    return content


def _unexpected(answer: Any, wanted: str) -> BoardFailed:
    kind = messages.payload_of(answer)
    if kind == "ack" and answer.ack.error != DeviceFault.NONE:
        return BoardFailed(
            f"The board refuses: {_name(DeviceFault, answer.ack.error)} ({answer.ack.param})",
            hint="Was the firmware made for this model, with the same input_type and input_chpos?",
        )
    return BoardFailed(f"The board answered '{kind}' in the state {_name(State, answer.state)}; '{wanted}' was due")


def _name(codes: type[State] | type[DeviceFault], value: int) -> str:
    try:
        return codes(value).name
    except ValueError:
        return str(value)
