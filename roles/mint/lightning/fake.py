"""A Lightning node that is none, for tests and development: its invoices look real and pay themselves.

It "pays" any invoice that parses, of whatever network and age. No money moves. The description of an
invoice may say how paying it goes, as words behind `fake:`: `failed`; `pending 2.5` (seconds, then paid),
which `failed` may follow; `lost` (paid, but the node does not answer). One of its own that says `unpaid`
waits for somebody to pay it. What it has paid is kept in a file, because a real node remembers, too, when
the mint has been killed. While there is a file of that name which ends in `.away`, it does not answer.
"""

import asyncio
import fcntl
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.bitcoin.hashing import hmac_sha256, sha256
from protocols.bitcoin.secp256k1 import public_key
from protocols.lightning.invoice import Invoice, decode, encode
from roles.mint.lightning.backend import Fate, NewInvoice
from roles.mint.lightning.errors import BackendUnavailable
from shared_config.bolt11 import FakeLightning

KEPT = 100_000
"""Payments that are remembered; the file is written anew when it has twice as many lines."""

_FEATURES = 1 << 8 | 1 << 14 | 1 << 17
_FINAL_DELTA = 144
_WORD = "fake:"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Payment:
    """A payment on its way or arrived: when it is settled, in Unix seconds, and how."""

    settled_at: float
    fails: bool
    fee_msat: int


class FakeBackend:
    """Makes and pays invoices with the key `secret`; `entropy` gives so many random bytes."""

    def __init__(
        self,
        settings: FakeLightning,
        secret: bytes,
        journal: Path,
        *,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._entropy = entropy
        self._unpaid: dict[bytes, asyncio.TimerHandle | None] = {}
        self._paid: asyncio.Queue[bytes] = asyncio.Queue()
        self._journal = _Journal(journal)
        self._away = journal.with_suffix(".away")
        _log.warning("Lightning is a fake: no money moves", extra={"node": public_key(secret).hex()})

    async def probe(self) -> None:
        """It is there unless it was told to be away."""
        if self._away.exists():
            raise BackendUnavailable("the fake node was told to be away")

    async def create_invoice(self, amount_msat: int, description: str, expiry_s: int) -> NewInvoice:
        """An invoice that pays itself after `pays_after_s`, unless its description says otherwise."""
        await self.probe()
        preimage = self._entropy(32)
        payment_hash = sha256(preimage)
        now = int(self._clock())
        invoice = Invoice(
            self._settings.currency,
            amount_msat,
            now,
            payment_hash,
            hmac_sha256(self._secret, b"payment secret", payment_hash),
            description,
            expiry_s=expiry_s,
            final_delta=_FINAL_DELTA,
            features=_FEATURES,
        )
        timer = None
        if self._settings.self_paying and "unpaid" not in _words(invoice):
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._settings.pays_after_s, self.receive, payment_hash)
        self._unpaid[payment_hash] = timer
        return NewInvoice(encode(invoice, self._secret), payment_hash, invoice.expires_at)

    def receive(self, payment_hash: bytes) -> None:
        """Somebody pays an invoice of this node."""
        if payment_hash in self._unpaid:
            timer = self._unpaid.pop(payment_hash)
            if timer is not None:
                timer.cancel()
            self._paid.put_nowait(payment_hash)

    async def cancel_invoice(self, payment_hash: bytes) -> None:
        """It pays itself no more."""
        await self.probe()
        self._forget(payment_hash)

    async def is_paid(self, payment_hash: bytes) -> bool:
        """An invoice of a former life has paid itself by now; with `pays_when_asked` any has."""
        await self.probe()
        if not self._settings.self_paying:
            return payment_hash not in self._unpaid
        if self._settings.pays_when_asked and self._unpaid.get(payment_hash) is not None:
            self._forget(payment_hash)
        return payment_hash not in self._unpaid

    async def receipts(self) -> AsyncIterator[Sequence[bytes]]:
        """Payment hashes as they are paid."""
        while True:
            batch = [await self._paid.get()]
            while not self._paid.empty():
                batch.append(self._paid.get_nowait())
            yield batch

    async def consider(self, invoice: Invoice, now: int) -> None:
        """Nothing is refused."""

    async def pay(self, request: str, amount_msat: int, max_fee_msat: int) -> Fate:
        """Pay as the description says, at the settled fee, at once or after `pay_s`."""
        await self.probe()
        invoice = decode(request)
        known = self._journal.find(invoice.payment_hash)
        if known is None or self._fate(invoice.payment_hash, known).outcome == "failed":
            fee = min(
                self._settings.fee_msat + amount_msat * self._settings.fee_ppm // 1_000_000, max_fee_msat
            )
            known = self._begin(invoice, fee)
        words = _words(invoice)
        if "lost" in words:
            raise BackendUnavailable("the fake node was told not to answer")
        if "pending" not in words and known.settled_at > self._clock():
            await asyncio.sleep(known.settled_at - self._clock())
        return self._fate(invoice.payment_hash, known)

    async def find_payment(self, payment_hash: bytes) -> Fate:
        """What became of a payment."""
        await self.probe()
        known = self._journal.find(payment_hash)
        return Fate("unknown") if known is None else self._fate(payment_hash, known)

    async def close(self) -> None:
        """Forget the invoices that have not been paid."""
        for timer in self._unpaid.values():
            if timer is not None:
                timer.cancel()

    def _forget(self, payment_hash: bytes) -> None:
        timer = self._unpaid.pop(payment_hash, None)
        if timer is not None:
            timer.cancel()

    def _begin(self, invoice: Invoice, fee_msat: int) -> _Payment:
        words = _words(invoice)
        wait = self._settings.pay_s
        if "pending" in words:
            wait = _seconds(words[words.index("pending") + 1 :])
        payment = _Payment(self._clock() + wait, "failed" in words, fee_msat)
        self._journal.keep(invoice.payment_hash, payment)
        return payment

    def _fate(self, payment_hash: bytes, payment: _Payment) -> Fate:
        if payment.settled_at > self._clock():
            return Fate("pending")
        if payment.fails:
            return Fate("failed", reason="the invoice says that it fails")
        return Fate("paid", payment.fee_msat, hmac_sha256(self._secret, b"preimage", payment_hash))


