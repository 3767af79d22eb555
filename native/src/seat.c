/* Seat: one miner that a hub serves. */

#include "hub.h"

#include <string.h>
#include <structmember.h>
#include <sys/epoll.h>

void waiting_free(waiting *share)
{
    Py_XDECREF(share->hash);
    PyMem_Free(share);
}

waiting *seat_shift(Seat *self)
{
    waiting *share = self->first;
    self->first = share->next;
    if (self->first == NULL) {
        self->last = NULL;
    }
    self->pending--;
    Hub *hub = self->hub;
    *(share->older == NULL ? &hub->oldest : &share->older->younger) = share->younger;
    *(share->younger == NULL ? &hub->youngest : &share->younger->older) = share->older;
    return share;
}

void seat_credit(Seat *self, double when, double work, double squares, unsigned long shares)
{
    bool is_full = self->logged == MOST_LOGGED;
    if (self->logged && (is_full || self->log[self->logged - 1].when == when)) {
        credit *last = &self->log[self->logged - 1];
        *last = (credit){when, last->work + work, last->squares + squares, last->shares + shares};
        return;
    }
    self->log[self->logged++] = (credit){when, work, squares, shares};
}

void seat_quit(Seat *self)
{
    Hub *hub = self->hub;
    if (hub == NULL) {
        return;
    }
    while (self->first != NULL) {
        waiting_free(seat_shift(self));
    }
    if (hub->epoll >= 0) {
        epoll_ctl(hub->epoll, EPOLL_CTL_DEL, self->fd, NULL);
        epoll_ctl(hub->ends, EPOLL_CTL_DEL, self->fd, NULL);
    }
    if (self->fd < hub->room && hub->places[self->fd] == self) {
        hub->places[self->fd] = NULL;
    }
    self->hub = NULL;
    Py_DECREF(hub);
}

static int read_double(PyObject *tuple, Py_ssize_t i, double *number)
{
    *number = PyFloat_AsDouble(PyTuple_GET_ITEM(tuple, i));
    return *number == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static bool is_tuple(PyObject *object, Py_ssize_t size)
{
    return PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) == size;
}

/* (owner, unsent, (fd, line limit), (channel, next sequence number, most), (extranonce1, size), mask,
 * (jobs, seen, older, accepted, seen limit), (cost, when, each, soft))
 */
Seat *seat_make(PyTypeObject *type, PyObject *const *args)
{
    PyObject *where = args[2], *channel = args[3], *own = args[4], *jobs = args[6], *account = args[7];
    bool is_right = PyCallable_Check(args[1]) && is_tuple(where, 2) && is_tuple(channel, 3) && is_tuple(own, 2) &&
                    PyBytes_Check(PyTuple_GET_ITEM(own, 0)) && PyTuple_Check(jobs) && PyTuple_GET_SIZE(jobs) == 5 && is_tuple(account, 4);
    for (Py_ssize_t i = 0; is_right && i < 4; i++) {
        is_right = PyDict_CheckExact(PyTuple_GET_ITEM(jobs, i));
    }
    if (!is_right) {
        PyErr_SetString(PyExc_TypeError, "a seat is made of its miner's parts");
        return NULL;
    }
    Seat *self = (Seat *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->fd = -1;
    self->owner = Py_NewRef(args[0]);
    self->unsent = Py_NewRef(args[1]);
    self->own.extranonce1 = Py_NewRef(PyTuple_GET_ITEM(own, 0));
    self->jobs = Py_NewRef(PyTuple_GET_ITEM(jobs, 0));
    self->seen = Py_NewRef(PyTuple_GET_ITEM(jobs, 1));
    self->older = Py_NewRef(PyTuple_GET_ITEM(jobs, 2));
    self->accepted = Py_NewRef(PyTuple_GET_ITEM(jobs, 3));
    long fd = PyLong_AsLong(PyTuple_GET_ITEM(where, 0));
    if (!PyErr_Occurred()) {
        self->line_limit = PyLong_AsSsize_t(PyTuple_GET_ITEM(where, 1));
    }
    if (!PyErr_Occurred()) {
        self->seen_limit = PyLong_AsSsize_t(PyTuple_GET_ITEM(jobs, 4));
    }
    if (!PyErr_Occurred()) {
        self->own.size = PyLong_AsSsize_t(PyTuple_GET_ITEM(own, 1));
    }
    if (PyErr_Occurred() || kernel_u32(PyTuple_GET_ITEM(channel, 0), "channel", &self->channel) < 0 ||
        kernel_u32(PyTuple_GET_ITEM(channel, 1), "sequence number", &self->next) < 0 ||
        kernel_u32(PyTuple_GET_ITEM(channel, 2), "limit", &self->most) < 0 ||
        kernel_u32(args[5], "mask", &self->own.mask) < 0 || read_double(account, 0, &self->cost) < 0 ||
        read_double(account, 1, &self->when) < 0 || read_double(account, 2, &self->each) < 0 ||
        read_double(account, 3, &self->soft) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    if (fd < 0 || fd > 1 << 24 || self->own.size < 0 || self->own.size > MOST_EXTRANONCE2 || self->line_limit < 0) {
        PyErr_SetString(PyExc_ValueError, "a socket or a size is out of bounds");
        Py_DECREF(self);
        return NULL;
    }
    self->fd = (int)fd;
    self->most = self->most < MOST_WAITING ? self->most : MOST_WAITING;
    self->heard = self->when;
    return self;
}

static int seat_traverse(Seat *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->hub);
    Py_VISIT(self->owner);
    Py_VISIT(self->unsent);
    Py_VISIT(self->jobs);
    Py_VISIT(self->seen);
    Py_VISIT(self->older);
    Py_VISIT(self->accepted);
    return 0;
}

static int seat_clear(Seat *self)
{
    seat_quit(self);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->unsent);
    Py_CLEAR(self->jobs);
    Py_CLEAR(self->seen);
    Py_CLEAR(self->older);
    Py_CLEAR(self->accepted);
    return 0;
}

