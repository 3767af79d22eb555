"""What a real template provider said."""

import json
from pathlib import Path

VECTORS = Path(__file__).parents[2] / "vectors" / "sv2"


def recorded_frames() -> list[bytes]:
    """The plaintext frames that it sent."""
    data = json.loads((VECTORS / "tdp_conversation_sv2tp.json").read_text())
    return [bytes.fromhex(frame["plain"]) for frame in data["frames"]]
