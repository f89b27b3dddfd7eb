import pytest

from mlxgui.engine import protocol
from mlxgui.engine.types import Done, GenerationRequest, Message, Text, Usage


def test_frames_survive_the_pipe_cut_anywhere() -> None:
    frames: list[protocol.ToParent] = [
        protocol.Ready(7),
        protocol.Events([(1, Text("über")), (2, Done(Usage(3, 4)))]),
        protocol.Failed(1, "bad", "message", "param"),
    ]
    data = b"".join(protocol.encode(frame) for frame in frames)
    for cut in range(len(data)):
        buffer, got = bytearray(), []
        for part in (data[:cut], data[cut:]):
            buffer += part
            got += [protocol.decode_from_child(body) for body in protocol.take_frames(buffer)]
        assert got == frames and not buffer


def test_the_child_reads_what_the_parent_wrote() -> None:
    import io

    frame = protocol.Generate(3, GenerationRequest(messages=[Message("user", "hi")], max_tokens=5))
    pipe = io.BytesIO(protocol.encode(frame))
    assert protocol.read_from_parent(pipe) == frame
    assert protocol.read_from_parent(pipe) is None


def test_absurd_lengths_and_other_bytes_are_broken_frames() -> None:
    with pytest.raises(protocol.BrokenFrame):
        list(protocol.take_frames(bytearray(b"\xff\xff\xff\xffgarbage")))
    with pytest.raises(protocol.BrokenFrame):
        protocol.decode_from_child(b"\xc1no")
