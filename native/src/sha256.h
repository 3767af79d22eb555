/* SHA-256 (FIPS 180-4), by the SHA extensions of x86 where the processor has them. */
#ifndef HASHPOOL_SHA256_H
#define HASHPOOL_SHA256_H

#include "words.h"

#define SHA256_SIZE 32
#define SHA256_BLOCK 64

/* Take `count` blocks of 64 bytes into the state. */
typedef void sha256_compress(uint32_t state[8], const uint8_t *blocks, size_t count);
/* Climb a merkle path: replace the node by the double hash of it and each of `count` siblings in turn. */
typedef void sha256_climb(uint8_t node[SHA256_SIZE], const uint8_t *siblings, size_t count);

typedef struct {
    const char *name;
    bool is_fast; /* faster than what Python's hashlib does with one call a hash */
    sha256_compress *compress;
    sha256_climb *climb;
} sha256_engine;

extern const sha256_engine sha256_portable;
#if defined(__x86_64__)
extern const sha256_engine sha256_extensions;
bool sha256_extensions_present(void);
#endif

/* The best engine of this processor. */
const sha256_engine *sha256_best(void);

typedef struct {
    const sha256_engine *engine;
    uint32_t state[8];
    uint64_t size;              /* bytes taken so far */
    uint8_t rest[SHA256_BLOCK]; /* the last size % 64 of them, not yet compressed */
} sha256;

void sha256_begin(sha256 *hash, const sha256_engine *engine);
void sha256_take(sha256 *hash, const uint8_t *data, size_t size);
/* Nothing of what was hashed stays but in `hash`, which must be begun again, or wiped. */
void sha256_end(sha256 *hash, uint8_t digest[SHA256_SIZE]);

/* The end of a hash, and the hash of that: 32 bytes in bitcoin's internal order. */
void sha256_end_double(sha256 *hash, uint8_t digest[SHA256_SIZE]);

/* Section 4.2.2 and 5.3.3 of the standard. */
extern const uint32_t sha256_constants[64];
extern const uint32_t sha256_initial[8];

#endif
