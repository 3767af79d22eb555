/* Hub: reads what miners say, and makes frames of their shares, in batches; settle.c answers them.
 *
 * It knows plain shares only. A line that is anything else, and all that its miner says after it, is left to Python.
 */

#include "hub.h"

#include "target.h"
#include "words.h"

#include <errno.h>
#include <string.h>
#include <structmember.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MOST_EVENTS = 256, BUFFER = 1 << 14, MOST_LINE = 1024, AGAIN_NS = 10000000 };

/* What one look works with. */
typedef struct {
    Hub *hub;
    double now;
    long long unix_now;
} look;

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
    self->buffer = PyMem_Malloc(BUFFER);
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

/* The frame of a share that is good; false if it has no room. */
static bool make_frame(waiting *share, const Seat *seat, const submission *said, const terms *by, uint32_t job_id)
{
    size_t padding = (size_t)PyBytes_GET_SIZE(by->padding), first = (size_t)PyBytes_GET_SIZE(seat->own.extranonce1);
    size_t own = (size_t)seat->own.size, size = padding + first + own;
    if (padding > MOST_SHARE || first > MOST_SHARE || size > MOST_SHARE) {
        return false;
    }
    if (seat->hub == NULL) {
        return false;
    }
    uint8_t *payload = share->frame + FRAME_HEADER;
    memcpy(share->frame, PyBytes_AS_STRING(PyTuple_GET_ITEM(seat->hub->headers, (Py_ssize_t)size)), FRAME_HEADER);
    store32(payload, seat->channel);
    store32(payload + 4, seat->next);
    store32(payload + 8, job_id);
    store32(payload + 12, said->nonce);
    store32(payload + 16, said->ntime);
    store32(payload + 20, by->version | said->bits);
    payload[24] = (uint8_t)size;
    memcpy(payload + SHARE_FIXED, PyBytes_AS_STRING(by->padding), padding);
    memcpy(payload + SHARE_FIXED + padding, PyBytes_AS_STRING(seat->own.extranonce1), first);
    memcpy(payload + SHARE_FIXED + padding + first, said->extranonce2, own);
    share->size = (uint8_t)(FRAME_HEADER + SHARE_FIXED + size);
    return true;
}

static void append_waiting(Seat *seat, waiting *share)
{
    Hub *hub = seat->hub;
    share->seat = seat;
    *(seat->last == NULL ? &seat->first : &seat->last->next) = share;
    seat->last = share;
    seat->pending++;
    share->older = hub->youngest;
    *(hub->youngest == NULL ? &hub->oldest : &hub->youngest->younger) = share;
    hub->youngest = share;
}

/* 1 if the share is new and is taken with its frame, 0 if it is left to others, -1 with an exception set. */
static int keep(look *at, Seat *seat, waiting *share, const proof *of)
{
    if (seat->hub != at->hub) {
        return 0;
    }
    share->hash = PyBytes_FromStringAndSize((const char *)of->hash, SHA256_SIZE);
    int is_known = share->hash == NULL ? -1 : PyDict_Contains(seat->seen, share->hash);
    if (is_known == 0) {
        is_known = PyDict_Contains(seat->older, share->hash);
    }
    if (is_known == 0) {
        is_known = PyDict_Contains(seat->accepted, share->hash);
    }
    if (is_known) {
        return is_known < 0 ? -1 : 0;
    }
    /* What is remembered and then left to Python would be a repeated share there. */
    if (harvest_room(at->hub, share->size) < 0 || PyDict_SetItem(seat->seen, share->hash, Py_False) < 0) {
        return -1;
    }
    Hub *hub = seat->hub;
    if (hub == NULL) {
        return 0;
    }
    append_waiting(seat, share);
    harvest_add(hub, share, of->hash, at->now);
    seat->next++;
    seat->found++;
    seat->found_at = at->now;
    seat->found_work += share->hashes;
    if (seat->found == 1 || !is_up_to(seat->best, of->hash)) {
        memcpy(seat->best, of->hash, SHA256_SIZE);
    }
    return 1;
}

/* The same for what a line says. */
static int take_share(look *at, Seat *seat, const submission *said)
{
    finder_own own = seat->own;
    own.now = at->unix_now;
    terms by = {0};
    proof of;
    uint32_t job_id;
    Finder *finder = at->hub->finder;
    waiting *share = NULL;
    int result = finder_judge(finder, seat->jobs, &own, said, &by, &of);
    if (result > 0) {
        share = PyMem_Calloc(1, sizeof *share);
        result = -1;
        if (share == NULL) {
            PyErr_NoMemory();
        } else if (finder_double(finder, by.job, HASHES, &share->hashes) == 0 &&
                   finder_u32(finder, by.work, JOB_ID, &job_id) == 0) {
            share->id = said->id;
            share->since = at->now;
            share->sequence = seat->next;
            result = make_frame(share, seat, said, &by, job_id) ? keep(at, seat, share, &of) : 0;
        }
    }
    if (result <= 0 && share != NULL) {
        waiting_free(share);
    }
    finder_let_go(&by);
    return result;
}

static bool is_space(char letter)
{
    return letter == ' ' || (letter >= '\t' && letter <= '\r');
}

