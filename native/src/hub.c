/* Hub: who sits there, and what ticks; look.c reads what they say, harvest.c keeps what comes of it until it is told,
 * settle.c answers them.
 */

#include "hub.h"

#include <string.h>
#include <structmember.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MOST_EVENTS = 256 };

static PyObject *hub_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *finder, *headers, *success;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Hub takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OO!O!:Hub", &finder, &PyTuple_Type, &headers, &PyBytes_Type, &success)) {
        return NULL;
    }
    bool is_right = finder_check(finder) && PyTuple_GET_SIZE(headers) == MOST_SHARE + 1;
    for (Py_ssize_t i = 0; is_right && i <= MOST_SHARE; i++) {
        is_right = PyBytes_Check(PyTuple_GET_ITEM(headers, i)) && PyBytes_GET_SIZE(PyTuple_GET_ITEM(headers, i)) == FRAME_HEADER;
    }
    if (!is_right) {
        PyErr_SetString(PyExc_TypeError, "Hub takes a Finder, the headers of shares, and that of success");
        return NULL;
    }
    Hub *self = (Hub *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    self->ends = epoll_create1(EPOLL_CLOEXEC);
    self->clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    self->finder = (Finder *)Py_NewRef(finder);
    self->headers = Py_NewRef(headers);
    self->success = Py_NewRef(success);
    self->channels = PyDict_New();
    self->buffer = PyMem_Malloc(READ);
    bool has_failed = self->epoll < 0 || self->ends < 0 || self->clock < 0;
    if (has_failed) {
        PyErr_SetFromErrno(PyExc_OSError);
    } else if (self->buffer == NULL) {
        PyErr_NoMemory();
    }
    if (has_failed || self->buffer == NULL || self->channels == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int hub_traverse(Hub *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->finder);
    Py_VISIT(self->headers);
    Py_VISIT(self->channels);
    Py_VISIT(self->left);
    Py_VISIT(self->speaker);
    Py_VISIT((PyObject *)self->outlet);
    Py_VISIT(self->tell);
    return 0;
}

static int hub_clear(Hub *self)
{
    Py_CLEAR(self->channels);
    Py_CLEAR(self->left);
    Py_CLEAR(self->speaker);
    Py_CLEAR(self->outlet);
    Py_CLEAR(self->tell);
    return 0;
}

static void hub_dealloc(Hub *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    hub_clear(self);
    if (self->epoll >= 0) {
        close(self->epoll);
    }
    if (self->ends >= 0) {
        close(self->ends);
    }
    if (self->clock >= 0) {
        close(self->clock);
    }
    Py_XDECREF(self->finder);
    Py_XDECREF(self->headers);
    Py_XDECREF(self->success);
    PyMem_Free(self->places);
    PyMem_Free(self->buffer);
    PyMem_Free(self->run);
    type->tp_free(self);
    Py_DECREF(type);
}

int hub_forget(Hub *self, Seat *seat)
{
    PyObject *key = self->channels == NULL ? NULL : PyLong_FromUnsignedLong(seat->channel);
    int result = key == NULL ? -1 : PyDict_DelItem(self->channels, key);
    Py_XDECREF(key);
    if (result < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_RuntimeError, "the hub is gone");
    }
    return result;
}

static int make_room(Hub *self, int fd)
{
    if (fd < self->room) {
        return 0;
    }
    int room = fd + fd / 2 + 64;
    Seat **grown = PyMem_Realloc(self->places, (size_t)room * sizeof *grown);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(grown + self->room, 0, (size_t)(room - self->room) * sizeof *grown);
    self->places = grown;
    self->room = room;
    return 0;
}

