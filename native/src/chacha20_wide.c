/* ChaCha20 on AVX2, two blocks a vector. */

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES 2
#define TARGET __attribute__((target("avx2")))

/* By whole bytes one shuffle rotates, else it takes two shifts. */
#define BYTES_16 _mm256_set_epi64x(0x0d0c0f0e09080b0a, 0x0504070601000302, 0x0d0c0f0e09080b0a, 0x0504070601000302)
#define BYTES_8 _mm256_set_epi64x(0x0e0d0c0f0a09080b, 0x0605040702010003, 0x0e0d0c0f0a09080b, 0x0605040702010003)
#define ROTATE(x, n)                                                                                             \
    ((n) == 16  ? (row)_mm256_shuffle_epi8((__m256i)(x), BYTES_16)                                               \
     : (n) == 8 ? (row)_mm256_shuffle_epi8((__m256i)(x), BYTES_8)                                                \
                : ((x) << (n) | (x) >> (32 - (n))))

#include "chacha20_rows.h"

bool chacha20_wide_present(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

const chacha20_engine chacha20_wide = {"avx2", four_blocks};

#else
/* ISO C wants a declaration in every file. */
typedef int chacha20_wide_absent;
#endif
