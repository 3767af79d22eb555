"""Which kernel runs the share path and signs tokens: the native one where it is built and sound, else Python.

`$HASHPOOL_KERNEL` is ``off`` to do without the native one, ``on`` to refuse to start without it.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from protocols.bitcoin.secp256k1 import addresses
from protocols.cashu.signer import PythonSigner
from protocols.cashu.signer import Signer as SignerFace
from protocols.mining import plain_share
from protocols.mining.lane import Relay
from protocols.mining.plain_share import BenchMaker, Judge, Take
from protocols.mining.prover import ProverMaker, PythonProver
from protocols.noise.errors import FrameForged, NonceExhausted
from protocols.noise.frame_cipher import CipherMaker, FrameCipher, Limit, PythonCipher
from protocols.noise.handshake import Session
from protocols.sv1.plain_submit import PlainSubmit
from protocols.translation.share import Find, JudgedShare, find_plain
from roles.runtime import sysexits
from roles.runtime.errors import OperatorError
from roles.runtime.state import checkout

VARIABLE: Final = "HASHPOOL_KERNEL"
ABI: Final = 12
"""The interface that this program speaks; `native/src/kernel.h` has the same number."""
BUILD: Final = "./hashpool kernel build"
SOURCES: Final = Path("native") / "src"

Rows = Callable[[list[Any], bytes, dict[bytes, tuple[int, int, bytes]]], tuple[list[bytes], bytes] | None]
"""As `roles.credit.batch.rows`, which knows how the ledger lays them out."""


HubMaker = Callable[[tuple[bytes, ...], bytes], Any]
"""Of what serves SV1 miners together: from the headers of shares by the size of their extranonce, and that
of the frame that accepts shares.
"""
OutletMaker = Callable[[Any, int, Callable[[], int], Callable[[bytes], None]], Any]
"""Of what sends frames without the event loop: from the cipher, the socket's number, what tells how many
bytes the loop has yet to send, and what is given the bytes that the socket does not take.
"""
InletMaker = Callable[..., Any]
"""Of what reads frames without the event loop: from the cipher, the socket's number, the lanes that have the
plain ones and whether these settle them, and what is told, what is given the rest, what hears of the end.
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What makes provers and frame ciphers, judges plain shares and signs tokens; `name` tells the log and
    the metric which they are.

    ``native``, ``python``, or ``native-cipher``: without the processor's SHA extensions hashlib is as fast.
    `engines`: by which instructions. `complaint`: what is wrong with a native kernel that is built and not
    used, for a person. `find` reads and judges plain shares of SV1 miners. `rows`, where there is one, is
    quicker than the ledger's own. `relay`, where there is one, passes plain shares through a proxy, and `hub`
    makes what serves plain SV1 miners of a translator; both send by what `outlet` makes. What `inlet` makes
    reads for a relay.
    """

    name: str
    prover: ProverMaker
    cipher: CipherMaker
    bench: BenchMaker
    judge: Judge
    take: Take
    signer: SignerFace
    rows: Rows | None = None
    engines: str = "hashlib, cryptography"
    complaint: str = ""
    find: Find = find_plain
    relay: Relay | None = None
    hub: HubMaker | None = None
    outlet: OutletMaker | None = None
    inlet: InletMaker | None = None


PYTHON: Final = Kernel(
    "python",
    PythonProver,
    PythonCipher,
    plain_share.make_bench,
    plain_share.judge,
    plain_share.take,
    PythonSigner(),
)


@cache
def kernel() -> Kernel:
    """The kernel of this process, chosen once; raises OperatorError."""
    return choose(os.environ.get(VARIABLE, ""))


def choose(wanted: str) -> Kernel:
    """The kernel for a setting: ``on``, ``off`` or nothing. Raises OperatorError for others, or for ``on``
    where the native one cannot be used.
    """
    if wanted not in {"", "on", "off"}:
        raise OperatorError(f"{VARIABLE} is {wanted!r}", hint="it may be on or off", exit_code=sysexits.USAGE)
    if wanted == "off":
        return PYTHON
    try:
        import hashpool_kernel
    except ModuleNotFoundError:
        complaint = ""
    except ImportError as error:
        complaint = f"the native kernel cannot be loaded: {error}"
    else:
        # A stale one may lack either.
        complaint = fault(getattr(hashpool_kernel, "ABI", None), getattr(hashpool_kernel, "SOURCE", None))
        if not complaint:
            return _native()
    if wanted == "on":
        raise OperatorError(
            complaint or "the native kernel is not built",
            hint=f"build it with {BUILD}",
            exit_code=sysexits.UNAVAILABLE,
        )
    return replace(PYTHON, complaint=complaint)


def fault(abi: int | None, source: str | None) -> str:
    """Why a kernel of this interface and these sources must not be used, or nothing."""
    if abi != ABI:
        return f"the native kernel has interface {abi}, this program speaks {ABI}"
    ours = source_digest()
    if ours is not None and source != ours:
        return "the native kernel was built from other sources than these"
    return ""


def source_digest() -> str | None:
    """SHA-256 over the kernel's sources in this checkout, in order of their names, as `native/setup.py` has
    it; None where there are none.
    """
    root = checkout()
    if root is None or not (root / SOURCES).is_dir():
        return None
    files = sorted((root / SOURCES).glob("*.[ch]"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@cache
def _finder(maker: Callable[[type[PlainSubmit], type[JudgedShare]], Any]) -> Any:
    return maker(PlainSubmit, JudgedShare)


def _native() -> Kernel:
    from hashpool_kernel import (
        CHACHA20,
        IS_FAST,
        SHA256,
        Bench,
        Course,
        Finder,
        Hub,
        Inlet,
        Lane,
        Lanes,
        Outlet,
        Prover,
        Signer,
        Transport,
        judge,
        rows,
        take,
    )

    def cipher(session: Session, limit: Limit) -> FrameCipher:
        return Transport(session.send_key, session.receive_key, limit, FrameForged, NonceExhausted)

    signer = Signer(addresses())
    if not IS_FAST:
        return replace(
            PYTHON, name="native-cipher", cipher=cipher, signer=signer, engines=f"hashlib, {CHACHA20}"
        )
    engines = f"{SHA256}, {CHACHA20}"
    finder = _finder(Finder)
    return Kernel(
        "native",
        Prover,
        cipher,
        Bench,
        judge,
        take,
        signer,
        rows,
        engines,
        find=finder.find,
        relay=Relay(Lane, Lanes, Course),
        hub=partial(Hub, finder),
        outlet=Outlet,
        inlet=Inlet,
    )