/* 1 if the line is done with, 0 if it is left to Python, -1 with an exception set. */
static int take_line(look *at, Seat *seat, const char *line, Py_ssize_t size)
{
    if (size > MOST_LINE || size > seat->line_limit) {
        return 0;
    }
    while (size && is_space(line[size - 1])) {
        size--;
    }
    while (size && is_space(*line)) {
        line++, size--;
    }
    if (size == 0) {
        return 1;
    }
    double cost = seat->cost - (at->now - seat->when);
    cost = (cost > 0.0 ? cost : 0.0) + seat->each;
    submission said;
    if (cost > seat->soft || seat->pending >= seat->most || PyDict_GET_SIZE(seat->seen) + 1 >= seat->seen_limit ||
        !submission_read(line, size, seat->own.size, &said)) {
        return 0;
    }
    int result = take_share(at, seat, &said);
    if (result > 0) {
        seat->cost = cost;
        seat->when = seat->heard = at->now;
    }
    return result;
}

/* -1 with an exception set if what is left cannot be told. */
static int take_bytes(look *at, Seat *seat, const char *data, Py_ssize_t size)
{
    while (size) {
        const char *end = memchr(data, '\n', (size_t)size);
        int result = end == NULL ? 0 : take_line(at, seat, data, end - data);
        if (result < 0) {
            PyErr_WriteUnraisable((PyObject *)seat);
        }
        if (result <= 0) {
            return harvest_leave(at->hub, seat->owner, data, size);
        }
        size -= end + 1 - data;
        data = end + 1;
    }
    return 0;
}

static int take_event(look *at, Seat *seat, uint32_t events)
{
    char *buffer = (char *)at->hub->buffer;
    if (events & ~(uint32_t)EPOLLIN) {
        /* The event loop finds out what is wrong. */
        return harvest_leave(at->hub, seat->owner, buffer, 0);
    }
    ssize_t size = recv(seat->fd, buffer, BUFFER, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return 0;
    }
    return size <= 0 ? harvest_leave(at->hub, seat->owner, buffer, 0) : take_bytes(at, seat, buffer, size);
}

/* The next look comes even if nobody speaks. */
static void wake_up(const Hub *self)
{
    struct itimerspec pace = {.it_value = {.tv_nsec = AGAIN_NS}}, now;
    if (timerfd_gettime(self->clock, &now) == 0 && now.it_interval.tv_sec == 0 && now.it_interval.tv_nsec == 0) {
        timerfd_settime(self->clock, 0, &pace, NULL);
    }
}

/* Read and judge what has come; -1 with an exception set. */
static int look_around(look *at)
{
    Hub *self = at->hub;
    if (self->is_looking) {
        PyErr_SetString(PyExc_RuntimeError, "look is called from within look");
        return -1;
    }
    uint64_t ticks;
    if (read(self->clock, &ticks, sizeof ticks) < 0) {
        /* It is not why we look. */
        ticks = 0;
    }
    struct epoll_event events[MOST_EVENTS];
    /* Nobody is read from before all have heard what was read before. */
    int ready = self->owes ? 0 : epoll_wait(self->epoll, events, MOST_EVENTS, 0);
    self->owes = false;
    self->is_looking = true;
    int result = harvest_begin(self);
    for (int i = 0; i < ready && result == 0; i++) {
        int fd = events[i].data.fd;
        Seat *seat = fd >= 0 && fd < self->room ? self->places[fd] : NULL;
        if (seat != NULL) {
            Py_INCREF(seat);
            result = take_event(at, seat, events[i].events);
            Py_DECREF(seat);
        }
    }
    return result;
}

/* What a look comes to, which the next one owes where it is NULL. */
static PyObject *looked(Hub *self, PyObject *told)
{
    self->is_looking = false;
    if (told == NULL) {
        self->owes = true;
        wake_up(self);
    }
    return told;
}

static PyObject *hub_look(Hub *self, PyObject *const *args, Py_ssize_t count)
{
    look at = {.hub = self};
    if (count != 3) {
        return PyErr_Format(PyExc_TypeError, "look takes 3 arguments, %zd were given", count);
    }
    if (args[2] != Py_None && !outlet_check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "the outlet is no Outlet of this kernel");
        return NULL;
    }
    at.now = PyFloat_AsDouble(args[0]);
    at.unix_now = PyErr_Occurred() ? 0 : PyLong_AsLongLong(args[1]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    bool is_within = self->is_looking;
    int result = look_around(&at);
    if (is_within) {
        return NULL;
    }
    if (result == 0) {
        harvest_send(self, args[2] == Py_None ? NULL : (Outlet *)args[2]);
    }
    return looked(self, result < 0 ? NULL : harvest_tell(self));
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

/* Look, and tell what is not done with, or that nothing has come for a while. */
static PyObject *hub_tick(Hub *self, PyObject *ignored)
{
    (void)ignored;
    if (self->tell == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nobody is to be told");
        return NULL;
    }
    struct timespec now, unix_now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_REALTIME, &unix_now);
    look at = {.hub = self, .now = (double)now.tv_sec + (double)now.tv_nsec * 1e-9, .unix_now = unix_now.tv_sec};
    unsigned long before = self->found;
    bool is_within = self->is_looking;
    int result = look_around(&at);
    if (is_within) {
        return NULL;
    }
    /* Who is called may set others. */
    Outlet *outlet = (Outlet *)Py_XNewRef((PyObject *)self->outlet);
    PyObject *tell = Py_NewRef(self->tell), *told = NULL;
    bool is_done = result == 0 && harvest_send(self, outlet);
    self->quiet = is_done && self->found == before ? self->quiet + 1 : 0;
    if (is_done && self->quiet < self->patience) {
        told = looked(self, Py_NewRef(Py_None));
    } else {
        self->quiet = 0;
        PyObject *found = looked(self, result < 0 ? NULL : harvest_tell(self));
        told = found == NULL ? NULL : PyObject_CallObject(tell, found);
        Py_XDECREF(found);
    }
    Py_XDECREF(outlet);
    Py_DECREF(tell);
    return told;
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
