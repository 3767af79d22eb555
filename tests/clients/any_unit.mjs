// What a wallet does with tokens of whatever unit: NUTs 00 to 03, 07, 09 to 14, 17, 19 and 28.

import { createHash, randomBytes } from 'node:crypto';
import {
  CheckStateEnum, MintOperationError, OutputData, P2PKBuilder, getDecodedToken, getEncodedToken, getPubKeyFromPrivKey,
} from '@cashu/cashu-ts';
import { amounts, check, refused, same, sum, tokenV3 } from './stage.mjs';

const hex = (bytes) => Buffer.from(bytes).toString('hex');

function keyPair() {
  const secret = randomBytes(32);
  return { privkey: hex(secret), pubkey: hex(getPubKeyFromPrivKey(secret)) };
}

function fee(wallet, proofs) {
  return Number(wallet.getFeesForProofs(proofs));
}

function lockedTo(proofs, key) {
  for (const proof of proofs) same(JSON.parse(proof.secret)[1].data, key, 'the lock');
}

function unsigned(error, words) {
  check(error instanceof MintOperationError, `not a refusal of the mint: ${error}`);
  same(error.code, 20008, 'code');
  check(words.test(error.message.toLowerCase()), `text: ${error.message}`);
}

async function states(wallet, proofs, wanted) {
  for (const state of await wallet.checkProofsStates(proofs)) same(state.state, wanted, 'state');
}

export async function a_quote_is_minted_to_its_whole_amount(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 100);
  same(sum(proofs), 100);
  same(amounts(proofs).sort((a, b) => a - b), [4, 32, 64]);
  for (const proof of proofs) check(wallet.getKeyset(proof.id).verify(), 'the keyset id does not recompute');
}

export async function info_keys_and_keysets_agree(stage) {
  const wallet = await stage.wallet();
  const { keysets } = await wallet.mint.getKeySets();
  const mine = keysets.filter((keyset) => keyset.unit === stage.unit && keyset.active);
  check(mine.length > 0, 'no active keyset of the unit');
  const { keysets: keys } = await wallet.mint.getKeys();
  check(keys.some((keyset) => keyset.id === mine[0].id), 'an active keyset is not among the keys');
  const { keysets: one } = await wallet.mint.getKeys(mine[0].id);
  same(one.map((keyset) => keyset.id), [mine[0].id]);
  const info = wallet.getMintInfo();
  for (const nut of [7, 8, 9, 10, 11, 12, 14, 20]) {
    check(nut === 8 || info.isSupported(nut).supported, `NUT-${nut} is not announced`);
  }
}

export async function an_exact_amount_is_sent_without_a_swap(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 64);
  const { keep, send } = await wallet.send(64, proofs);
  same([keep.length, send.length], [0, 1]);
  same(sum(send), 64);
}

export async function an_amount_is_split_off_and_the_rest_kept(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 100);
  const { keep, send } = await wallet.send(10, proofs, { includeFees: false });
  same(amounts(send).sort((a, b) => a - b), [2, 8]);
  const swapped = proofs.filter((proof) => !keep.some((kept) => kept.secret === proof.secret));
  same(sum(keep), 90 - fee(wallet, swapped));
  await states(wallet, keep, CheckStateEnum.UNSPENT);
  await states(wallet, swapped, CheckStateEnum.SPENT);
}

export async function a_token_of_the_present_form_is_received(stage) {
  const [wallet, other] = [await stage.wallet(), await stage.wallet()];
  const { send } = await wallet.send(10, await stage.fund(wallet, 100));
  const token = getEncodedToken({ mint: stage.url, unit: stage.unit, proofs: send });
  check(token.startsWith('cashuB'), 'not a V4 token');
  const received = await other.receive(token);
  same(sum(received), 10 - fee(wallet, send));
  await states(wallet, send, CheckStateEnum.SPENT);
}

export async function a_token_of_the_older_form_is_received(stage) {
  const [wallet, other] = [await stage.wallet(), await stage.wallet()];
  const { send } = await wallet.send(10, await stage.fund(wallet, 100));
  const received = await other.receive(tokenV3(stage.url, stage.unit, send));
  same(sum(received), 10 - fee(wallet, send));
}

