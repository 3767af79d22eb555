/* Transport.receive: sealed bytes as they arrive into whole frames. */

#include "transport.h"

/* What one call of receive works with; `frames` are made with the first that no sink takes. */
typedef struct {
    Transport *self;
    aead_window window;
    const frame_sink *sink;
    PyObject *frames;
} opening;

static bool has_passed(const Transport *self, uint32_t type, uint32_t size)
{
    for (int i = 0; i < PASSED_TYPES; i++) {
        if (self->passed[i].type == type && size < self->passed[i].below) {
            return true;
        }
    }
    return false;
}

static void remember_passed(Transport *self, uint32_t type, uint32_t size)
{
    for (int i = 0; i < PASSED_TYPES; i++) {
        if (self->passed[i].type == type) {
            self->passed[i].below = size + 1;
            return;
        }
    }
    self->passed[self->next_passed] = (passed_type){type, size + 1};
    self->next_passed = (self->next_passed + 1) % PASSED_TYPES;
}

/* Ask the limit about a header, unless it has let as large a frame of this type pass before. */
static int ask_limit(Transport *self, PyObject *header, uint32_t type, uint32_t size)
{
    if (has_passed(self, type, size)) {
        return 0;
    }
    PyObject *answer = PyObject_CallOneArg(self->limit, header);
    if (answer == NULL) {
        return -1;
    }
    Py_DECREF(answer);
    remember_passed(self, type, size);
    return 0;
}

/* 1 if the sink has taken a frame, 0 if it is left, -1 with an exception set. */
static int offer(const opening *at, const uint8_t *header, const uint8_t *payload, size_t size)
{
    return at->sink == NULL || at->frames != NULL ? 0 : at->sink->take(at->sink->context, header, payload, size);
}

/* A frame that the sink leaves, or that it was not offered. */
static int leave(opening *at, PyObject *header, PyObject *payload)
{
    PyObject *frame = PyTuple_Pack(2, header, payload);
    if (at->frames == NULL) {
        at->frames = PyList_New(0);
    }
    int result = frame == NULL || at->frames == NULL ? -1 : PyList_Append(at->frames, frame);
    Py_XDECREF(frame);
    return result;
}

static int deliver(opening *at, PyObject *header, PyObject *payload)
{
    int taken = offer(at, (const uint8_t *)PyBytes_AS_STRING(header), (const uint8_t *)PyBytes_AS_STRING(payload),
                      (size_t)PyBytes_GET_SIZE(payload));
    return taken ? (taken < 0 ? -1 : 0) : leave(at, header, payload);
}

static int open_piece(opening *at, const uint8_t *sealed, size_t size, uint8_t *plain)
{
    Transport *self = at->self;
    if (!aead_open(&at->window, self->receive_nonce, sealed, size, plain)) {
        PyErr_SetString(self->forged, "a frame does not authenticate");
        return -1;
    }
    self->receive_nonce++;
    return 0;
}

static uint32_t next_chunk(uint32_t missing)
{
    return missing < CHUNK ? missing : CHUNK;
}

/* A small frame that is here as a whole, for a sink: no object is made of it unless that leaves it. */
static int take_whole(opening *at, const uint8_t header[FRAME_HEADER], const uint8_t *sealed, size_t size)
{
    uint8_t plain[SINK_MOST];
    if (open_piece(at, sealed, size, plain) < 0) {
        return -1;
    }
    int taken = offer(at, header, plain, size);
    if (taken) {
        return taken < 0 ? -1 : 0;
    }
    PyObject *first = PyBytes_FromStringAndSize((const char *)header, FRAME_HEADER);
    PyObject *second = first == NULL ? NULL : PyBytes_FromStringAndSize((const char *)plain, (Py_ssize_t)size);
    int result = second == NULL ? -1 : leave(at, first, second);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return result;
}

