/* Reading a plain mining.submit without making objects of it. */

#include "submit_line.h"

enum { MOST_DIGITS = 18, LEAST_PARAMS = 5, MOST_PARAMS = 6, NUMBER_DIGITS = 8 };

typedef struct {
    const char *at, *end;
    long long id;
    text params[MOST_PARAMS];
    int count;
    bool has_id, has_method, has_params;
} reader;

static void skip_space(reader *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\r' || *in->at == '\n')) {
        in->at++;
    }
}

static bool take_char(reader *in, char wanted)
{
    skip_space(in);
    if (in->at < in->end && *in->at == wanted) {
        in->at++;
        return true;
    }
    return false;
}

static bool take_text(reader *in, text *found)
{
    if (!take_char(in, '"')) {
        return false;
    }
    const char *begin = in->at;
    while (in->at < in->end && *in->at >= ' ' && *in->at <= '~' && *in->at != '"' && *in->at != '\\') {
        in->at++;
    }
    *found = (text){begin, in->at - begin};
    return in->at < in->end && *in->at++ == '"';
}

static bool take_number(reader *in, long long *number)
{
    skip_space(in);
    bool is_negative = in->at < in->end && *in->at == '-';
    in->at += is_negative;
    const char *begin = in->at;
    long long value = 0;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9' && in->at - begin < MOST_DIGITS) {
        value = value * 10 + (*in->at++ - '0');
    }
    *number = is_negative ? -value : value;
    /* A point, an exponent or one more digit that follows is no end of a member. */
    Py_ssize_t digits = in->at - begin;
    return digits > 0 && (*begin != '0' || (digits == 1 && !is_negative));
}

static bool is_text(const text *found, const char *wanted)
{
    return (size_t)found->size == strlen(wanted) && memcmp(found->at, wanted, (size_t)found->size) == 0;
}

static bool take_params(reader *in)
{
    if (!take_char(in, '[')) {
        return false;
    }
    do {
        if (in->count == MOST_PARAMS || !take_text(in, &in->params[in->count++])) {
            return false;
        }
    } while (take_char(in, ','));
    return in->count >= LEAST_PARAMS && take_char(in, ']');
}

static bool take_member(reader *in)
{
    text key, value;
    if (!take_text(in, &key) || !take_char(in, ':')) {
        return false;
    }
    if (is_text(&key, "id")) {
        bool is_first = !in->has_id;
        in->has_id = true;
        return is_first && take_number(in, &in->id);
    }
    if (is_text(&key, "method")) {
        bool is_first = !in->has_method;
        in->has_method = true;
        return is_first && take_text(in, &value) && is_text(&value, "mining.submit");
    }
    if (is_text(&key, "params")) {
        bool is_first = !in->has_params;
        in->has_params = true;
        return is_first && take_params(in);
    }
    return take_text(in, &value);
}

/* Whether it is an object of a submit's members and perhaps others that are plain text, and nothing else. */
static bool read_line(reader *in)
{
    if (!take_char(in, '{')) {
        return false;
    }
    do {
        if (!take_member(in)) {
            return false;
        }
    } while (take_char(in, ','));
    if (!take_char(in, '}')) {
        return false;
    }
    skip_space(in);
    return in->at == in->end && in->has_id && in->has_method && in->has_params;
}

static int digit_of(char letter)
{
    if (letter >= '0' && letter <= '9') {
        return letter - '0';
    }
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static bool read_hex(const text *digits, uint8_t *bytes)
{
    for (Py_ssize_t i = 0; i < digits->size; i += 2) {
        int high = digit_of(digits->at[i]), low = digit_of(digits->at[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_number(const text *digits, uint32_t *number)
{
    uint8_t bytes[NUMBER_DIGITS / 2];
    if (digits->size != NUMBER_DIGITS || !read_hex(digits, bytes)) {
        return false;
    }
    *number = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

bool submission_read(const char *line, Py_ssize_t size, Py_ssize_t extranonce2, submission *said)
{
    reader in = {.at = line, .end = line + size};
    if (!read_line(&in) || in.params[2].size != 2 * extranonce2 || !read_hex(&in.params[2], said->extranonce2) ||
        !read_number(&in.params[3], &said->ntime) || !read_number(&in.params[4], &said->nonce)) {
        return false;
    }
    said->id = in.id;
    said->user = in.params[0];
    said->job_id = in.params[1];
    said->bits = 0;
    return in.count < MOST_PARAMS || in.params[5].size == 0 || read_number(&in.params[5], &said->bits);
}