export async function a_token_is_received_once(stage) {
  const [wallet, thief] = [await stage.wallet(), await stage.wallet()];
  const proofs = await stage.fund(wallet, 64);
  await wallet.receive(proofs);
  const error = await refused(thief.receive(proofs));
  same(error.code, 11001, 'code');
}

export async function of_many_who_receive_a_token_one_has_it(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 64);
  const takers = await Promise.all(Array.from({ length: 8 }, () => stage.wallet()));
  const outcomes = await Promise.allSettled(takers.map((taker) => taker.receive(proofs)));
  const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
  same(lost.length, 7, 'losers');
  for (const { reason } of lost) check([11001, 11002].includes(reason.code), `code ${reason.code}`);
}

export async function a_swap_whose_answer_was_lost_is_answered_again(stage) {
  const wallet = await stage.wallet();
  const preview = await wallet.prepareSwapToSend(64, await stage.fund(wallet, 100));
  const first = await wallet.completeSwap(preview);
  const again = await wallet.completeSwap(preview);
  same(again.send.map((proof) => proof.C), first.send.map((proof) => proof.C));
  same(again.keep.map((proof) => proof.C), first.keep.map((proof) => proof.C));
}

export async function a_mint_whose_answer_was_lost_is_answered_again(stage) {
  const wallet = await stage.wallet();
  const quote = await stage.quote(wallet, 64);
  const config = quote.pubkey ? { privkey: stage.privkey } : {};
  const preview = await wallet.prepareMint(stage.method, 64, quote, config);
  const first = await wallet.completeMint(preview);
  same((await wallet.completeMint(preview)).map((proof) => proof.C), first.map((proof) => proof.C));
}

export async function a_quote_is_not_minted_twice(stage) {
  const wallet = await stage.wallet();
  const quote = await stage.quote(wallet, 64);
  const config = quote.pubkey ? { privkey: stage.privkey } : {};
  await wallet.mintProofs(stage.method, 64, quote, config);
  same((await refused(wallet.mintProofs(stage.method, 64, quote, config))).code, 20002, 'code');
}

export async function quotes_are_minted_in_a_batch(stage) {
  const wallet = await stage.wallet();
  const quotes = [await stage.quote(wallet, 64), await stage.quote(wallet, 100)];
  const checked = await wallet.checkMintQuoteBatch(stage.method, quotes);
  same(checked.map((quote) => quote.quote), quotes.map((quote) => quote.quote));
  const entries = [{ amount: 64, quote: quotes[0] }, { amount: 100, quote: quotes[1] }];
  const config = quotes[0].pubkey ? { privkey: stage.privkey } : {};
  const proofs = await wallet.completeBatchMint(await wallet.prepareBatchMint(stage.method, entries, config));
  same(sum(proofs), 164);
}

export async function a_locked_token_is_received_with_its_key_alone(stage) {
  const wallet = await stage.wallet();
  const [alice, bob] = [keyPair(), keyPair()];
  const { send } = await wallet.ops.send(64, await stage.fund(wallet, 128)).asP2PK({ pubkey: bob.pubkey }).run();
  lockedTo(send, bob.pubkey);
  const token = getEncodedToken({ mint: stage.url, unit: stage.unit, proofs: send });
  unsigned(await refused(wallet.receive(token, { privkey: alice.privkey })), /witness.*p2pk.*signature/);
  unsigned(await refused(wallet.receive(token)), /witness.*p2pk.*signature/);
  const received = await wallet.receive(token, { privkey: bob.privkey });
  same(sum(received), 64 - fee(wallet, send));
  const [state] = await wallet.checkProofsStates(send);
  check(JSON.parse(state.witness).signatures.length === 1, 'the witness is not told');
}

export async function further_tags_of_a_lock_are_left_alone(stage) {
  const wallet = await stage.wallet();
  const alice = keyPair();
  const lock = new P2PKBuilder().addLockPubkey(alice.pubkey).addTag('e', 'abc').addTag('msg', 'hello').toOptions();
  const { send } = await wallet.ops.send(64, await stage.fund(wallet, 128)).asP2PK(lock).run();
  same(JSON.parse(send[0].secret)[1].tags.filter(([name]) => ['e', 'msg'].includes(name)).length, 2, 'tags');
  same(sum(await wallet.receive(send, { privkey: alice.privkey })), 64 - fee(wallet, send));
}