static void seat_dealloc(Seat *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    seat_clear(self);
    Py_XDECREF(self->own.extranonce1);
    type->tp_free(self);
    Py_DECREF(type);
}

/* What nobody was told of shares found and accepted, or None; it is told once. */
static PyObject *seat_sums(Seat *self, PyObject *ignored)
{
    (void)ignored;
    if (self->found == 0 && self->logged == 0) {
        Py_RETURN_NONE;
    }
    PyObject *log = PyList_New((Py_ssize_t)self->logged);
    for (unsigned i = 0; log != NULL && i < self->logged; i++) {
        const credit *each = &self->log[i];
        PyObject *item = Py_BuildValue("(ddkd)", each->work, each->squares, each->shares, each->when);
        if (item == NULL) {
            Py_CLEAR(log);
        } else {
            PyList_SET_ITEM(log, (Py_ssize_t)i, item);
        }
    }
    PyObject *told = log == NULL ? NULL
                                 : Py_BuildValue("(Iddy#N)", self->found, self->found_at, self->found_work,
                                                 (const char *)self->best, (Py_ssize_t)SHA256_SIZE, log);
    if (told != NULL) {
        self->found = self->logged = 0;
        self->found_work = 0.0;
    }
    return told;
}

/* (next sequence number, heard, cost, when, shares that wait); nothing happens where they cannot be told. */
static PyObject *seat_leave(Seat *self, PyObject *ignored)
{
    (void)ignored;
    if (self->hub == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nobody sits here any more");
        return NULL;
    }
    PyObject *left = PyList_New((Py_ssize_t)self->pending);
    Py_ssize_t place = 0;
    for (waiting *share = self->first; left != NULL && share != NULL; share = share->next) {
        PyObject *item = Py_BuildValue("(kdLOdN)", (unsigned long)share->sequence, share->since, share->id,
                                       share->hash, share->hashes, hub_frame(self->hub, share->frame));
        if (item == NULL) {
            Py_CLEAR(left);
        } else {
            PyList_SET_ITEM(left, place++, item);
        }
    }
    PyObject *told = left == NULL ? NULL
                                  : Py_BuildValue("(kdddN)", (unsigned long)self->next, self->heard, self->cost,
                                                  self->when, left);
    if (told != NULL && hub_forget(self->hub, self) < 0) {
        Py_CLEAR(told);
    }
    if (told != NULL) {
        seat_quit(self);
    }
    return told;
}

static PyObject *seat_tell(Seat *self, PyObject *lines)
{
    const uint8_t *bytes = kernel_bytes(lines, "what is said", -1);
    if (bytes == NULL) {
        return NULL;
    }
    seat_say(self, (const char *)bytes, (size_t)PyBytes_GET_SIZE(lines));
    Py_RETURN_NONE;
}

static PyObject *seat_oldest(Seat *self, void *ignored)
{
    (void)ignored;
    if (self->first == NULL) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble(self->first->since);
}

static PyMethodDef seat_methods[] = {
    {"sums", (PyCFunction)seat_sums, METH_NOARGS,
     "sums() -> (found, when, hashes, best, [(work, squares, shares, when), ...]), or None"},
    {"say", (PyCFunction)seat_tell, METH_O, "say(lines): send them, or have the owner send what is left"},
    {"leave", (PyCFunction)seat_leave, METH_NOARGS,
     "leave() -> (next, heard, cost, when, [(sequence, since, id, hash, hashes, frame), ...])"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef seat_members[] = {
    {"pending", T_UINT, offsetof(Seat, pending), READONLY, NULL},
    {"heard", T_DOUBLE, offsetof(Seat, heard), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef seat_getset[] = {
    {"oldest", (getter)seat_oldest, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot seat_slots[] = {
    {Py_tp_doc, "A miner that a Hub serves, made by its `sit`."},
    {Py_tp_dealloc, (void *)seat_dealloc},
    {Py_tp_traverse, (void *)seat_traverse},
    {Py_tp_clear, (void *)seat_clear},
    {Py_tp_methods, seat_methods},
    {Py_tp_members, seat_members},
    {Py_tp_getset, seat_getset},
    {0, NULL},
};

PyType_Spec seat_spec = {
    .name = "hashpool_kernel.Seat",
    .basicsize = sizeof(Seat),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = seat_slots,
};
