/* Lanes: those of one connection, what they have to send, and what is asked about them. */

#include "lane.h"

#include <structmember.h>

/* The outbox */

int lanes_make_room(Lanes *self, size_t size)
{
    if (self->size + size > self->room) {
        size_t room = self->room ? 2 * self->room : 256;
        uint8_t *grown = PyMem_Realloc(self->outbox, room);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->outbox = grown;
        self->room = room;
    }
    return 0;
}

uint8_t *lanes_extend(Lanes *self, size_t size)
{
    if (lanes_make_room(self, size) < 0) {
        return NULL;
    }
    uint8_t *at = self->outbox + self->size;
    self->size += size;
    self->frames++;
    return at;
}

static void empty_outbox(Lanes *self)
{
    PyMem_Free(self->outbox);
    self->outbox = NULL;
    self->size = self->room = self->frames = 0;
}

static PyObject *lanes_seal(Lanes *self, PyObject *cipher)
{
    if (!transport_check(cipher)) {
        PyErr_SetString(PyExc_TypeError, "the cipher is no Transport of this kernel");
        return NULL;
    }
    PyObject *sealed = transport_send_run((Transport *)cipher, self->outbox, self->size, self->frames);
    if (sealed != NULL) {
        empty_outbox(self);
    }
    return sealed;
}

static PyObject *lanes_discard(Lanes *self, PyObject *Py_UNUSED(ignored))
{
    empty_outbox(self);
    Py_RETURN_NONE;
}

/* Everything has left, if it can. */
static bool leave_by(Lanes *self, Outlet *outlet)
{
    if (!outlet_is_free(outlet) || !self->frames) {
        return false;
    }
    /* Taken out first: what is called meanwhile may make other frames. */
    uint8_t *outbox = self->outbox;
    size_t size = self->size, room = self->room, frames = self->frames;
    self->outbox = NULL;
    self->size = self->room = self->frames = 0;
    if (!outlet_send(outlet, outbox, size, frames)) {
        self->outbox = outbox;
        self->size = size;
        self->room = room;
        self->frames = frames;
        return false;
    }
    PyMem_Free(outbox);
    return true;
}

/* Everything has left, where there is an outlet and it can. */
static bool leave_now(Lanes *self)
{
    if (self->outlet == NULL) {
        return false;
    }
    /* Who is called may set another. */
    Outlet *outlet = (Outlet *)Py_NewRef((PyObject *)self->outlet);
    bool has_left = leave_by(self, outlet);
    Py_DECREF(outlet);
    return has_left;
}

bool sides_touch(sides *at, Lanes *side)
{
    if (!side->is_touched) {
        if (at->count == MOST_SIDES) {
            return false;
        }
        side->is_touched = true;
        at->lanes[at->count++] = (Lanes *)Py_NewRef((PyObject *)side);
    }
    return true;
}

PyObject *sides_close(sides *at)
{
    int kept = 0;
    for (int i = 0; i < at->count; i++) {
        Lanes *side = at->lanes[i];
        side->is_touched = false;
        if (PyErr_Occurred() || !leave_now(side)) {
            at->lanes[kept++] = side;
        } else {
            Py_DECREF(side);
        }
    }
    PyObject *owners = PyTuple_New(kept);
    for (int i = 0; i < kept; i++) {
        if (owners != NULL) {
            PyTuple_SET_ITEM(owners, i, Py_NewRef(at->lanes[i]->owner));
        }
        Py_DECREF(at->lanes[i]);
    }
    at->count = 0;
    return owners;
}

/* Batches */

/* The header and payload of a frame of this place; false if it is none such. */
static bool frame_at(PyObject *frames, Py_ssize_t place, PyObject **header, PyObject **payload)
{
    PyObject *frame = PySequence_Fast_GET_ITEM(frames, place);
    if (!PyTuple_CheckExact(frame) || PyTuple_GET_SIZE(frame) != 2) {
        return false;
    }
    *header = PyTuple_GET_ITEM(frame, 0);
    *payload = PyTuple_GET_ITEM(frame, 1);
    return PyBytes_CheckExact(*header) && PyBytes_CheckExact(*payload) && PyBytes_GET_SIZE(*header) == FRAME_HEADER;
}

/* Pass frames on from a place up to one that is left, whose place it becomes. */
static enum verdict pass_run(passing *at, pass_frame *pass, PyObject *frames, Py_ssize_t *place)
{
    enum verdict verdict = DONE;
    for (; verdict == DONE && *place < PySequence_Fast_GET_SIZE(frames); *place += verdict == DONE) {
        PyObject *header, *payload;
        if (!frame_at(frames, *place, &header, &payload)) {
            break;
        }
        verdict = pass(at, (const uint8_t *)PyBytes_AS_STRING(header), (const uint8_t *)PyBytes_AS_STRING(payload),
                       (size_t)PyBytes_GET_SIZE(payload));
    }
    return verdict;
}