export async function two_of_three_keys_open_a_lock(stage) {
  const wallet = await stage.wallet();
  const keys = [keyPair(), keyPair(), keyPair()];
  const lock = new P2PKBuilder().addLockPubkey(keys.map((key) => key.pubkey)).requireLockSignatures(2).toOptions();
  const { send } = await wallet.ops.send(64, await stage.fund(wallet, 128)).asP2PK(lock).run();
  unsigned(await refused(wallet.receive(send, { privkey: keys[0].privkey })), /witness.*p2pk.*signature/);
  const both = [keys[0].privkey, keys[2].privkey];
  same(sum(await wallet.receive(send, { privkey: both })), 64 - fee(wallet, send));
}

export async function a_lock_that_has_passed_is_opened_by_the_refund_key(stage) {
  const wallet = await stage.wallet();
  const [bob, payer] = [keyPair(), keyPair()];
  const build = () => new P2PKBuilder().addLockPubkey(bob.pubkey).addRefundPubkey(payer.pubkey);
  const proofs = await stage.fund(wallet, 128);
  const passed = build().lockUntil(Math.floor(Date.now() / 1000) - 60).toOptions();
  const holding = build().lockUntil(Math.floor(Date.now() / 1000) + 3600).toOptions();
  const { send, keep } = await wallet.ops.send(32, proofs).asP2PK(passed).run();
  same(sum(await wallet.receive(send, { privkey: payer.privkey })), 32 - fee(wallet, send));
  const { send: held } = await wallet.ops.send(32, keep).asP2PK(holding).run();
  unsigned(await refused(wallet.receive(held, { privkey: payer.privkey })), /witness.*p2pk.*signature/);
}

export async function a_lock_over_the_whole_request_needs_its_signature(stage) {
  const wallet = await stage.wallet();
  const bob = keyPair();
  const lock = new P2PKBuilder().addLockPubkey(bob.pubkey).sigAll().toOptions();
  const { send } = await wallet.ops.send(48, await stage.fund(wallet, 128)).asP2PK(lock).run();
  unsigned(await refused(wallet.receive(send)), /no witness|signatures not provided/);
  same(sum(await wallet.receive(send, { privkey: bob.privkey })), 48 - fee(wallet, send));
}

export async function a_hash_lock_is_opened_by_its_preimage_and_key(stage) {
  const wallet = await stage.wallet();
  const bob = keyPair();
  const preimage = randomBytes(32);
  const hash = createHash('sha256').update(preimage).digest('hex');
  const lock = new P2PKBuilder().addHashlock(hash).addLockPubkey(bob.pubkey).toOptions();
  const { send } = await wallet.ops.send(64, await stage.fund(wallet, 128)).asP2PK(lock).run();
  const opened = (image) => send.map((proof) => ({ ...proof, witness: { preimage: hex(image) } }));
  check((await refused(wallet.receive(send, { privkey: bob.privkey }))) instanceof MintOperationError, 'no preimage');
  check((await refused(wallet.receive(opened(preimage)))) instanceof MintOperationError, 'no signature');
  const wrong = opened(randomBytes(32));
  check((await refused(wallet.receive(wrong, { privkey: bob.privkey }))) instanceof MintOperationError, 'wrong preimage');
  same(sum(await wallet.receive(opened(preimage), { privkey: bob.privkey })), 64 - fee(wallet, send));
}

export async function a_lock_to_a_blinded_key_is_opened_by_the_key(stage) {
  const wallet = await stage.wallet();
  const bob = keyPair();
  const lock = new P2PKBuilder().addLockPubkey(bob.pubkey).blindKeys().toOptions();
  const { send } = await wallet.ops.send(64, await stage.fund(wallet, 128)).asP2PK(lock).run();
  for (const proof of send) {
    check(proof.p2pk_e, 'no ephemeral key');
    check(!proof.secret.includes(bob.pubkey), 'the key is told');
  }
  const token = getEncodedToken({ mint: stage.url, unit: stage.unit, proofs: send });
  same(sum(await wallet.receive(token, { privkey: bob.privkey })), 64 - fee(wallet, send));
}

export async function every_signature_comes_with_its_proof(stage) {
  const wallet = await stage.wallet({ requireSigDleq: true });
  const proofs = await stage.fund(wallet, 100);
  const { send, keep } = await wallet.send(10, proofs);
  for (const { dleq } of [...proofs, ...send, ...keep]) check(dleq?.e && dleq.s && dleq.r, 'a part is missing');
}

