"""A video stream's packets to its frames, each with whether damage has reached it.

What this module does not know: which frames are wanted (readers.py does), and flipped bits that still decode.
"""
from __future__ import annotations

import bisect
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame

ONE_TO_ONE = ("vp9", "libdav1d")  # decoders in which a packet without a frame is damage (elsewhere: a discarded frame)
MOST_HELD = 32            # frames; more than any codec reorders, in case one never comes out


class Decoder:
    """Frames in display order, each with whether it is sound: no error in its key-frame group before it.

    An error in a frame that is displayed later (B-frames refer to it) shows only when that one comes out. So each frame
    is held until all came out that were fed before it. Packets are numbered in the order in which they are fed.
    """

    def __init__(self, context):
        self.context = context
        context.copy_opaque = True  # a frame carries the number of its packet
        self.last_pts = float("-inf")  # of the frames that came out, held ones included
        self._keys: list[tuple[int, int | None]] = []  # number and displayed time of the key packets
        self._errors: list[int] = []
        self._reach: list[float] = []  # per packet: the latest displayed time fed until then
        self._held: list[tuple[int, VideoFrame]] = []

    def restart(self) -> None:
        """Forget the packets so far. Frames that need them (before the key frame in an open group) are not sound."""
        self.context.flush_buffers()
        self._errors.append(self._count(None))

    def feed(self, packet) -> list:
        """Pairs of frame and whether it is sound. packet: None at the end, for the frames still inside."""
        number = self._count(packet)
        if packet is not None:
            packet.opaque = number
            if packet.is_keyframe:
                self._keys.append((number, packet.pts))
        frames = self._decode(packet, number)
        for frame in frames:
            origin = number if frame.opaque is None else frame.opaque
            if frame.is_corrupt:
                bisect.insort(self._errors, origin)
            if frame.pts is not None:
                self.last_pts = frame.pts
            self._held.append((origin, frame))
        sure = []
        while self._held and (packet is None or len(self._held) > MOST_HELD
                              or self._reach[self._held[0][0]] <= self.last_pts):
            origin, frame = self._held.pop(0)
            sure.append((frame, self._is_sound(origin, frame.pts)))
        return sure

    def _count(self, packet) -> int:
        latest = self._reach[-1] if self._reach else float("-inf")
        pts = None if packet is None else packet.pts
        self._reach.append(latest if pts is None else max(latest, pts))
        return len(self._reach) - 1

    def _decode(self, packet, number: int) -> list:
        import av

        try:
            frames = self.context.decode(packet)
        except av.error.FFmpegError:
            frames = None
        swallowed = packet is not None and not packet.is_discard and self.context.name in ONE_TO_ONE
        torn = packet is not None and packet.is_corrupt  # by the container; decoders do not always pass it on
        if frames is None or torn or swallowed and not frames:
            bisect.insort(self._errors, number)
        return frames or []

    def _is_sound(self, origin: int, pts: int | None) -> bool:
        at = bisect.bisect_right(self._keys, origin, key=lambda key: key[0]) - 1
        first, key_pts = self._keys[at] if at >= 0 else (0, None)
        if pts is not None and key_pts is not None and pts < key_pts:  # an open group: refers to the group before, too
            first = self._keys[at - 1][0] if at > 0 else 0
        return bisect.bisect_left(self._errors, first) == bisect.bisect_right(self._errors, origin)


def packets_of(container, stream):
    """Packets until the file ends or breaks off, then None. Empty ones (a pause in .avi) would end the decoder."""
    import av

    with contextlib.suppress(av.error.FFmpegError):
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    yield None


def decode(container, stream):
    """All frames in display order, each with whether it is sound."""
    decoder = Decoder(stream.codec_context)
    for packet in packets_of(container, stream):
        yield from decoder.feed(packet)
