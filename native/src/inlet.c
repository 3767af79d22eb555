/* Inlet: what arrives at a connection with lanes is read, opened and passed on in one call. */

#include "inlet.h"

#include "own_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

enum { READ = 1 << 14 };

static PyObject *inlet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *cipher, *lanes, *tell, *rest, *ended;
    int fd, settles;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Inlet takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OiOpOOO:Inlet", &cipher, &fd, &lanes, &settles, &tell, &rest, &ended)) {
        return NULL;
    }
    if (!transport_check(cipher) || !lanes_check(lanes) || !PyCallable_Check(tell) || !PyCallable_Check(rest) ||
        !PyCallable_Check(ended)) {
        PyErr_SetString(PyExc_TypeError, "Inlet takes a Transport and Lanes of this kernel, and three callables");
        return NULL;
    }
    Inlet *self = (Inlet *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->cipher = Py_NewRef(cipher);
    self->lanes = (Lanes *)Py_NewRef(lanes);
    self->settles = settles;
    self->tell = Py_NewRef(tell);
    self->rest = Py_NewRef(rest);
    self->ended = Py_NewRef(ended);
    self->fd = own_socket(fd);
    if (self->fd < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int inlet_traverse(Inlet *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->cipher);
    Py_VISIT((PyObject *)self->lanes);
    Py_VISIT(self->tell);
    Py_VISIT(self->rest);
    Py_VISIT(self->ended);
    return 0;
}

static int inlet_clear(Inlet *self)
{
    own_socket_close(&self->fd);
    Py_CLEAR(self->cipher);
    Py_CLEAR(self->lanes);
    Py_CLEAR(self->tell);
    Py_CLEAR(self->rest);
    Py_CLEAR(self->ended);
    return 0;
}

static void inlet_dealloc(Inlet *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    inlet_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Small frames that one read has brought, header and payload each; a payload may have begun before it. */
typedef struct {
    size_t size;
    uint8_t bytes[READ + FRAME_HEADER + SINK_MOST];
} opened;

/* None of them is passed on before all that came with them has authenticated: no cipher gives out any other. */
static int keep(void *context, const uint8_t *header, const uint8_t *payload, size_t size)
{
    opened *frames = context;
    if (size > SINK_MOST) {
        return 0;
    }
    memcpy(frames->bytes + frames->size, header, FRAME_HEADER);
    memcpy(frames->bytes + frames->size + FRAME_HEADER, payload, size);
    frames->size += FRAME_HEADER + size;
    return 1;
}

static size_t payload_size(const uint8_t *frame)
{
    return frame[3] | (size_t)frame[4] << 8 | (size_t)frame[5] << 16;
}

/* Pass frames on up to one that is left, whose place is told. */
static enum verdict pass_on(const Inlet *self, passing *at, const opened *frames, size_t *place)
{
    pass_frame *pass = self->settles ? lanes_settle : lanes_pass;
    enum verdict verdict = DONE;
    while (*place < frames->size) {
        const uint8_t *frame = frames->bytes + *place;
        verdict = pass(at, frame, frame + FRAME_HEADER, payload_size(frame));
        if (verdict != DONE) {
            break;
        }
        *place += FRAME_HEADER + payload_size(frame);
    }
    return verdict;
}

/* Frames from a place on, and those behind them if there are any; NULL with an exception set. */
static PyObject *list_rest(const opened *frames, size_t place, PyObject *behind)
{
    PyObject *rest = PyList_New(0);
    while (rest != NULL && place < frames->size) {
        const uint8_t *frame = frames->bytes + place;
        size_t size = payload_size(frame);
        PyObject *each = Py_BuildValue("(y#y#)", (const char *)frame, (Py_ssize_t)FRAME_HEADER,
                                       (const char *)frame + FRAME_HEADER, (Py_ssize_t)size);
        if (each == NULL || PyList_Append(rest, each) < 0) {
            Py_CLEAR(rest);
        }
        Py_XDECREF(each);
        place += FRAME_HEADER + size;
    }
    if (rest != NULL && behind != NULL && PyList_SetSlice(rest, PyList_GET_SIZE(rest), PyList_GET_SIZE(rest), behind) < 0) {
        Py_CLEAR(rest);
    }
    return rest;
}

/* The times that a batch counts with, as they are given or as they are. */
static int read_times(passing *at, PyObject *const *args, Py_ssize_t count)
{
    if (count == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        at->now = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
        clock_gettime(CLOCK_REALTIME, &now);
        at->clock = (unsigned long)now.tv_sec;
        return 0;
    }
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "look takes 2 arguments or none, %zd were given", count);
        return -1;
    }
    at->clock = PyLong_AsUnsignedLong(args[0]);
    at->now = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(args[1]);
    return PyErr_Occurred() ? -1 : 0;
}

