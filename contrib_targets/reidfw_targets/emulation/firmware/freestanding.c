/* The four functions that a compiler may call although the program names none of them.
 *
 * There is no C library below the generated code. Words are copied where both pointers allow it, the rest in bytes.
 * Compiled with -fno-builtin, so that the loops are not turned into calls of themselves.
 */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *one, const void *other, size_t bytes);

typedef uint32_t __attribute__((may_alias)) word_t;

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((((uintptr_t)target | (uintptr_t)source) & 3u) == 0u) {
        word_t *target_words = to;
        const word_t *source_words = from;
        for (; bytes >= 16u; bytes -= 16u) {
            const uint32_t first = source_words[0], second = source_words[1];
            const uint32_t third = source_words[2], fourth = source_words[3];
            target_words[0] = first;
            target_words[1] = second;
            target_words[2] = third;
            target_words[3] = fourth;
            target_words += 4;
            source_words += 4;
        }
        for (; bytes >= 4u; bytes -= 4u) {
            *target_words++ = *source_words++;
        }
        target = (uint8_t *)target_words;
        source = (const uint8_t *)source_words;
    }
    while (bytes-- > 0u) {
        *target++ = *source++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if (target <= source || target >= source + bytes) {
        return memcpy(to, from, bytes);
    }
    while (bytes-- > 0u) {
        target[bytes] = source[bytes];
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    uint8_t *target = to;
    const uint32_t word = (uint32_t)(uint8_t)value * 0x01010101u;
    while (bytes > 0u && ((uintptr_t)target & 3u) != 0u) {
        *target++ = (uint8_t)value;
        bytes--;
    }
    word_t *words = (word_t *)(void *)target;
    for (; bytes >= 16u; bytes -= 16u) {
        words[0] = word;
        words[1] = word;
        words[2] = word;
        words[3] = word;
        words += 4;
    }
    for (; bytes >= 4u; bytes -= 4u) {
        *words++ = word;
    }
    target = (uint8_t *)words;
    while (bytes-- > 0u) {
        *target++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *one, const void *other, size_t bytes)
{
    const uint8_t *left = one;
    const uint8_t *right = other;
    for (size_t index = 0; index < bytes; index++) {
        if (left[index] != right[index]) {
            return (int)left[index] - (int)right[index];
        }
    }
    return 0;
}