static int read_batch(const char *method, PyObject *const *args, Py_ssize_t count, Py_ssize_t wanted, Py_ssize_t *place,
                      double *now)
{
    if (count != wanted) {
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, %zd were given", method, wanted, count);
        return -1;
    }
    if (!PyList_Check(args[0]) && !PyTuple_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "frames come as a list or a tuple");
        return -1;
    }
    *place = PyLong_AsSsize_t(args[1]);
    *now = PyFloat_AsDouble(args[wanted - 1]);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (*place < 0) {
        PyErr_SetString(PyExc_ValueError, "a place is no negative number");
        return -1;
    }
    return 0;
}

/* take(frames, start, clock, now) -> (place, best, owners) */
static PyObject *lanes_take_run(Lanes *self, PyObject *const *args, Py_ssize_t count)
{
    passing at = {.self = self};
    Py_ssize_t place;
    if (read_batch("take", args, count, 4, &place, &at.now) < 0) {
        return NULL;
    }
    at.clock = PyLong_AsUnsignedLong(args[2]);
    if (at.clock == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    enum verdict verdict = pass_run(&at, lanes_pass, args[0], &place);
    PyObject *owners = sides_close(&at.others);
    if (verdict == FAILED || owners == NULL) {
        Py_XDECREF(owners);
        return NULL;
    }
    if (!at.is_better) {
        return Py_BuildValue("(nON)", place, Py_None, owners);
    }
    return Py_BuildValue("(ny#N)", place, (const char *)self->best, (Py_ssize_t)SHA256_SIZE, owners);
}

/* settle(frames, start, now) -> (place, accepted, owners) */
static PyObject *lanes_settle_run(Lanes *self, PyObject *const *args, Py_ssize_t count)
{
    passing at = {.self = self};
    Py_ssize_t place;
    if (read_batch("settle", args, count, 3, &place, &at.now) < 0) {
        return NULL;
    }
    enum verdict verdict = pass_run(&at, lanes_settle, args[0], &place);
    if (lanes_say_rest(&at) < 0) {
        verdict = FAILED;
    }
    PyObject *owners = sides_close(&at.others);
    if (verdict == FAILED || owners == NULL) {
        Py_XDECREF(owners);
        return NULL;
    }
    return Py_BuildValue("(nnN)", place, at.count, owners);
}

/* What is asked about them */

static PyObject *lanes_sums(Lanes *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *seconds = self->seconds == NULL ? PyList_New(0) : self->seconds;
    PyObject *full = self->full == NULL ? PyTuple_New(0) : self->full;
    double work = self->work, squares = self->squares;
    self->seconds = self->full = NULL;
    self->work = self->squares = 0.0;
    return Py_BuildValue("(NddN)", seconds, work, squares, full);
}

/* What inlets have seen: when a share came last, and the best hash if it is better than all before. */
static PyObject *lanes_found(Lanes *self, PyObject *Py_UNUSED(ignored))
{
    bool is_better = self->is_better;
    self->is_better = false;
    return Py_BuildValue("(dy#)", self->heard, is_better ? (const char *)self->best : NULL, (Py_ssize_t)SHA256_SIZE);
}

double lanes_pay(Lanes *self, double now, Py_ssize_t shares)
{
    if (self->rate <= 0.0) {
        return 0.0;
    }
    double tokens = self->tokens + (now - self->when) * self->rate;
    self->tokens = (tokens < self->burst ? tokens : self->burst) - (double)shares;
    self->when = now;
    return self->tokens < 0.0 ? -self->tokens / self->rate : 0.0;
}

static PyObject *lanes_pay_for(Lanes *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 1 && count != 2) {
        return PyErr_Format(PyExc_TypeError, "pay takes 1 or 2 arguments, %zd were given", count);
    }
    double now = PyFloat_AsDouble(args[0]);
    Py_ssize_t shares = count == 1 || PyErr_Occurred() ? 1 : PyLong_AsSsize_t(args[1]);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(lanes_pay(self, now, shares));
}

static PyObject *lanes_limit(Lanes *self, PyObject *args)
{
    if (!PyArg_ParseTuple(args, "dddd:limit", &self->tokens, &self->when, &self->rate, &self->burst)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Upstream channels whose oldest share has waited since before this time. */
static PyObject *lanes_overdue(Lanes *self, PyObject *before)
{
    double time = PyFloat_AsDouble(before);
    PyObject *found = PyErr_Occurred() ? NULL : PyList_New(0);
    for (const waiting *share = self->oldest; found != NULL && share != NULL && share->since < time;
         share = share->newer) {
        if (share == share->lane->first && PyList_Append(found, share->lane->upstream) < 0) {
            Py_CLEAR(found);
        }
    }
    return found;
}

static PyObject *lanes_oldest(Lanes *self, void *Py_UNUSED(closure))
{
    if (self->oldest == NULL) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble(self->oldest->since);
}

static Py_ssize_t lanes_length(Lanes *self)
{
    return (Py_ssize_t)self->count;
}

/* The type */

static PyObject *lanes_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"owner", NULL};
    PyObject *owner;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Lanes", names, &owner)) {
        return NULL;
    }
    Lanes *self = (Lanes *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->owner = Py_NewRef(owner);
        memset(self->best, 0xff, sizeof self->best);
    }
    return (PyObject *)self;
}