/* Put a seat where it is found by its channel and its socket; -1 with an exception set if either is taken. */
static int place(Hub *self, Seat *seat)
{
    PyObject *key = PyLong_FromUnsignedLong(seat->channel);
    int is_taken = key == NULL ? -1 : PyDict_Contains(self->channels, key);
    if (is_taken == 0 && make_room(self, seat->fd) == 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = seat->fd};
        struct epoll_event end = {.events = EPOLLRDHUP, .data.fd = seat->fd};
        if (self->places[seat->fd] != NULL) {
            is_taken = 1;
        } else if (epoll_ctl(self->epoll, EPOLL_CTL_ADD, seat->fd, &event) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
        } else if (epoll_ctl(self->ends, EPOLL_CTL_ADD, seat->fd, &end) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            epoll_ctl(self->epoll, EPOLL_CTL_DEL, seat->fd, NULL);
        } else if (PyDict_SetItem(self->channels, key, (PyObject *)seat) < 0) {
            epoll_ctl(self->epoll, EPOLL_CTL_DEL, seat->fd, NULL);
            epoll_ctl(self->ends, EPOLL_CTL_DEL, seat->fd, NULL);
        } else {
            self->places[seat->fd] = seat;
            seat->hub = (Hub *)Py_NewRef((PyObject *)self);
        }
    }
    if (is_taken > 0) {
        PyErr_SetString(PyExc_ValueError, "the socket or the channel has a seat");
    }
    Py_XDECREF(key);
    return seat->hub == NULL ? -1 : 0;
}

static PyObject *hub_sit(Hub *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 8) {
        return PyErr_Format(PyExc_TypeError, "sit takes 8 arguments, %zd were given", count);
    }
    if (self->channels == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the hub is gone");
        return NULL;
    }
    PyObject *module = PyType_GetModule(Py_TYPE(self));
    PyObject *type = module == NULL ? NULL : PyObject_GetAttrString(module, "Seat");
    if (type == NULL) {
        return NULL;
    }
    Seat *seat = PyType_Check(type) ? seat_make((PyTypeObject *)type, args) : NULL;
    Py_DECREF(type);
    if (seat != NULL && place(self, seat) < 0) {
        Py_CLEAR(seat);
    }
    return (PyObject *)seat;
}

static PyObject *hub_serve(Hub *self, PyObject *args)
{
    PyObject *outlet, *tell;
    unsigned patience;
    if (!PyArg_ParseTuple(args, "OOI:serve", &outlet, &tell, &patience)) {
        return NULL;
    }
    if ((outlet != Py_None && !outlet_check(outlet)) || !PyCallable_Check(tell)) {
        PyErr_SetString(PyExc_TypeError, "serve takes an Outlet of this kernel or None, a callable, and a number");
        return NULL;
    }
    Py_XSETREF(self->outlet, outlet == Py_None ? NULL : (Outlet *)Py_NewRef(outlet));
    Py_XSETREF(self->tell, Py_NewRef(tell));
    self->patience = patience;
    Py_RETURN_NONE;
}

static PyObject *hub_found(Hub *self, PyObject *ignored)
{
    (void)ignored;
    return harvest_found(self);
}

/* Owners of seats where a share has waited since before. */
static PyObject *hub_late(Hub *self, PyObject *moment)
{
    double before = PyFloat_AsDouble(moment);
    PyObject *late = before == -1.0 && PyErr_Occurred() ? NULL : PyList_New(0);
    for (waiting *share = self->oldest; late != NULL && share != NULL && share->since < before; share = share->younger) {
        if (PyList_Append(late, share->seat->owner) < 0) {
            Py_CLEAR(late);
        }
    }
    return late;
}

/* Owners of seats whose sockets have ended; the same again until they have left. */
static PyObject *hub_ended(Hub *self, PyObject *ignored)
{
    (void)ignored;
    struct epoll_event events[MOST_EVENTS];
    int ready = epoll_wait(self->ends, events, MOST_EVENTS, 0);
    PyObject *owners = PyList_New(0);
    for (int i = 0; owners != NULL && i < ready; i++) {
        int fd = events[i].data.fd;
        const Seat *seat = fd >= 0 && fd < self->room ? self->places[fd] : NULL;
        if (seat != NULL && PyList_Append(owners, seat->owner) < 0) {
            Py_CLEAR(owners);
        }
    }
    return owners;
}