/* The header of a frame, of which the limit hears; what follows waits for its payload. */
static int begin_frame(opening *at, const uint8_t plain[FRAME_HEADER], uint32_t type, uint32_t size)
{
    Transport *self = at->self;
    PyObject *header = PyBytes_FromStringAndSize((const char *)plain, FRAME_HEADER);
    int result = header == NULL ? -1 : ask_limit(self, header, type, size);
    if (result == 0 && size) {
        self->header = Py_NewRef(header);
        self->missing = size;
        self->need = next_chunk(size) + AEAD_TAG;
    } else if (result == 0) {
        PyObject *nothing = PyBytes_FromStringAndSize(NULL, 0);
        result = nothing == NULL ? -1 : deliver(at, header, nothing);
        Py_XDECREF(nothing);
    }
    Py_XDECREF(header);
    return result;
}

/* How much of what follows the header is taken with it, or -1. */
static Py_ssize_t take_header(opening *at, const uint8_t *sealed, size_t behind)
{
    Transport *self = at->self;
    uint8_t plain[FRAME_HEADER];
    if (open_piece(at, sealed, FRAME_HEADER, plain) < 0) {
        return -1;
    }
    uint32_t type = plain[0] | (uint32_t)plain[1] << 8 | (uint32_t)plain[2] << 16;
    uint32_t size = plain[3] | (uint32_t)plain[4] << 8 | (uint32_t)plain[5] << 16;
    if (at->sink != NULL && at->frames == NULL && size && size <= SINK_MOST && behind >= size + AEAD_TAG &&
        self->receive_nonce <= LAST_NONCE && has_passed(self, type, size)) {
        return take_whole(at, plain, sealed + SEALED_HEADER, size) < 0 ? -1 : (Py_ssize_t)(size + AEAD_TAG);
    }
    return begin_frame(at, plain, type, size);
}

/* A chunk that is not the payload's last: memory grows with what has really come. */
static int keep_chunk(opening *at, const uint8_t *sealed, uint32_t size)
{
    Transport *self = at->self;
    uint8_t *grown = PyMem_Realloc(self->payload, (size_t)self->gathered + size);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->payload = grown;
    if (open_piece(at, sealed, size, grown + self->gathered) < 0) {
        return -1;
    }
    self->gathered += size;
    self->missing -= size;
    self->need = next_chunk(self->missing) + AEAD_TAG;
    return 0;
}

static int take_last_chunk(opening *at, const uint8_t *sealed, uint32_t size)
{
    Transport *self = at->self;
    PyObject *payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)self->gathered + size);
    if (payload == NULL) {
        return -1;
    }
    uint8_t *plain = (uint8_t *)PyBytes_AS_STRING(payload);
    if (open_piece(at, sealed, size, plain + self->gathered) < 0) {
        Py_DECREF(payload);
        return -1;
    }
    if (self->gathered) {
        memcpy(plain, self->payload, self->gathered);
        PyMem_Free(self->payload);
        self->payload = NULL;
        self->gathered = 0;
    }
    PyObject *header = self->header;
    self->header = NULL;
    self->missing = 0;
    self->need = SEALED_HEADER;
    int result = deliver(at, header, payload);
    Py_DECREF(header);
    Py_DECREF(payload);
    return result;
}

/* One whole piece, a header or a chunk, with so many bytes behind it; how many of those are taken with it, or -1. */
static Py_ssize_t take_piece(opening *at, const uint8_t *sealed, size_t behind)
{
    Transport *self = at->self;
    if (self->receive_nonce > LAST_NONCE) {
        PyErr_SetString(self->exhausted, "no nonce is left to receive with");
        return -1;
    }
    if (self->header == NULL) {
        return take_header(at, sealed, behind);
    }
    uint32_t size = self->need - AEAD_TAG;
    return size < self->missing ? keep_chunk(at, sealed, size) : take_last_chunk(at, sealed, size);
}