static int lanes_traverse(Lanes *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->owner);
    Py_VISIT(self->full);
    Py_VISIT((PyObject *)self->outlet);
    for (size_t i = 0; self->slots != NULL && i <= self->mask; i++) {
        Py_VISIT((PyObject *)self->slots[i].lane);
    }
    return 0;
}

static int lanes_clear(Lanes *self)
{
    Py_INCREF(self);
    for (size_t i = 0; self->slots != NULL && self->count && i <= self->mask;) {
        Lane *lane = self->slots[i].lane;
        if (lane == NULL) {
            i++;
            continue;
        }
        /* Another may move to this place. */
        Py_INCREF(lane);
        lane_take_out(lane);
        Py_DECREF(lane);
    }
    Py_CLEAR(self->owner);
    Py_CLEAR(self->outlet);
    Py_CLEAR(self->full);
    Py_CLEAR(self->seconds);
    Py_DECREF(self);
    return 0;
}

static void lanes_dealloc(Lanes *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    /* A lane that it knows would hold it. */
    Py_XDECREF(self->owner);
    Py_XDECREF(self->outlet);
    Py_XDECREF(self->full);
    Py_XDECREF(self->seconds);
    PyMem_Free(self->slots);
    PyMem_Free(self->outbox);
    PyMem_Free(self->unsaid);
    type->tp_free(self);
    Py_DECREF(type);
}

bool lanes_check(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)lanes_dealloc;
}

static PyMethodDef lanes_methods[] = {
    {"take", (PyCFunction)(void (*)(void))lanes_take_run, METH_FASTCALL,
     "take(frames, start, clock, now) -> (place of the first frame that is left, best hash or None, owners above)"},
    {"settle", (PyCFunction)(void (*)(void))lanes_settle_run, METH_FASTCALL,
     "settle(frames, start, now) -> (place of the first frame that is left, accepted, owners below)"},
    {"seal", (PyCFunction)lanes_seal, METH_O, "seal(cipher) -> sealed bytes of all frames that are to be sent"},
    {"discard", (PyCFunction)lanes_discard, METH_NOARGS, "discard(): nothing is sent of what was to be"},
    {"sums", (PyCFunction)lanes_sums, METH_NOARGS,
     "sums() -> (seconds each verdict took, work, squares, owners of lanes whose journal should be read)"},
    {"found", (PyCFunction)lanes_found, METH_NOARGS,
     "found() -> (when an inlet has had a share last, its best hash so far if nobody was told, or None)"},
    {"limit", (PyCFunction)lanes_limit, METH_VARARGS, "limit(tokens, when, rate, burst): of all shares together"},
    {"pay", (PyCFunction)(void (*)(void))lanes_pay_for, METH_FASTCALL,
     "pay(now[, shares]) -> seconds to wait until more may come"},
    {"overdue", (PyCFunction)lanes_overdue, METH_O, "overdue(before) -> upstream channels that wait since before that"},
    {NULL, NULL, 0, NULL},
};

static PyObject *lanes_outlet(Lanes *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->outlet == NULL ? Py_None : (PyObject *)self->outlet);
}

static int lanes_set_outlet(Lanes *self, PyObject *outlet, void *Py_UNUSED(closure))
{
    if (outlet == NULL || !(outlet == Py_None || outlet_check(outlet))) {
        PyErr_SetString(PyExc_TypeError, "the outlet is no Outlet of this kernel");
        return -1;
    }
    Outlet *before = self->outlet;
    self->outlet = outlet == Py_None ? NULL : (Outlet *)Py_NewRef(outlet);
    Py_XDECREF(before);
    return 0;
}

static PyGetSetDef lanes_properties[] = {
    {"outlet", (getter)lanes_outlet, (setter)lanes_set_outlet, "by which an upstream's shares leave at once, or None",
     NULL},
    {"oldest", (getter)lanes_oldest, NULL, "since when the oldest share waits, or None", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lanes_slots[] = {
    {Py_tp_doc, "Lanes(owner): the lanes of one connection, on either side."},
    {Py_tp_new, (void *)lanes_new},
    {Py_tp_dealloc, (void *)lanes_dealloc},
    {Py_tp_traverse, (void *)lanes_traverse},
    {Py_tp_clear, (void *)lanes_clear},
    {Py_tp_methods, lanes_methods},
    {Py_tp_getset, lanes_properties},
    {Py_sq_length, (void *)lanes_length},
    {0, NULL},
};

PyType_Spec lanes_spec = {
    .name = "hashpool_kernel.Lanes",
    .basicsize = sizeof(Lanes),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lanes_slots,
};
