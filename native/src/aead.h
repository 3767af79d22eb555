/* ChaCha20-Poly1305 (RFC 8439 section 2.8) as the encrypted stream uses it: no associated data, the nonce is
 * four zero bytes and a counter of 64 bits.
 */
#ifndef HASHPOOL_AEAD_H
#define HASHPOOL_AEAD_H

#include "chacha20.h"
#include "poly1305.h"

#define AEAD_TAG POLY1305_TAG

/* The keystream's beginning for two nonces that follow one another, as a frame's header and payload have
 * them: four blocks cost little more than one.
 */
typedef struct {
    const chacha20_engine *engine;
    const chacha20_key *key;
    uint64_t nonce;
    bool is_filled;
    _Alignas(32) uint8_t block[CHACHA20_QUAD][CHACHA20_BLOCK];
} aead_window;

void aead_begin(aead_window *window, const chacha20_engine *engine, const chacha20_key *key);
/* Write size + 16 bytes. */
void aead_seal(aead_window *window, uint64_t nonce, const uint8_t *plain, size_t size, uint8_t *sealed);
/* Write size bytes from size + 16; false, and nothing written, if they do not authenticate. */
bool aead_open(aead_window *window, uint64_t nonce, const uint8_t *sealed, size_t size, uint8_t *plain);
void aead_end(aead_window *window);

#endif
