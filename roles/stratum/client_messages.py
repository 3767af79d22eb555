"""How large a frame of a mining client may be, by its type."""

from protocols.sv2 import connection, extensions
from protocols.sv2.codec import Catalogue
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenStandardMiningChannel,
    SetCustomMiningJob,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
)

CLIENT_FRAMES = FrameLimits(
    Catalogue(
        [
            *connection.MESSAGES,
            *extensions.MESSAGES,
            OpenStandardMiningChannel,
            OpenExtendedMiningChannel,
            UpdateChannel,
            CloseChannel,
            SubmitSharesStandard,
            SubmitSharesExtended,
            SetCustomMiningJob,
        ]
    )
)
"""Of what clients may send; what only servers send is no larger here than an unknown message."""
