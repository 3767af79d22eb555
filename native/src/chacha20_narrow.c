/* ChaCha20 on the vectors that every processor of the kind has: SSE2, NEON. */

#define LANES 1
#define TARGET
#include "chacha20_rows.h"

const chacha20_engine chacha20_narrow = {"narrow", four_blocks};

const chacha20_engine *chacha20_best(void)
{
#if defined(__x86_64__)
    if (chacha20_wide_present()) {
        return &chacha20_wide;
    }
#endif
    return &chacha20_narrow;
}

void chacha20_load_key(chacha20_key *key, const uint8_t bytes[CHACHA20_KEY])
{
    memcpy(key->word, bytes, CHACHA20_KEY);
}
