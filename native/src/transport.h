/* The state of one encrypted stream, both directions (SV2 section 4.6). */
#ifndef HASHPOOL_TRANSPORT_H
#define HASHPOOL_TRANSPORT_H

#include "kernel.h"

#include "aead.h"

#define FRAME_HEADER 6
#define SEALED_HEADER (FRAME_HEADER + AEAD_TAG)
#define CHUNK (65535 - AEAD_TAG)
#define LAST_NONCE (UINT64_MAX - 1)
#define PASSED_TYPES 8
/* Payloads above this size are made objects of before a sink sees them. */
#define SINK_MOST 128

/* A frame type (the header's first three bytes) that the limit has let pass with payloads below this size. */
typedef struct {
    uint32_t type;
    uint32_t below;
} passed_type;

typedef struct {
    PyObject_HEAD
    chacha20_key send_key, receive_key;
    unsigned long long send_nonce, receive_nonce;
    PyObject *limit, *forged, *exhausted;
    PyObject *header;  /* of the frame whose payload is awaited, else NULL */
    uint32_t missing;  /* bytes of that payload not yet opened */
    uint32_t need;     /* sealed bytes of the next piece */
    uint8_t *pending;  /* the beginning of that piece */
    uint32_t held;     /* how much of it is there */
    uint32_t room;     /* how much memory it has */
    uint8_t *payload;  /* chunks opened before the last one */
    uint32_t gathered; /* how many bytes they are */
    passed_type passed[PASSED_TYPES];
    unsigned next_passed;
    bool is_receiving;
    bool is_broken;
} Transport;

PyObject *transport_send(Transport *self, PyObject *const *args, Py_ssize_t count);
PyObject *transport_send_many(Transport *self, PyObject *frames);
PyObject *transport_receive(Transport *self, PyObject *data);
/* So many frames that lie one behind the other, header and payload each, sealed; a payload is one chunk. */
PyObject *transport_send_run(Transport *self, const uint8_t *frames, size_t size, size_t count);

/* Takes frames as they are opened: 1, or 0 for one that it leaves, or -1 with an exception set. */
typedef struct {
    int (*take)(void *context, const uint8_t *header, const uint8_t *payload, size_t size);
    void *context;
} frame_sink;

/* Open what has arrived for a sink. The first frame that it leaves, and all behind that, become the list `left`,
 * which is NULL if there are none. -1 with an exception set; what the sink has taken before stays taken.
 */
int transport_open_into(Transport *self, const uint8_t *data, size_t size, const frame_sink *sink, PyObject **left);
/* Whether it is a Transport of this module. */
bool transport_check(PyObject *object);
/* Open data that are a whole frame of this payload size, of a type that has passed, into header and payload.
 * False if they are not, and nothing has happened then: `transport_receive` finds out what they are.
 */
bool transport_open_lone(Transport *self, PyObject *data, uint8_t header[FRAME_HEADER], uint8_t *payload, size_t size);

#endif
