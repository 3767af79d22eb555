/* Fixed-width words in memory, and memory that must not be left behind. */
#ifndef HASHPOOL_WORDS_H
#define HASHPOOL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__) || !defined(__SIZEOF_INT128__)
#error "the kernel needs GCC or Clang on a 64-bit machine"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernel is written for little-endian machines"
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))

static ALWAYS_INLINE uint32_t load32(const uint8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static ALWAYS_INLINE uint64_t load64(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static ALWAYS_INLINE void store32(uint8_t *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}

static ALWAYS_INLINE void store64(uint8_t *to, uint64_t word)
{
    memcpy(to, &word, sizeof word);
}

static ALWAYS_INLINE uint32_t load32_big(const uint8_t *from)
{
    return __builtin_bswap32(load32(from));
}

static ALWAYS_INLINE void store32_big(uint8_t *to, uint32_t word)
{
    store32(to, __builtin_bswap32(word));
}

/* Overwrite secrets; the barrier keeps the compiler from leaving it out as a store that nobody reads. */
static ALWAYS_INLINE void wipe(void *memory, size_t size)
{
    memset(memory, 0, size);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
}

#endif
