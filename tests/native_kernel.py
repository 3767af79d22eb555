"""The native kernel for tests that need it: they skip where it is not built, and fail in CI."""

import os

import pytest

from protocols.cashu.signer import Signer
from protocols.mining.prover import ProverMaker
from protocols.noise.frame_cipher import FrameCipher, Limit
from protocols.noise.handshake import Session
from roles.runtime.errors import OperatorError
from roles.runtime.kernel import Kernel, choose


def native_kernel() -> Kernel:
    """The native kernel, built from the sources of this checkout."""
    try:
        return choose("on")
    except OperatorError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def native_cipher(session: Session, limit: Limit) -> FrameCipher:
    return native_kernel().cipher(session, limit)


def native_prover() -> ProverMaker:
    """The prover in C, also where a daemon would not choose it because the processor is no help to it."""
    native_kernel()
    from hashpool_kernel import Prover

    return Prover


def native_signer() -> Signer:
    return native_kernel().signer
