/* SHA-256 by the SHA extensions of x86: two rounds an instruction, four words of schedule in three. */

#if defined(__x86_64__)

#include "sha256.h"

#include <cpuid.h>
#include <immintrin.h>

#define EXTENSIONS __attribute__((target("sha,ssse3,sse4.1")))

/* The instructions want the state as (a, b, e, f) and (c, d, g, h), the first word in the highest lane. */
typedef struct {
    __m128i abef, cdgh;
} registers;

/* Sixteen words of schedule, the first in the lowest lane of the first. */
typedef struct {
    __m128i w0, w1, w2, w3;
} schedule;

EXTENSIONS static ALWAYS_INLINE registers pack_state(__m128i abcd, __m128i efgh)
{
    __m128i badc = _mm_shuffle_epi32(abcd, 0xb1);
    __m128i hgfe = _mm_shuffle_epi32(efgh, 0x1b);
    return (registers){_mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0)};
}

EXTENSIONS static ALWAYS_INLINE void unpack_state(registers at, __m128i *abcd, __m128i *efgh)
{
    __m128i abef = _mm_shuffle_epi32(at.abef, 0x1b);
    __m128i ghcd = _mm_shuffle_epi32(at.cdgh, 0xb1);
    *abcd = _mm_blend_epi16(abef, ghcd, 0xf0);
    *efgh = _mm_alignr_epi8(ghcd, abef, 8);
}

EXTENSIONS static ALWAYS_INLINE __m128i load_lanes(const uint32_t *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

/* Between memory and words, which are big-endian there. */
EXTENSIONS static ALWAYS_INLINE __m128i swap_bytes(__m128i words)
{
    return _mm_shuffle_epi8(words, _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
}

EXTENSIONS static ALWAYS_INLINE __m128i load_words(const uint8_t *from)
{
    return swap_bytes(_mm_loadu_si128((const __m128i *)from));
}

EXTENSIONS static ALWAYS_INLINE void store_words(uint8_t *to, __m128i words)
{
    _mm_storeu_si128((__m128i *)to, swap_bytes(words));
}

/* Rounds 4i to 4i+3 with these four words of the schedule. */
EXTENSIONS static ALWAYS_INLINE void four_rounds(registers *at, __m128i words, int i)
{
    __m128i sum = _mm_add_epi32(words, load_lanes(sha256_constants + 4 * i));
    at->cdgh = _mm_sha256rnds2_epu32(at->cdgh, at->abef, sum);
    at->abef = _mm_sha256rnds2_epu32(at->abef, at->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* The four words of schedule that follow sixteen, oldest first. */
EXTENSIONS static ALWAYS_INLINE __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    return _mm_sha256msg2_epu32(sum, w3);
}

/* One block. */
EXTENSIONS static ALWAYS_INLINE registers absorb(registers before, schedule s)
{
    registers at = before;
    for (int i = 0; i < 12; i += 4) {
        four_rounds(&at, s.w0, i);
        s.w0 = next_words(s.w0, s.w1, s.w2, s.w3);
        four_rounds(&at, s.w1, i + 1);
        s.w1 = next_words(s.w1, s.w2, s.w3, s.w0);
        four_rounds(&at, s.w2, i + 2);
        s.w2 = next_words(s.w2, s.w3, s.w0, s.w1);
        four_rounds(&at, s.w3, i + 3);
        s.w3 = next_words(s.w3, s.w0, s.w1, s.w2);
    }
    four_rounds(&at, s.w0, 12);
    four_rounds(&at, s.w1, 13);
    four_rounds(&at, s.w2, 14);
    four_rounds(&at, s.w3, 15);
    return (registers){_mm_add_epi32(at.abef, before.abef), _mm_add_epi32(at.cdgh, before.cdgh)};
}

EXTENSIONS static void compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    registers at = pack_state(load_lanes(state), load_lanes(state + 4));
    __m128i abcd, efgh;
    for (; count; count--, blocks += SHA256_BLOCK) {
        at = absorb(at, (schedule){load_words(blocks), load_words(blocks + 16), load_words(blocks + 32),
                                   load_words(blocks + 48)});
    }
    unpack_state(at, &abcd, &efgh);
    _mm_storeu_si128((__m128i *)state, abcd);
    _mm_storeu_si128((__m128i *)(state + 4), efgh);
}

/* The node stays in registers all the way up: what one hash gives are the next one's first words. */
EXTENSIONS static void climb(uint8_t node[SHA256_SIZE], const uint8_t *siblings, size_t count)
{
    const registers initial = pack_state(load_lanes(sha256_initial), load_lanes(sha256_initial + 4));
    const __m128i zeros = _mm_setzero_si128();
    const __m128i end_mark = _mm_set_epi32(0, 0, 0, INT32_MIN);
    const schedule padding = {end_mark, zeros, zeros, _mm_set_epi32(512, 0, 0, 0)};
    const __m128i digest_size = _mm_set_epi32(256, 0, 0, 0);
    __m128i low = load_words(node), high = load_words(node + 16);
    for (; count; count--, siblings += SHA256_SIZE) {
        registers at = absorb(initial, (schedule){low, high, load_words(siblings), load_words(siblings + 16)});
        unpack_state(absorb(at, padding), &low, &high);
        unpack_state(absorb(initial, (schedule){low, high, end_mark, digest_size}), &low, &high);
    }
    store_words(node, low);
    store_words(node + 16, high);
}

bool sha256_extensions_present(void)
{
    unsigned a, b, c, d;
    bool has_shuffles = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3) && (c & bit_SSE4_1);
    return has_shuffles && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

const sha256_engine sha256_extensions = {"sha-ni", true, compress, climb};

#else
/* ISO C wants a declaration in every file. */
typedef int sha256_extensions_absent;
#endif
