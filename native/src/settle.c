/* Hub.settle: miners are answered, and counted, what their upstream has accepted. */

#include "hub.h"

#include "words.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { ANSWER = 64, SUCCESS_SIZE = 20 };

void seat_say(Seat *seat, const char *lines, size_t size)
{
    PyObject *unsent = PyObject_CallNoArgs(seat->unsent);
    long before = unsent == NULL ? -1 : PyLong_AsLong(unsent);
    Py_XDECREF(unsent);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable((PyObject *)seat);
    }
    ssize_t sent = before == 0 && seat->hub != NULL ? send(seat->fd, lines, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (sent < 0) {
        sent = 0;
    }
    if ((size_t)sent < size) {
        PyObject *said = PyObject_CallMethod(seat->owner, "say", "y#", lines + sent, (Py_ssize_t)size - sent);
        if (said == NULL) {
            PyErr_WriteUnraisable((PyObject *)seat);
            if (seat->hub != NULL) {
                /* What is said later would come behind a gap. */
                shutdown(seat->fd, SHUT_RDWR);
            }
        }
        Py_XDECREF(said);
    }
}

/* What one call of settle works with. */
typedef struct {
    Hub *hub;
    double now, work, squares;
    unsigned long accepted;
    PyObject *waits, *full;
} settling;

static bool is_reached(uint32_t sequence, uint32_t last)
{
    return last - sequence < (uint32_t)1 << 31;
}

/* Whether the oldest shares of the seat up to this one are so many. */
static bool agrees(const Seat *seat, uint32_t last, uint32_t count)
{
    const waiting *share = seat->first;
    if (count == 0 || count > seat->pending) {
        return false;
    }
    for (; count; count--, share = share->next) {
        if (!is_reached(share->sequence, last)) {
            return false;
        }
    }
    return share == NULL || !is_reached(share->sequence, last);
}

static int note(settling *at, Seat *seat, const waiting *share)
{
    int is_seen = PyDict_Contains(seat->seen, share->hash);
    if (is_seen < 0 || (is_seen && PyDict_SetItem(seat->seen, share->hash, Py_True) < 0)) {
        return -1;
    }
    PyObject *wait = PyFloat_FromDouble(at->now - share->since);
    int result = wait == NULL ? -1 : PyList_Append(at->waits, wait);
    Py_XDECREF(wait);
    return result;
}

/* Accept the oldest shares; -1 with an exception set if who ought to be told cannot be. */
static int accept_shares(settling *at, Seat *seat, uint32_t count)
{
    char answers[MOST_WAITING * ANSWER];
    size_t size = 0;
    double work = 0.0, squares = 0.0;
    uint32_t done = 0;
    /* What noting one calls may have the seat left. */
    for (; done < count && seat->first != NULL; done++) {
        waiting *share = seat_shift(seat);
        if (note(at, seat, share) < 0) {
            PyErr_WriteUnraisable((PyObject *)seat);
        }
        int wrote = snprintf(answers + size, ANSWER, "{\"id\":%lld,\"result\":true,\"error\":null}\n", share->id);
        size += wrote > 0 ? (size_t)wrote : 0;
        work += share->hashes;
        squares += share->hashes * share->hashes;
        waiting_free(share);
    }
    seat_credit(seat, at->now, work, squares, done);
    at->work += work;
    at->squares += squares;
    at->accepted += done;
    seat_say(seat, answers, size);
    return seat->logged == MOST_LOGGED ? PyList_Append(at->full, seat->owner) : 0;
}

/* 1 if the frame is an answer that could be told, 0 if it is left to others, -1 with an exception set. */
static int settle_frame(settling *at, PyObject *frame)
{
    PyObject *header = PyTuple_Check(frame) && PyTuple_GET_SIZE(frame) == 2 ? PyTuple_GET_ITEM(frame, 0) : NULL;
    PyObject *payload = header == NULL ? NULL : PyTuple_GET_ITEM(frame, 1), *success = at->hub->success;
    if (header == NULL || !PyBytes_Check(header) || !PyBytes_Check(payload) ||
        PyBytes_GET_SIZE(payload) != SUCCESS_SIZE || PyBytes_GET_SIZE(header) != PyBytes_GET_SIZE(success) ||
        memcmp(PyBytes_AS_STRING(header), PyBytes_AS_STRING(success), (size_t)PyBytes_GET_SIZE(success)) != 0) {
        return 0;
    }
    const uint8_t *fields = (const uint8_t *)PyBytes_AS_STRING(payload);
    PyObject *key = PyLong_FromUnsignedLong(load32(fields));
    Seat *seat = key == NULL ? NULL : (Seat *)PyDict_GetItemWithError(at->hub->channels, key);
    Py_XDECREF(key);
    if (seat == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    uint32_t last = load32(fields + 4), count = load32(fields + 8);
    if (!agrees(seat, last, count)) {
        return 0;
    }
    Py_INCREF(seat);
    int result = accept_shares(at, seat, count);
    Py_DECREF(seat);
    return result < 0 ? -1 : 1;
}

PyObject *hub_settle(Hub *self, PyObject *const *args, Py_ssize_t count)
{
    settling at = {.hub = self};
    if (count != 3 || !(PyList_CheckExact(args[0]) || PyTuple_CheckExact(args[0]))) {
        PyErr_SetString(PyExc_TypeError, "settle takes frames, the place of the first, and now");
        return NULL;
    }
    Py_ssize_t place_of = PyLong_AsSsize_t(args[1]);
    at.now = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(args[2]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (place_of < 0 || self->channels == NULL) {
        PyErr_SetString(PyExc_ValueError, "no frame has that place");
        return NULL;
    }
    at.waits = PyList_New(0);
    at.full = PyList_New(0);
    int result = at.waits == NULL || at.full == NULL ? -1 : 1;
    /* What is called meanwhile may change the list, and end the hub. */
    while (result > 0 && self->channels != NULL && place_of < PySequence_Fast_GET_SIZE(args[0])) {
        PyObject *frame = Py_NewRef(PySequence_Fast_GET_ITEM(args[0], place_of));
        result = settle_frame(&at, frame);
        Py_DECREF(frame);
        place_of += result > 0;
    }
    PyObject *told = result < 0 ? NULL
                                : Py_BuildValue("(nkddOO)", place_of, at.accepted, at.work, at.squares, at.waits,
                                                at.full);
    Py_XDECREF(at.waits);
    Py_XDECREF(at.full);
    return told;
}
