/* Miners whose shares are plain, served together without a call of Python for each. */
#ifndef HASHPOOL_HUB_H
#define HASHPOOL_HUB_H

#include "finder.h"
#include "outlet.h"

enum { READ = 1 << 14, MOST_WAITING = 64, MOST_LOGGED = 16, SHARE_FIXED = 25, MOST_SHARE = 32 };

typedef struct Hub Hub;
typedef struct Seat Seat;

/* A share that waits for its verdict: in the order of its seat, and in that of all. */
typedef struct waiting {
    struct waiting *next;
    struct waiting *older, *younger;
    Seat *seat;
    PyObject *hash;
    long long id;
    double hashes, since;
    uint32_t sequence;
    uint8_t size, frame[FRAME_HEADER + SHARE_FIXED + MOST_SHARE]; /* as it went up: header and payload */
} waiting;

/* Shares that were accepted at one time. */
typedef struct {
    double when, work, squares;
    unsigned long shares;
} credit;

/* A miner that is served here; `hub` is NULL when it is no longer. */
struct Seat {
    PyObject_HEAD
    Hub *hub;
    PyObject *owner;
    PyObject *unsent;                 /* called: how many bytes the event loop has yet to send */
    PyObject *jobs, *seen, *older, *accepted; /* dictionaries of its SentJobs */
    Py_ssize_t seen_limit;
    finder_own own;
    int fd;
    uint32_t channel, next, most; /* shares that may wait */
    Py_ssize_t line_limit;
    double cost, when, each, soft; /* its CostAccount */
    double heard;
    waiting *first, *last;
    unsigned pending;
    /* What nobody was told yet. */
    unsigned found;
    double found_at, found_work;
    uint8_t best[SHA256_SIZE];
    unsigned logged;
    credit log[MOST_LOGGED];
};

struct Hub {
    PyObject_HEAD
    int epoll, ends, clock; /* who has spoken, who has gone, when to look */
    Finder *finder;
    PyObject *headers; /* of a share frame, by the size of its extranonce */
    PyObject *success; /* of the frame that accepts shares */
    PyObject *channels; /* seats by channel */
    Seat **places;      /* the same by socket */
    int room;
    waiting *oldest, *youngest;
    uint8_t *buffer;
    uint8_t *run; /* frames of the shares that one look has found */
    size_t run_size, run_room, run_frames;
    /* What looks have found and left, and nobody was told yet. */
    PyObject *left;
    unsigned long found;
    double found_at;
    uint8_t best[SHA256_SIZE];
    PyObject *speaker; /* or NULL: whose bytes lie unread in the buffer, since there was no memory for them */
    const char *unread;
    Py_ssize_t unread_size;
    Outlet *outlet;    /* by which ticks send, or NULL */
    PyObject *tell;    /* called by ticks, or NULL */
    unsigned patience, quiet; /* ticks that find nothing: of how many to tell, and how many there were in a row */
    char owes; /* a look has failed */
    bool is_looking;
};

/* Hub.look(now, unix time, outlet or None), and Hub.tick(). */
PyObject *hub_look(Hub *self, PyObject *const *args, Py_ssize_t count);
PyObject *hub_tick(Hub *self, PyObject *ignored);
/* Hub.settle(frames, start, now). */
PyObject *hub_settle(Hub *self, PyObject *const *args, Py_ssize_t count);

/* Make room for one more frame; -1 with an exception set. */
int harvest_room(Hub *self, size_t size);
/* A share was found, for whose frame there is room. */
void harvest_add(Hub *self, const waiting *share, const uint8_t hash[SHA256_SIZE], double now);
/* A look begins; -1 with an exception set if what an earlier one has read still cannot be left to its owner. */
int harvest_begin(Hub *self);
/* Leave to Python what was read. -1 with an exception set: it stays in the buffer, which nothing must be read into
 * before harvest_begin has left it.
 */
int harvest_leave(Hub *self, PyObject *owner, const char *data, Py_ssize_t size);
/* Whether all frames have left by an outlet that is not NULL, and nothing is left to anybody. */
bool harvest_send(Hub *self, Outlet *outlet);
/* Frames that have not left, and what is left to whom; NULL with an exception set, and nothing is let go. */
PyObject *harvest_tell(Hub *self);
/* How many shares were found, when the last one, and the best hash, which nobody was told yet; NULL likewise. */
PyObject *harvest_found(Hub *self);

/* Take a share out of both orders. */
waiting *seat_shift(Seat *self);
/* Nothing is read from or written to its socket any more, and no share waits. */
void seat_quit(Seat *self);
/* Hold the seat no longer; -1 with an exception set if that fails. */
int hub_forget(Hub *self, Seat *seat);
/* A new seat; NULL with an exception set. */
Seat *seat_make(PyTypeObject *type, PyObject *const *args);
/* Send what fits the socket at once, and have the event loop send the rest. */
void seat_say(Seat *self, const char *lines, size_t size);
/* Note that shares were accepted. */
void seat_credit(Seat *self, double when, double work, double squares, unsigned long shares);

void waiting_free(waiting *share);
/* A frame as (header, payload), with a header of the hub's; NULL with an exception set. */
PyObject *hub_frame(const Hub *self, const uint8_t *frame);

#endif
