/* ChaCha20 (RFC 8439 section 2.3), four blocks of keystream at a time. */
#ifndef HASHPOOL_CHACHA20_H
#define HASHPOOL_CHACHA20_H

#include "words.h"

#define CHACHA20_KEY 32
#define CHACHA20_BLOCK 64
#define CHACHA20_QUAD 4

typedef struct {
    uint32_t word[8];
} chacha20_key;

/* Where in the keystream a block stands: counter, then the nonce's three words. */
typedef struct {
    uint32_t word[4];
} chacha20_place;

/* Write the blocks of four places, which need have nothing in common. */
typedef void chacha20_blocks(uint8_t out[CHACHA20_QUAD][CHACHA20_BLOCK], const chacha20_key *key,
                             const chacha20_place places[CHACHA20_QUAD]);

typedef struct {
    const char *name;
    chacha20_blocks *blocks;
} chacha20_engine;

extern const chacha20_engine chacha20_narrow; /* 128-bit vectors, as the compiler has them */
#if defined(__x86_64__)
extern const chacha20_engine chacha20_wide; /* AVX2 */
bool chacha20_wide_present(void);
#endif

/* The best engine of this processor. */
const chacha20_engine *chacha20_best(void);

void chacha20_load_key(chacha20_key *key, const uint8_t bytes[CHACHA20_KEY]);

#endif
