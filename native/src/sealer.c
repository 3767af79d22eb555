/* Transport.send and send_many: frames into one piece of sealed bytes. */

#include "transport.h"

static const char no_nonce[] = "no nonce is left to send with";

/* What a payload of this size becomes with its header. */
static size_t sealed_size(size_t payload)
{
    size_t chunks = (payload + CHUNK - 1) / CHUNK;
    return SEALED_HEADER + payload + chunks * AEAD_TAG;
}

/* One frame; the caller has seen to its nonces. */
static uint8_t *seal_frame(Transport *self, aead_window *window, const uint8_t *header, const uint8_t *payload,
                           size_t size, uint8_t *out)
{
    aead_seal(window, self->send_nonce++, header, FRAME_HEADER, out);
    out += SEALED_HEADER;
    while (size) {
        size_t chunk = size < CHUNK ? size : CHUNK;
        aead_seal(window, self->send_nonce++, payload, chunk, out);
        payload += chunk, size -= chunk, out += chunk + AEAD_TAG;
    }
    return out;
}

/* Room for a frame after what is counted already: -1 with an exception set if there is none. */
static int count_frame(const Transport *self, PyObject *header, PyObject *payload, size_t *total,
                       uint64_t *nonce)
{
    if (kernel_bytes(header, "header", FRAME_HEADER) == NULL || kernel_bytes(payload, "payload", -1) == NULL) {
        return -1;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(payload);
    uint64_t most = size / CHUNK + 2;
    if (most > LAST_NONCE || *nonce > LAST_NONCE - most) {
        PyErr_SetString(self->exhausted, no_nonce);
        return -1;
    }
    *nonce += 1 + (size + CHUNK - 1) / CHUNK;
    *total += sealed_size(size);
    if (*total > PY_SSIZE_T_MAX / 2) {
        PyErr_SetString(PyExc_OverflowError, "more than fits memory");
        return -1;
    }
    return 0;
}

PyObject *transport_send(Transport *self, PyObject *const *args, Py_ssize_t count)
{
    size_t total = 0;
    uint64_t nonce = self->send_nonce;
    if (count != 2) {
        return PyErr_Format(PyExc_TypeError, "send takes 2 arguments, %zd were given", count);
    }
    if (count_frame(self, args[0], args[1], &total, &nonce) < 0) {
        return NULL;
    }
    PyObject *sealed = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (sealed == NULL) {
        return NULL;
    }
    aead_window window;
    aead_begin(&window, kernel_chacha20, &self->send_key);
    seal_frame(self, &window, (const uint8_t *)PyBytes_AS_STRING(args[0]),
               (const uint8_t *)PyBytes_AS_STRING(args[1]), (size_t)PyBytes_GET_SIZE(args[1]),
               (uint8_t *)PyBytes_AS_STRING(sealed));
    aead_end(&window);
    return sealed;
}

/* The tuple at this place of the frames, or NULL with an exception set. */
static PyObject *frame_at(PyObject *frames, Py_ssize_t i)
{
    PyObject *frame = PySequence_Fast_GET_ITEM(frames, i);
    if (!PyTuple_Check(frame) || PyTuple_GET_SIZE(frame) != 2) {
        PyErr_SetString(PyExc_TypeError, "a frame is a tuple of header and payload");
        return NULL;
    }
    return frame;
}

PyObject *transport_send_many(Transport *self, PyObject *sequence)
{
    /* A tuple of our own: nothing can change it between counting and sealing. */
    PyObject *frames = PySequence_Tuple(sequence);
    if (frames == NULL) {
        return NULL;
    }
    size_t total = 0;
    uint64_t nonce = self->send_nonce;
    PyObject *sealed = NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(frames); i++) {
        PyObject *frame = frame_at(frames, i);
        if (frame == NULL || count_frame(self, PyTuple_GET_ITEM(frame, 0), PyTuple_GET_ITEM(frame, 1), &total,
                                         &nonce) < 0) {
            goto done;
        }
    }
    sealed = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (sealed == NULL) {
        goto done;
    }
    aead_window window;
    aead_begin(&window, kernel_chacha20, &self->send_key);
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(sealed);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(frames); i++) {
        PyObject *frame = PyTuple_GET_ITEM(frames, i);
        PyObject *header = PyTuple_GET_ITEM(frame, 0), *payload = PyTuple_GET_ITEM(frame, 1);
        out = seal_frame(self, &window, (const uint8_t *)PyBytes_AS_STRING(header),
                         (const uint8_t *)PyBytes_AS_STRING(payload), (size_t)PyBytes_GET_SIZE(payload), out);
    }
    aead_end(&window);
done:
    Py_DECREF(frames);
    return sealed;
}

PyObject *transport_send_run(Transport *self, const uint8_t *frames, size_t size, size_t count)
{
    if (count > LAST_NONCE / 2 || self->send_nonce > LAST_NONCE - 2 * count) {
        PyErr_SetString(self->exhausted, no_nonce);
        return NULL;
    }
    PyObject *sealed = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size + 2 * count * AEAD_TAG));
    if (sealed == NULL) {
        return NULL;
    }
    aead_window window;
    aead_begin(&window, kernel_chacha20, &self->send_key);
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(sealed);
    while (count--) {
        size_t payload = frames[3] | (size_t)frames[4] << 8 | (size_t)frames[5] << 16;
        out = seal_frame(self, &window, frames, frames + FRAME_HEADER, payload, out);
        frames += FRAME_HEADER + payload;
    }
    aead_end(&window);
    return sealed;
}