export async function a_token_with_proofs_is_received_where_they_are_demanded(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 64);
  const token = getEncodedToken({ mint: stage.url, unit: stage.unit, proofs });
  same(sum(await wallet.receive(token, { requireDleq: true })), 64 - fee(wallet, proofs));
}

export async function a_token_without_or_with_false_proofs_is_refused_by_the_wallet(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 64);
  const bare = getEncodedToken({ mint: stage.url, unit: stage.unit, proofs }, { removeDleq: true });
  const [decoded] = getDecodedToken(bare, proofs.map((proof) => proof.id)).proofs;
  same(decoded.dleq, undefined);
  check(/dleq/i.test((await refused(wallet.receive(bare, { requireDleq: true }))).message), 'taken without');
  const forged = proofs.map((proof) => {
    const s = (BigInt(`0x${proof.dleq.s}`) ^ 1n).toString(16).padStart(64, '0');
    return { ...proof, dleq: { ...proof.dleq, s } };
  });
  check(/dleq/i.test((await refused(wallet.receive(forged, { requireDleq: true }))).message), 'taken forged');
  await states(wallet, proofs, CheckStateEnum.UNSPENT);
}

export async function a_seed_restores_what_is_unspent(stage) {
  const bip39seed = new Uint8Array(randomBytes(64));
  const wallet = await stage.wallet({ bip39seed });
  const proofs = await stage.fund(wallet, 100);
  const { keep, send } = await wallet.send(10, proofs);
  const heir = await stage.wallet({ bip39seed });
  const { proofs: found, lastCounterWithSignature } = await heir.batchRestore(10, 20);
  check(lastCounterWithSignature >= found.length - 1, 'the counter is not told');
  const { unspent, spent } = await heir.groupProofsByState(found);
  const secrets = (items) => items.map((proof) => proof.secret).sort();
  const kept = unspent.filter((proof) => keep.some((item) => item.secret === proof.secret));
  same(secrets(kept), secrets(keep));
  same(sum(unspent) + sum(spent), sum(found));
  check(send.length > 0, 'nothing was sent');
  await heir.counters.advanceToAtLeast(heir.keysetId, lastCounterWithSignature + 1);
  same(sum(await heir.receive(kept)), sum(kept) - fee(heir, kept));
}

export async function outputs_may_have_any_secret(stage) {
  const wallet = await stage.wallet();
  const factory = (key) => ({
    type: 'factory', factory: (amount, keys) => OutputData.createSingleP2PKData({ pubkey: key }, amount, keys.id),
  });
  const mine = keyPair();
  const proofs = await stage.fund(wallet, 64, factory(mine.pubkey));
  lockedTo(proofs, mine.pubkey);
  const signed = wallet.signP2PKProofs(proofs, mine.privkey);
  const [left, right] = [keyPair().pubkey, keyPair().pubkey];
  const config = { keep: factory(left), send: factory(right) };
  const { keep, send } = await wallet.send(32, signed, {}, config);
  lockedTo(keep, left);
  lockedTo(send, right);
}

export async function signatures_come_in_the_order_of_the_outputs(stage) {
  const wallet = await stage.wallet();
  const denominations = [8, 4, 8, 2, 8, 2];
  const { send } = await wallet.send(32, await stage.fund(wallet, 64), { includeFees: true });
  const wanted = sum(send) - fee(wallet, send);
  same(wanted, 32, 'what is left to receive');
  const received = await wallet.receive(send, {}, { type: 'random', denominations });
  same(amounts(received), denominations);
}

export async function a_spent_proof_is_told_at_once_to_who_waits_for_it(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 64);
  const seen = [];
  await new Promise((resolve, reject) => {
    wallet.on
      .proofStateUpdates(
        proofs,
        ({ state }) => {
          seen.push(state);
          if (state === CheckStateEnum.UNSPENT) wallet.receive(proofs).catch(reject);
          if (state === CheckStateEnum.SPENT) resolve();
        },
        reject,
      )
      .catch(reject);
  });
  same(seen[0], CheckStateEnum.UNSPENT, 'the first state');
  wallet.mint.disconnectWebSocket();
}