static PyObject *hub_fileno(Hub *self, PyObject *ignored)
{
    (void)ignored;
    return PyLong_FromLong(self->epoll);
}

static PyObject *hub_clock(Hub *self, PyObject *seconds)
{
    double period = PyFloat_AsDouble(seconds);
    if (period == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (!(period >= 0.0 && period <= 1.0)) {
        PyErr_SetString(PyExc_ValueError, "looks are up to a second apart");
        return NULL;
    }
    struct timespec each = {.tv_sec = period >= 1.0, .tv_nsec = period >= 1.0 ? 0 : (long)(period * 1e9)};
    struct itimerspec pace = {.it_interval = each, .it_value = each};
    if (timerfd_settime(self->clock, 0, &pace, NULL) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(self->clock);
}

static Py_ssize_t hub_length(PyObject *self)
{
    PyObject *channels = ((Hub *)self)->channels;
    return channels == NULL ? 0 : PyDict_GET_SIZE(channels);
}

static PyMemberDef hub_members[] = {
    {"ends", T_INT, offsetof(Hub, ends), READONLY, "what is ready to read when a miner has gone"},
    {"owes", T_BOOL, offsetof(Hub, owes), READONLY, "whether a look has failed, and the next will tell what it found"},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef hub_methods[] = {
    {"fileno", (PyCFunction)hub_fileno, METH_NOARGS, "fileno() -> what is ready to read when a miner has spoken"},
    {"clock", (PyCFunction)hub_clock, METH_O, "clock(seconds) -> what is ready to read so often from now on, 0 never"},
    {"sit", (PyCFunction)(void (*)(void))hub_sit, METH_FASTCALL,
     "sit(owner, unsent, (fd, line limit), (channel, next, most), (extranonce1, size), mask,\n"
     "    (jobs, seen, older, accepted, limit), (cost, when, each, soft)) -> Seat"},
    {"look", (PyCFunction)(void (*)(void))hub_look, METH_FASTCALL,
     "look(now, unix time, outlet or None) -> (frames to send, [(owner, bytes that are left), ...])"},
    {"serve", (PyCFunction)hub_serve, METH_VARARGS,
     "serve(outlet or None, tell, patience): tick tells by tell what a look returns, if something is left to do"},
    {"tick", (PyCFunction)hub_tick, METH_NOARGS,
     "tick(): look now; tell what is left, or that so many ticks as the patience have found nothing"},
    {"found", (PyCFunction)hub_found, METH_NOARGS, "found() -> (shares that were found since it was asked, when the last was, the best hash)"},
    {"settle", (PyCFunction)(void (*)(void))hub_settle, METH_FASTCALL,
     "settle(frames, start, now) -> (place of the first that is left, shares, work, squares, waits, full owners)"},
    {"ended", (PyCFunction)hub_ended, METH_NOARGS, "ended() -> owners whose miners have gone"},
    {"late", (PyCFunction)hub_late, METH_O, "late(before) -> owners whose shares have waited since"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot hub_slots[] = {
    {Py_tp_doc, "Hub(finder, headers, success): serves miners whose shares are plain."},
    {Py_tp_new, (void *)hub_new},
    {Py_tp_dealloc, (void *)hub_dealloc},
    {Py_tp_traverse, (void *)hub_traverse},
    {Py_tp_clear, (void *)hub_clear},
    {Py_tp_methods, hub_methods},
    {Py_tp_members, hub_members},
    {Py_mp_length, (void *)hub_length},
    {0, NULL},
};

PyType_Spec hub_spec = {
    .name = "hashpool_kernel.Hub",
    .basicsize = sizeof(Hub),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = hub_slots,
};
