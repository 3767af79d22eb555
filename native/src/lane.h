/* Channels of a proxy whose plain shares pass without Python: what roles.proxy.lending says of them. */
#ifndef HASHPOOL_LANE_H
#define HASHPOOL_LANE_H

#include "judge.h"
#include "outlet.h"
#include "target.h"
#include "words.h"

enum {
    GENERATION = 1 << 15, /* shares of a tip that are remembered, as protocols.mining.share has it */
    MOST_AGE = 256,       /* jobs before the newest one, as protocols.mining.job has it */
    BATCH = 10,           /* shares of an answer, as protocols.mining.acknowledgement has it */
    JOURNAL = 32,
    JOURNAL_FULL = JOURNAL - BATCH,
    FIXED_SIZE = 25, /* of a share: six numbers and the extranonce's size */
    MAX_EXTRANONCE = 32,
    SUCCESS_SIZE = 20,
    MOST_SIDES = 16, /* connections on the other side that one batch can be for */
};

/* What shares for one job are judged by; shared by all channels that have the same. */
typedef struct {
    PyObject_HEAD
    PyObject *prover, *target;
    uint8_t target_bytes[SHA256_SIZE];
    uint32_t min_ntime, version, fixed;
    uint64_t work;
} Course;

typedef struct Lane Lane;
typedef struct Lanes Lanes;

/* A share that waits for the upstream's word: the oldest first, of its lane and of all on the connection. */
typedef struct waiting {
    struct waiting *next, *older, *newer;
    Lane *lane;
    Course *course;
    double since;
    uint32_t sequence;
    uint32_t size;
    uint8_t hash[SHA256_SIZE];
    uint8_t payload[FIXED_SIZE + MAX_EXTRANONCE];
} waiting;

/* What a channel adds to a course: a job of its own, and where its miner's bytes are in the extranonce. */
typedef struct {
    Course *course; /* NULL: there is no job */
    uint32_t job_id, origin;
    uint32_t age; /* how many newer jobs the channel has had */
    bool is_used;
    uint8_t front_size, skip, rolled;
    uint8_t front[MAX_EXTRANONCE]; /* what stands before that which the miner rolls */
} task;

/* What is counted of an accepted share later. */
typedef struct {
    double at, hashes;
} credit;

/* One downstream channel and its upstream one. While it is lent, `down` and `up` know it. */
struct Lane {
    PyObject_HEAD
    uint32_t down_id, up_id;
    uint32_t next;    /* the sequence number of the next share upstream */
    uint32_t waiting; /* shares that wait */
    uint32_t limit;
    uint8_t is_unsaid, journal_size;
    task newest, other; /* what shares may be for: the job sent last, and the one before it that shares were for */
    waiting *first, *last;
    double tokens, when, rate, burst;
    Lanes *down, *up;
    /* Of the hashes that were seen on this tip: how many, how many have room, where they are, and an index. */
    uint32_t seen, room;
    uint8_t *hashes;
    uint32_t *index;
    double found_at; /* 0: nothing has been found since the journal was read */
    uint8_t best[SHA256_SIZE];
    uint32_t answered, last_answered; /* shares that the next answer tells of, and the last of them */
    unsigned __int128 answered_work;
    PyObject *owner, *upstream;
    credit journal[JOURNAL];
};

typedef struct {
    uint32_t id;
    Lane *lane;
} lane_slot;

/* The lanes of one connection, on either side. */
struct Lanes {
    PyObject_HEAD
    PyObject *owner;
    lane_slot *slots;
    uint32_t mask, count;
    bool is_touched;
    uint8_t *outbox; /* frames that are to be sent: header and payload each */
    size_t size, room, frames;
    Outlet *outlet; /* upstream: by which they leave where that can be, or NULL */
    waiting *oldest, *newest; /* upstream */
    /* Downstream: lanes that have an answer to come, and what became of shares since it was asked for. */
    Lane **unsaid;
    size_t unsaid_count, unsaid_room;
    PyObject *seconds, *full;
    double work, squares;
    uint8_t best[SHA256_SIZE];
    bool is_better; /* an inlet has found the best, and nobody was told */
    double heard;   /* when a share came by an inlet, or an answer upstream; 0 before any */
    double tokens, when, rate, burst; /* how fast shares may come on the connection, as roles.stratum.pace has it */
};

/* Connections that a batch has touched on the other side, each with a reference that sides_close lets go. */
typedef struct {
    Lanes *lanes[MOST_SIDES];
    int count;
} sides;

/* A frame is left as it is, or done with; FAILED with an exception set. */
enum verdict { FAILED = -1, OTHER, DONE };

/* What one batch of frames works with: those of `self` pass at this Unix time and these monotonic seconds. */
typedef struct {
    Lanes *self;
    unsigned long clock;
    double now;
    sides others;
    Py_ssize_t count; /* shares that have passed, or were accepted */
    bool is_better;   /* one of them has the lowest hash so far */
} passing;

typedef enum verdict pass_frame(passing *at, const uint8_t *header, const uint8_t *payload, size_t size);

extern PyType_Spec course_spec, lane_spec, lanes_spec;

bool course_check(PyObject *object);
bool lanes_check(PyObject *object);

/* The job of this id, or NULL. */
task *lane_find_job(Lane *self, uint32_t job_id);
/* Whether a hash was seen on this tip. */
bool lane_has_seen(const Lane *self, const uint8_t hash[SHA256_SIZE]);
/* Make room for one more hash; -1 with an exception set. */
int lane_make_room(Lane *self);
/* Remember a hash that is new, and for which there is room. */
void lane_remember(Lane *self, const uint8_t hash[SHA256_SIZE]);
/* Neither side knows it any more, and what waits is forgotten. The caller holds a reference, or frees it. */
void lane_take_out(Lane *self);
/* Forget the first share that waits, and free it. */
void lane_drop_first(Lane *self);
/* A share goes up. */
pass_frame lanes_pass;
/* A success comes down; what it tells is complete after lanes_say_rest, which is -1 with an exception set. */
pass_frame lanes_settle;
int lanes_say_rest(passing *at);
/* Take tokens for shares, and return how long to wait for them, 0 as a rule. */
double lanes_pay(Lanes *self, double now, Py_ssize_t shares);
/* Make room for one more frame that is to be sent; -1 with an exception set. */
int lanes_make_room(Lanes *self, size_t size);
/* Where it lies from now on; NULL with an exception set, but never where room was made. */
uint8_t *lanes_extend(Lanes *self, size_t size);
/* Remember a connection; false if there are too many. */
bool sides_touch(sides *at, Lanes *side);
/* The owners of those that have something to send still, after what has an outlet has sent by it; NULL with an
 * exception set.
 */
PyObject *sides_close(sides *at);

Lane *lanes_find(const Lanes *self, uint32_t id);
/* Know a lane by an id; -1 with an exception set, also where another has it. */
int lanes_add(Lanes *self, uint32_t id, Lane *lane);
void lanes_remove(Lanes *self, uint32_t id, const Lane *lane);

#endif