/* Put the beginning of a piece aside; how much of the data that takes, or -1. */
static Py_ssize_t set_aside(Transport *self, const uint8_t *data, size_t size)
{
    if (self->room < self->need) {
        uint8_t *grown = PyMem_Realloc(self->pending, self->need);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->pending = grown;
        self->room = self->need;
    }
    size_t taken = self->need - self->held < size ? self->need - self->held : size;
    memcpy(self->pending + self->held, data, taken);
    self->held += (uint32_t)taken;
    return (Py_ssize_t)taken;
}

static int take(opening *at, const uint8_t *data, size_t size)
{
    Transport *self = at->self;
    while (size) {
        uint32_t need = self->need;
        if (self->held == 0 && size >= need) {
            Py_ssize_t more = take_piece(at, data, size - need);
            if (more < 0) {
                return -1;
            }
            data += need + (size_t)more, size -= need + (size_t)more;
            continue;
        }
        Py_ssize_t taken = set_aside(self, data, size);
        if (taken < 0) {
            return -1;
        }
        data += taken, size -= (size_t)taken;
        if (self->held == need) {
            self->held = 0;
            if (take_piece(at, self->pending, 0) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

/* An idle stream keeps no memory for what it does not hold. */
static void give_back(Transport *self)
{
    if (self->held == 0 && self->pending != NULL) {
        PyMem_Free(self->pending);
        self->pending = NULL;
        self->room = 0;
    }
}

/* Whatever has arrived; -1 with an exception set, after which there are no frames. */
static int open_all(opening *at, const uint8_t *data, size_t size)
{
    Transport *self = at->self;
    if (self->is_receiving) {
        PyErr_SetString(PyExc_RuntimeError, "receive is called from within receive");
        return -1;
    }
    if (self->is_broken) {
        PyErr_SetString(self->forged, "the stream has broken before");
        return -1;
    }
    self->is_receiving = true;
    aead_begin(&at->window, kernel_chacha20, &self->receive_key);
    int result = take(at, data, size);
    aead_end(&at->window);
    give_back(self);
    self->is_receiving = false;
    if (result < 0) {
        self->is_broken = true;
    }
    return result;
}

PyObject *transport_receive(Transport *self, PyObject *data)
{
    Py_buffer view;
    opening at = {.self = self, .frames = PyList_New(0)};
    if (at.frames == NULL || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF(at.frames);
        return NULL;
    }
    int result = open_all(&at, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (result < 0) {
        Py_CLEAR(at.frames);
    }
    return at.frames;
}

int transport_open_into(Transport *self, const uint8_t *data, size_t size, const frame_sink *sink, PyObject **left)
{
    opening at = {.self = self, .sink = sink};
    int result = open_all(&at, data, size);
    if (result < 0) {
        Py_CLEAR(at.frames);
    }
    *left = at.frames;
    return result;
}

bool transport_open_lone(Transport *self, PyObject *data, uint8_t header[FRAME_HEADER], uint8_t *payload, size_t size)
{
    if (!PyBytes_CheckExact(data) || (size_t)PyBytes_GET_SIZE(data) != SEALED_HEADER + size + AEAD_TAG || size > CHUNK ||
        self->is_receiving || self->is_broken || self->header != NULL || self->held ||
        self->receive_nonce >= LAST_NONCE) {
        return false;
    }
    const uint8_t *sealed = (const uint8_t *)PyBytes_AS_STRING(data);
    aead_window window;
    bool is_open = false;
    aead_begin(&window, kernel_chacha20, &self->receive_key);
    if (aead_open(&window, self->receive_nonce, sealed, FRAME_HEADER, header)) {
        uint32_t type = header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16;
        uint32_t missing = header[3] | (uint32_t)header[4] << 8 | (uint32_t)header[5] << 16;
        if (missing == size && has_passed(self, type, missing) &&
            aead_open(&window, self->receive_nonce + 1, sealed + SEALED_HEADER, size, payload)) {
            self->receive_nonce += 2;
            is_open = true;
        }
    }
    aead_end(&window);
    return is_open;
}