/* The result of a call that nobody waits for: -1 with an exception set. */
static int let_go(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Reading must end; an exception that is set is the reason, and what was read is lost. */
static int end(Inlet *self)
{
    PyObject *kind, *reason, *trace;
    PyErr_Fetch(&kind, &reason, &trace);
    if (kind != NULL) {
        PyErr_NormalizeException(&kind, &reason, &trace);
        self->is_broken = true;
    }
    int result = let_go(PyObject_CallOneArg(self->ended, reason == NULL ? Py_None : reason));
    Py_XDECREF(kind);
    Py_XDECREF(reason);
    Py_XDECREF(trace);
    return result;
}

/* What has passed leaves, and whoever has to hear of it does. */
static int finish(const Inlet *self, passing *at)
{
    Lanes *lanes = self->lanes;
    double owed = self->settles ? 0.0 : lanes_pay(lanes, at->now, at->count);
    int result = self->settles ? lanes_say_rest(at) : 0;
    PyObject *owners = sides_close(&at->others);
    if (at->count) {
        lanes->heard = at->now;
        lanes->is_better |= at->is_better;
    }
    if (result == 0 && owners != NULL && ((self->settles && at->count) || owed > 0.0 || PyTuple_GET_SIZE(owners))) {
        result = let_go(PyObject_CallFunction(self->tell, "ndO", at->count, owed, owners));
    }
    Py_XDECREF(owners);
    return owners == NULL ? -1 : result;
}

/* The same where an exception is set already, which it leaves. */
static void finish_failed(const Inlet *self, passing *at)
{
    PyObject *kind, *reason, *trace;
    PyErr_Fetch(&kind, &reason, &trace);
    if (finish(self, at) < 0) {
        PyErr_WriteUnraisable((PyObject *)self->lanes);
    }
    PyErr_Restore(kind, reason, trace);
}

static int take_bytes(Inlet *self, passing *at, const uint8_t *data, size_t size)
{
    opened frames;
    frames.size = 0;
    const frame_sink sink = {.take = keep, .context = &frames};
    PyObject *behind = NULL, *rest = NULL;
    if (transport_open_into((Transport *)self->cipher, data, size, &sink, &behind) < 0) {
        return end(self);
    }
    size_t place = 0;
    bool has_failed = pass_on(self, at, &frames, &place) == FAILED;
    if (!has_failed && (place < frames.size || behind != NULL)) {
        rest = list_rest(&frames, place, behind);
        has_failed = rest == NULL;
    }
    Py_XDECREF(behind);
    if (has_failed) {
        finish_failed(self, at);
        return end(self);
    }
    int result = finish(self, at);
    if (result == 0 && rest != NULL) {
        result = let_go(PyObject_CallOneArg(self->rest, rest));
    }
    Py_XDECREF(rest);
    return result < 0 ? end(self) : result;
}

/* As recv; a connection that has lost what was read is aborted, also where whoever was told has not heard it. */
static ssize_t receive(const Inlet *self, uint8_t buffer[READ])
{
    if (self->is_broken) {
        errno = ECONNABORTED;
        return -1;
    }
    return recv(self->fd, buffer, READ, MSG_DONTWAIT);
}

static PyObject *inlet_look(Inlet *self, PyObject *const *args, Py_ssize_t count)
{
    uint8_t buffer[READ];
    passing at = {.self = self->lanes};
    if (read_times(&at, args, count) < 0) {
        return NULL;
    }
    if (self->fd < 0) {
        Py_RETURN_NONE;
    }
    ssize_t size = receive(self, buffer);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        Py_RETURN_NONE;
    }
    if (size < 0) {
        /* A socket tells it once. */
        PyErr_SetFromErrno(PyExc_OSError);
    }
    /* Who is called may let go of it. */
    Py_INCREF(self);
    int result = size > 0 ? take_bytes(self, &at, buffer, (size_t)size) : end(self);
    Py_DECREF(self);
    if (result < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *inlet_fileno(Inlet *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(self->fd);
}

static PyObject *inlet_close(Inlet *self, PyObject *Py_UNUSED(ignored))
{
    own_socket_close(&self->fd);
    Py_RETURN_NONE;
}

static PyMethodDef inlet_methods[] = {
    {"fileno", (PyCFunction)inlet_fileno, METH_NOARGS, "fileno() -> what is ready when something has arrived"},
    {"look", (PyCFunction)(void (*)(void))inlet_look, METH_FASTCALL, "look([unix time, now]): take what has arrived"},
    {"close", (PyCFunction)inlet_close, METH_NOARGS, "close(): nothing is read here any more"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot inlet_slots[] = {
    {Py_tp_doc, "Inlet(cipher, socket, lanes, settles, tell, rest, ended): reads for the lanes of a connection.\n\n"
                "tell(shares, seconds owed, owners) hears of accepted shares, of who comes too fast, and of whose\n"
                "lanes have something to send still; rest(frames) is given what is not plain and all behind it;\n"
                "ended(error or None) is called when there is nothing more to read here."},
    {Py_tp_new, (void *)inlet_new},
    {Py_tp_dealloc, (void *)inlet_dealloc},
    {Py_tp_traverse, (void *)inlet_traverse},
    {Py_tp_clear, (void *)inlet_clear},
    {Py_tp_methods, inlet_methods},
    {0, NULL},
};

PyType_Spec inlet_spec = {
    .name = "hashpool_kernel.Inlet",
    .basicsize = sizeof(Inlet),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = inlet_slots,
};
