/* Hub.look and Hub.tick: what miners say is read, and made frames of, as far as it is plain shares.
 *
 * A line that is anything else, and all that its miner says after it, is left to Python.
 */

#include "hub.h"

#include "target.h"
#include "words.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MOST_EVENTS = 256, MOST_LINE = 1024, AGAIN_NS = 10000000 };

/* What one look works with. */
typedef struct {
    Hub *hub;
    double now;
    long long unix_now;
} look;

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
    ssize_t size = recv(seat->fd, buffer, READ, MSG_DONTWAIT);
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

PyObject *hub_look(Hub *self, PyObject *const *args, Py_ssize_t count)
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

/* Look, and tell what is not done with, or that nothing has come for a while. */
PyObject *hub_tick(Hub *self, PyObject *ignored)
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