class _Journal:
    """Payments in a file, one a line, the last line of a hash counts. Processes of one mint have one node, so
    what others have written is read before anything is looked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._payments: OrderedDict[bytes, _Payment] = OrderedDict()
        self._lines = 0
        self._read_to = 0
        self._catch_up()

    def find(self, payment_hash: bytes) -> _Payment | None:
        self._catch_up()
        return self._payments.get(payment_hash)

    def keep(self, payment_hash: bytes, payment: _Payment) -> None:
        with self._path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._catch_up()
            self._remember(payment_hash, payment)
            if self._lines >= 2 * KEPT:
                file.truncate(0)
                file.writelines(_line(*item).encode() for item in self._payments.items())
                self._lines = len(self._payments)
            else:
                file.write(_line(payment_hash, payment).encode())
                self._lines += 1
            file.flush()
            self._read_to = file.tell()

    def _catch_up(self) -> None:
        """Read what has been added; a file that has become shorter was written anew, with all that counts."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == self._read_to:
            return
        if size < self._read_to:
            self._read_to = self._lines = 0
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            # Somebody may be writing the last line.
            whole, _, _ = file.read().rpartition(b"\n")
        for line in whole.splitlines():
            item = json.loads(line)
            payment = _Payment(item["settled_at"], item["fails"], item["fee_msat"])
            self._remember(bytes.fromhex(item["hash"]), payment)
            self._lines += 1
        self._read_to += len(whole) + 1 if whole else 0

    def _remember(self, payment_hash: bytes, payment: _Payment) -> None:
        self._payments[payment_hash] = payment
        if len(self._payments) > KEPT:
            self._payments.popitem(last=False)


def _line(payment_hash: bytes, payment: _Payment) -> str:
    item = {
        "hash": payment_hash.hex(),
        "settled_at": payment.settled_at,
        "fails": payment.fails,
        "fee_msat": payment.fee_msat,
    }
    return json.dumps(item) + "\n"


def _words(invoice: Invoice) -> list[str]:
    text = invoice.description or ""
    return text[len(_WORD) :].split() if text.startswith(_WORD) else []


def _seconds(words: Sequence[str]) -> float:
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return 0.0
