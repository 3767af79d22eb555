/* Lanes: plain shares of a downstream connection go up, the upstream's successes come down, a batch in one call. */

#include "lane.h"

#include <structmember.h>

enum { MOST_SIDES = 16 };

static const uint8_t share_type[] = {0x00, 0x80, 0x1b};
static const uint8_t success_header[FRAME_HEADER] = {0x00, 0x80, 0x1c, SUCCESS_SIZE, 0x00, 0x00};

/* The outbox */

static uint8_t *extend_outbox(Lanes *self, size_t size)
{
    if (self->size + size > self->room) {
        size_t room = self->room ? 2 * self->room : 256;
        uint8_t *grown = PyMem_Realloc(self->outbox, room);
        if (grown == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        self->outbox = grown;
        self->room = room;
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
    empty_outbox(self);
    return sealed;
}

static PyObject *lanes_discard(Lanes *self, PyObject *Py_UNUSED(ignored))
{
    empty_outbox(self);
    Py_RETURN_NONE;
}

/* Everything has left, where there is an outlet and it can. */
static bool leave_now(Lanes *self)
{
    Outlet *outlet = self->outlet;
    if (outlet == NULL || !outlet_is_free(outlet) || !self->frames) {
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

/* What a call has touched on the other side. */
typedef struct {
    Lanes *lanes[MOST_SIDES];
    int count;
} sides;

static bool touch(sides *at, Lanes *side)
{
    if (!side->is_touched) {
        if (at->count == MOST_SIDES) {
            return false;
        }
        side->is_touched = true;
        at->lanes[at->count++] = side;
    }
    return true;
}

/* Those that have something to send still; what has an outlet sends by it. */
static PyObject *owners_of(sides *at)
{
    int kept = 0;
    for (int i = 0; i < at->count; i++) {
        at->lanes[i]->is_touched = false;
        if (PyErr_Occurred() || !leave_now(at->lanes[i])) {
            at->lanes[kept++] = at->lanes[i];
        }
    }
    PyObject *owners = PyTuple_New(kept);
    for (int i = 0; owners != NULL && i < kept; i++) {
        PyTuple_SET_ITEM(owners, i, Py_NewRef(at->lanes[i]->owner));
    }
    return owners;
}

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

/* Shares */

enum verdict { FAILED = -1, OTHER, DONE };

static bool has_token(Lane *lane, double now)
{
    double tokens = lane->tokens;
    if (now > lane->when) {
        tokens += (now - lane->when) * lane->rate;
        if (tokens > lane->burst) {
            tokens = lane->burst;
        }
    }
    if (tokens < 1) {
        return false;
    }
    lane->tokens = tokens - 1;
    lane->when = now;
    return true;
}

/* The share waits for its verdict, and its frame in the outbox of the other side. */
static int send_up(Lane *lane, const uint8_t *payload, const uint8_t *extranonce, const uint8_t *hash, double now)
{
    Lanes *up = lane->up;
    waiting *share = PyMem_Malloc(sizeof *share);
    if (share == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    uint32_t behind = (uint32_t)(lane->front_size - lane->skip + lane->rolled);
    share->size = FIXED_SIZE + behind;
    uint8_t *frame = extend_outbox(up, FRAME_HEADER + share->size);
    if (frame == NULL) {
        PyMem_Free(share);
        return -1;
    }
    store32(share->payload, lane->up_id);
    store32(share->payload + 4, lane->next);
    store32(share->payload + 8, lane->origin);
    memcpy(share->payload + 12, payload + 12, 12);
    share->payload[24] = (uint8_t)behind;
    memcpy(share->payload + FIXED_SIZE, extranonce + lane->skip, behind);
    memcpy(frame, share_type, sizeof share_type);
    frame[3] = (uint8_t)share->size;
    frame[4] = frame[5] = 0;
    memcpy(frame + FRAME_HEADER, share->payload, share->size);
    share->next = NULL;
    share->lane = lane;
    share->course = (Course *)Py_NewRef((PyObject *)lane->course);
    share->since = now;
    share->sequence = load32(payload + 4);
    memcpy(share->hash, hash, SHA256_SIZE);
    *(lane->last == NULL ? &lane->first : &lane->last->next) = share;
    lane->last = share;
    share->older = up->newest;
    share->newer = NULL;
    *(up->newest == NULL ? &up->oldest : &up->newest->newer) = share;
    up->newest = share;
    lane->waiting++;
    lane->next++;
    return 0;
}

/* The lower of two hashes is the better share. */
static bool keep_best(uint8_t best[SHA256_SIZE], const uint8_t *hash, bool is_first)
{
    if (is_first || !is_up_to(best, hash)) {
        memcpy(best, hash, SHA256_SIZE);
        return true;
    }
    return false;
}

typedef struct {
    Lanes *self;
    unsigned long clock;
    double now;
    sides ups;
    bool is_better;
} shift;

static enum verdict take_share(shift *at, const uint8_t *payload, size_t size)
{
    Lane *lane = lanes_find(at->self, load32(payload));
    if (lane == NULL || !lane->has_job || load32(payload + 8) != lane->job_id || payload[24] != lane->rolled ||
        size != (size_t)FIXED_SIZE + lane->rolled) {
        return OTHER;
    }
    const Course *course = lane->course;
    uint32_t nonce = load32(payload + 12), ntime = load32(payload + 16), version = load32(payload + 20);
    if (ntime < course->min_ntime || ntime > at->clock || ((version ^ course->version) & course->fixed)) {
        return OTHER;
    }
    uint8_t extranonce[2 * MAX_EXTRANONCE], header[PROVED_SIZE], hash[SHA256_SIZE];
    memcpy(extranonce, lane->front, lane->front_size);
    memcpy(extranonce + lane->front_size, payload + FIXED_SIZE, lane->rolled);
    prover_header(course->prover, extranonce, (size_t)lane->front_size + lane->rolled, version, ntime, nonce, header,
                  hash);
    if (!is_up_to(hash, course->target_bytes) || lane->waiting >= lane->limit || lane->seen >= GENERATION ||
        lane_has_seen(lane, hash) || !touch(&at->ups, lane->up) || !has_token(lane, at->now)) {
        return OTHER;
    }
    if (lane_remember(lane, hash) < 0 || send_up(lane, payload, extranonce, hash, at->now) < 0) {
        return FAILED;
    }
    keep_best(lane->best, hash, lane->found_at == 0.0);
    lane->found_at = at->now;
    at->is_better |= keep_best(at->self->best, hash, false);
    return DONE;
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
static PyObject *lanes_take(Lanes *self, PyObject *const *args, Py_ssize_t count)
{
    shift at = {.self = self};
    Py_ssize_t place;
    if (read_batch("take", args, count, 4, &place, &at.now) < 0) {
        return NULL;
    }
    at.clock = PyLong_AsUnsignedLong(args[2]);
    if (at.clock == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    enum verdict verdict = DONE;
    for (; verdict == DONE && place < PySequence_Fast_GET_SIZE(args[0]); place += verdict == DONE) {
        PyObject *header, *payload;
        if (!frame_at(args[0], place, &header, &payload) || PyBytes_GET_SIZE(payload) < FIXED_SIZE ||
            memcmp(PyBytes_AS_STRING(header), share_type, sizeof share_type) != 0) {
            break;
        }
        verdict = take_share(&at, (const uint8_t *)PyBytes_AS_STRING(payload), (size_t)PyBytes_GET_SIZE(payload));
    }
    PyObject *owners = owners_of(&at.ups);
    if (verdict == FAILED || owners == NULL) {
        Py_XDECREF(owners);
        return NULL;
    }
    if (!at.is_better) {
        return Py_BuildValue("(nON)", place, Py_None, owners);
    }
    return Py_BuildValue("(ny#N)", place, (const char *)self->best, (Py_ssize_t)SHA256_SIZE, owners);
}

/* Verdicts */

static int answer(Lane *lane, Lanes *down)
{
    uint8_t *frame = extend_outbox(down, FRAME_HEADER + SUCCESS_SIZE);
    if (frame == NULL) {
        return -1;
    }
    unsigned __int128 total = lane->answered_work * 0xFFFF >> 48;
    memcpy(frame, success_header, FRAME_HEADER);
    frame += FRAME_HEADER;
    store32(frame, lane->down_id);
    store32(frame + 4, lane->last_answered);
    store32(frame + 8, lane->answered);
    store64(frame + 12, total > UINT64_MAX ? UINT64_MAX : (uint64_t)total);
    lane->answered = 0;
    lane->answered_work = 0;
    return 0;
}

static int answer_soon(Lanes *down, Lane *lane)
{
    if (down->unsaid_count == down->unsaid_room) {
        size_t room = down->unsaid_room ? 2 * down->unsaid_room : 8;
        Lane **grown = PyMem_Realloc(down->unsaid, room * sizeof *grown);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        down->unsaid = grown;
        down->unsaid_room = room;
    }
    lane->is_unsaid = 1;
    down->unsaid[down->unsaid_count++] = lane;
    return 0;
}

static int append(PyObject **list, PyObject *item)
{
    if (*list == NULL) {
        *list = PyList_New(0);
    }
    int result = *list == NULL || item == NULL ? -1 : PyList_Append(*list, item);
    Py_XDECREF(item);
    return result;
}

/* The oldest share of a lane has been accepted. */
static int accept_first(Lane *lane, Lanes *down, double now)
{
    const waiting *share = lane->first;
    uint64_t work = share->course->work;
    double hashes = (double)work;
    if (append(&down->seconds, PyFloat_FromDouble(now - share->since)) < 0) {
        return -1;
    }
    down->work += hashes;
    down->squares += hashes * hashes;
    lane->journal[lane->journal_size++] = (credit){now, hashes};
    lane->answered++;
    lane->last_answered = share->sequence;
    lane->answered_work += work;
    lane_drop_first(lane);
    if (lane->answered == BATCH) {
        return answer(lane, down);
    }
    return lane->is_unsaid ? 0 : answer_soon(down, lane);
}

static enum verdict settle_success(Lanes *self, const uint8_t *payload, double now, sides *downs)
{
    Lane *lane = lanes_find(self, load32(payload));
    uint32_t last = load32(payload + 4), count = load32(payload + 8);
    if (lane == NULL || count == 0 || count > lane->waiting || last != lane->next - lane->waiting + count - 1 ||
        count > (uint32_t)(JOURNAL - lane->journal_size) || !touch(downs, lane->down)) {
        return OTHER;
    }
    bool was_full = lane->journal_size >= JOURNAL_FULL;
    for (uint32_t i = 0; i < count; i++) {
        if (accept_first(lane, lane->down, now) < 0) {
            return FAILED;
        }
    }
    if (!was_full && lane->journal_size >= JOURNAL_FULL &&
        append(&lane->down->full, Py_NewRef(lane->owner)) < 0) {
        return FAILED;
    }
    return DONE;
}

/* What has not been told in an answer of ten is told now. */
static int say_rest(Lanes *down)
{
    int result = 0;
    for (size_t i = 0; i < down->unsaid_count; i++) {
        Lane *lane = down->unsaid[i];
        lane->is_unsaid = 0;
        if (lane->answered && result == 0) {
            result = answer(lane, down);
        }
    }
    down->unsaid_count = 0;
    return result;
}

/* settle(frames, start, now) -> (place, accepted, owners) */
static PyObject *lanes_settle(Lanes *self, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t place, accepted = 0;
    double now;
    sides downs = {.count = 0};
    if (read_batch("settle", args, count, 3, &place, &now) < 0) {
        return NULL;
    }
    enum verdict verdict = DONE;
    for (; verdict == DONE && place < PySequence_Fast_GET_SIZE(args[0]); place += verdict == DONE) {
        PyObject *header, *payload;
        if (!frame_at(args[0], place, &header, &payload) || PyBytes_GET_SIZE(payload) != SUCCESS_SIZE ||
            memcmp(PyBytes_AS_STRING(header), success_header, FRAME_HEADER) != 0) {
            break;
        }
        const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(payload);
        verdict = settle_success(self, bytes, now, &downs);
        accepted += verdict == DONE ? (Py_ssize_t)load32(bytes + 8) : 0;
    }
    for (int i = 0; i < downs.count; i++) {
        if (say_rest(downs.lanes[i]) < 0) {
            verdict = FAILED;
        }
    }
    PyObject *owners = owners_of(&downs);
    if (verdict == FAILED || owners == NULL) {
        Py_XDECREF(owners);
        return NULL;
    }
    return Py_BuildValue("(nnN)", place, accepted, owners);
}

static PyObject *lanes_sums(Lanes *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *seconds = self->seconds == NULL ? PyList_New(0) : self->seconds;
    PyObject *full = self->full == NULL ? PyTuple_New(0) : self->full;
    double work = self->work, squares = self->squares;
    self->seconds = self->full = NULL;
    self->work = self->squares = 0.0;
    return Py_BuildValue("(NddN)", seconds, work, squares, full);
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
    {"take", (PyCFunction)(void (*)(void))lanes_take, METH_FASTCALL,
     "take(frames, start, clock, now) -> (place of the first frame that is left, best hash or None, owners above)"},
    {"settle", (PyCFunction)(void (*)(void))lanes_settle, METH_FASTCALL,
     "settle(frames, start, now) -> (place of the first frame that is left, accepted, owners below)"},
    {"seal", (PyCFunction)lanes_seal, METH_O, "seal(cipher) -> sealed bytes of all frames that are to be sent"},
    {"discard", (PyCFunction)lanes_discard, METH_NOARGS, "discard(): nothing is sent of what was to be"},
    {"sums", (PyCFunction)lanes_sums, METH_NOARGS,
     "sums() -> (seconds each verdict took, work, squares, owners of lanes whose journal should be read)"},
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
