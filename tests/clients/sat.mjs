// What a wallet does with sats: NUTs 04, 20, 23 and 29, with invoices that pay themselves.

import { randomBytes } from 'node:crypto';
import { OutputData, getPubKeyFromPrivKey } from '@cashu/cashu-ts';
import { amounts, check, paid, refused, same, sum } from './stage.mjs';

const hex = (bytes) => Buffer.from(bytes).toString('hex');

function fee(wallet, proofs) {
  return Number(wallet.getFeesForProofs(proofs));
}

export async function an_invoice_looks_real_and_is_for_the_amount(stage) {
  const wallet = await stage.wallet();
  const quote = await wallet.createMintQuoteBolt11(1337, 'a description');
  check(quote.request.startsWith('lnbc1337'), quote.request.slice(0, 20));
  same([quote.unit, Number(quote.amount)], ['sat', 1337]);
  check(quote.expiry > Date.now() / 1000, 'it has no expiry');
  const found = await wallet.checkMintQuoteBolt11(quote.quote);
  same([found.quote, found.request], [quote.quote, quote.request]);
  same(sum(await wallet.mintProofsBolt11(1337, (await paid(wallet, quote)).quote)), 1337);
}

export async function a_quote_that_is_asked_for_until_it_is_paid_is_minted(stage) {
  const wallet = await stage.wallet();
  const quote = await wallet.createMintQuoteBolt11(64);
  const waited = await wallet.on.onceMintPaid(quote.quote, { timeoutMs: 20_000 });
  same(waited.state, 'PAID');
  same(sum(await wallet.mintProofsBolt11(64, quote.quote)), 64);
  same((await wallet.checkMintQuoteBolt11(quote.quote)).state, 'ISSUED');
}

export async function two_dozen_wallets_each_wait_on_a_websocket_of_their_own(stage) {
  const waiting = Array.from({ length: 24 }, async () => {
    const wallet = await stage.wallet();
    const quote = await wallet.createMintQuoteBolt11(1);
    return wallet.on.onceMintPaid(quote.quote, { timeoutMs: 60_000 });
  });
  const states = (await Promise.all(waiting)).map((quote) => quote.state);
  same(states, Array(24).fill('PAID'));
}

export async function a_locked_quote_is_minted_with_its_key_alone(stage) {
  const wallet = await stage.wallet();
  const secret = randomBytes(32);
  const pubkey = hex(getPubKeyFromPrivKey(secret));
  const quote = await wallet.createLockedMintQuote(63, pubkey);
  same(quote.pubkey, pubkey);
  await paid(wallet, quote);
  const preview = await wallet.prepareMint('bolt11', 63, quote, { privkey: hex(secret) });
  const forged = preview.payload.signature.replace(/^../, (byte) => (byte === '00' ? '01' : '00'));
  for (const signature of [forged, undefined]) {
    const payload = { ...preview.payload, signature };
    same((await refused(wallet.completeMint({ ...preview, payload, legacySignature: undefined }))).code, 20008, 'code');
  }
  same(sum(await wallet.mintProofsBolt11(63, quote, { privkey: hex(secret) })), 63);
}

export async function more_than_the_invoice_is_not_minted(stage) {
  const wallet = await stage.wallet();
  const quote = await wallet.createMintQuoteBolt11(32);
  await paid(wallet, quote);
  const error = await refused(wallet.mintProofsBolt11(64, quote.quote));
  check([11005, 20002].includes(error.code), `code ${error.code}`);
  same(sum(await wallet.mintProofsBolt11(32, quote.quote)), 32);
}

export async function an_amount_of_nothing_is_refused(stage) {
  const wallet = await stage.wallet();
  const error = await refused(wallet.mint.createMintQuoteBolt11({ unit: 'sat', amount: 0 }));
  check(error.name === 'MintOperationError' || error.status === 400, String(error));
}

export async function a_unit_that_the_mint_has_not_is_refused(stage) {
  const wallet = await stage.wallet();
  same((await refused(wallet.mint.createMintQuoteBolt11({ unit: 'eur', amount: 8 }))).code, 11013, 'code');
}

export async function one_output_may_be_derived_from_the_seed(stage) {
  const wallet = await stage.wallet();
  const data = OutputData.createSingleDeterministicData(1, randomBytes(64), 1, wallet.getKeyset().id);
  const quote = await paid(wallet, await wallet.createMintQuoteBolt11(1));
  const proofs = await wallet.mintProofsBolt11(1, quote.quote, {}, { type: 'custom', data: [data] });
  same(amounts(proofs), [1]);
}

export async function what_is_spent_costs_a_fee(stage) {
  const wallet = await stage.wallet();
  same(wallet.getKeyset().fee, 100, 'input_fee_ppk');
  const proofs = await stage.fund(wallet, 100);
  same(fee(wallet, proofs), 1);
  const { keep, send } = await wallet.send(10, proofs, { includeFees: true });
  same(sum(await wallet.receive(send)), 10, 'what the receiver has');
  check(sum(keep) < 90, 'nothing was paid');
}

export async function outputs_for_others_are_given_one_by_one(stage) {
  const wallet = await stage.wallet();
  const keys = wallet.getKeyset();
  const proofs = await stage.fund(wallet, 40);
  const first = OutputData.createP2PKData({ pubkey: hex(getPubKeyFromPrivKey(randomBytes(32))) }, 10, keys);
  const second = OutputData.createP2PKData({ pubkey: hex(getPubKeyFromPrivKey(randomBytes(32))) }, 10, keys);
  const config = { keep: wallet.defaultOutputType(), send: { type: 'custom', data: [...first, ...second] } };
  const { send } = await wallet.send(20, proofs, {}, config);
  same(send.length, first.length + second.length);
}

export async function both_amounts_of_a_split_may_be_chosen(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 64);
  const costs = fee(wallet, proofs);
  const config = {
    send: { type: 'random', denominations: [8, 4, 8, 2, 8, 2] },
    keep: { type: 'random', denominations: [16, 8, ...Array(8 - costs).fill(1)] },
  };
  const { keep, send } = await wallet.send(32, proofs, {}, config);
  same(amounts(send), [8, 4, 8, 2, 8, 2]);
  same(sum(keep), 32 - costs);
}
