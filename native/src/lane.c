/* Course and Lane: one channel's share path, lent by Python and given back when something unusual comes. */

#include "lane.h"

#include <structmember.h>

/* Course */

static void course_dealloc(Course *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->prover);
    Py_XDECREF(self->target);
    type->tp_free(self);
    Py_DECREF(type);
}

bool course_check(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)course_dealloc;
}

static PyObject *course_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *prover, *min_ntime, *version, *fixed, *target, *work;
    static char *names[] = {"prover", "min_ntime", "version", "fixed", "target", "work", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO!O:Course", names, &prover, &min_ntime, &version, &fixed,
                                     &PyLong_Type, &target, &work)) {
        return NULL;
    }
    if (!prover_check(prover)) {
        PyErr_SetString(PyExc_TypeError, "prover is no Prover of this kernel");
        return NULL;
    }
    Course *self = (Course *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->prover = Py_NewRef(prover);
    self->target = Py_NewRef(target);
    self->work = PyLong_AsUnsignedLongLong(work);
    if (PyErr_Occurred() || kernel_u32(min_ntime, "min_ntime", &self->min_ntime) < 0 ||
        kernel_u32(version, "version", &self->version) < 0 || kernel_u32(fixed, "fixed", &self->fixed) < 0 ||
        target_read(target, self->target_bytes) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyType_Slot course_slots[] = {
    {Py_tp_doc, "Course(prover, min_ntime, version, fixed, target, work): what shares for a job are judged by."},
    {Py_tp_new, (void *)course_new},
    {Py_tp_dealloc, (void *)course_dealloc},
    {0, NULL},
};

PyType_Spec course_spec = {
    .name = "hashpool_kernel.Course",
    .basicsize = sizeof(Course),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = course_slots,
};

/* What was seen */

/* The place of a hash in the index, or of the gap where it would be. */
static uint32_t *place_of(const Lane *self, const uint8_t *hash)
{
    uint32_t mask = 2 * self->room - 1;
    /* The low bytes, which no work has made alike. */
    for (uint32_t at = load32(hash) & mask;; at = (at + 1) & mask) {
        uint32_t number = self->index[at];
        if (number == 0 || memcmp(self->hashes + (size_t)(number - 1) * SHA256_SIZE, hash, SHA256_SIZE) == 0) {
            return &self->index[at];
        }
    }
}

bool lane_has_seen(const Lane *self, const uint8_t hash[SHA256_SIZE])
{
    return self->seen != 0 && *place_of(self, hash) != 0;
}

static void forget_seen(Lane *self)
{
    PyMem_Free(self->hashes);
    PyMem_Free(self->index);
    self->hashes = NULL;
    self->index = NULL;
    self->seen = self->room = 0;
}

static int grow_seen(Lane *self)
{
    uint32_t room = self->room ? 2 * self->room : 8;
    uint32_t *index = PyMem_Calloc(2 * (size_t)room, sizeof *index);
    uint8_t *hashes = index == NULL ? NULL : PyMem_Realloc(self->hashes, (size_t)room * SHA256_SIZE);
    if (hashes == NULL) {
        PyMem_Free(index);
        PyErr_NoMemory();
        return -1;
    }
    PyMem_Free(self->index);
    self->hashes = hashes;
    self->index = index;
    self->room = room;
    for (uint32_t i = 0; i < self->seen; i++) {
        *place_of(self, hashes + (size_t)i * SHA256_SIZE) = i + 1;
    }
    return 0;
}

int lane_make_room(Lane *self)
{
    return self->seen == self->room ? grow_seen(self) : 0;
}

void lane_remember(Lane *self, const uint8_t hash[SHA256_SIZE])
{
    memcpy(self->hashes + (size_t)self->seen * SHA256_SIZE, hash, SHA256_SIZE);
    *place_of(self, hash) = self->seen + 1;
    self->seen++;
}

/* Shares that wait */

void lane_drop_first(Lane *self)
{
    waiting *gone = self->first;
    Lanes *up = self->up;
    self->first = gone->next;
    if (self->first == NULL) {
        self->last = NULL;
    }
    self->waiting--;
    *(gone->older == NULL ? &up->oldest : &gone->older->newer) = gone->newer;
    *(gone->newer == NULL ? &up->newest : &gone->newer->older) = gone->older;
    Py_DECREF(gone->course);
    PyMem_Free(gone);
}

/* Lane */

static int lane_traverse(Lane *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->owner);
    Py_VISIT(self->upstream);
    Py_VISIT((PyObject *)self->down);
    Py_VISIT((PyObject *)self->up);
    return 0;
}

task *lane_find_job(Lane *self, uint32_t job_id)
{
    if (self->newest.course != NULL && self->newest.job_id == job_id) {
        return &self->newest;
    }
    return self->other.course != NULL && self->other.job_id == job_id ? &self->other : NULL;
}

static void forget_jobs(Lane *self)
{
    Py_CLEAR(self->newest.course);
    Py_CLEAR(self->other.course);
}

void lane_take_out(Lane *self)
{
    while (self->first != NULL) {
        lane_drop_first(self);
    }
    Lanes *down = self->down, *up = self->up;
    self->down = self->up = NULL;
    if (down != NULL) {
        lanes_remove(down, self->down_id, self);
        Py_DECREF(down);
    }
    if (up != NULL) {
        lanes_remove(up, self->up_id, self);
        Py_DECREF(up);
    }
    forget_jobs(self);
    Py_CLEAR(self->upstream);
}

static int lane_clear(Lane *self)
{
    Py_INCREF(self);
    lane_take_out(self);
    Py_CLEAR(self->owner);
    Py_DECREF(self);
    return 0;
}

static void lane_dealloc(Lane *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    lane_take_out(self);
    Py_XDECREF(self->owner);
    forget_seen(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *lane_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"owner", "channel_id", NULL};
    PyObject *owner, *channel_id;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Lane", names, &owner, &channel_id)) {
        return NULL;
    }
    Lane *self = (Lane *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->owner = Py_NewRef(owner);
    if (kernel_u32(channel_id, "channel_id", &self->down_id) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int expect(const char *method, Py_ssize_t wanted, Py_ssize_t given)
{
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, %zd were given", method, wanted, given);
        return -1;
    }
    return 0;
}

static int remember_all(Lane *self, PyObject *hashes)
{
    Py_ssize_t at = 0;
    PyObject *hash, *key;
    forget_seen(self);
    while (PyDict_Next(hashes, &at, &hash, &key)) {
        const uint8_t *bytes = kernel_bytes(hash, "a hash", SHA256_SIZE);
        if (bytes == NULL || lane_make_room(self) < 0) {
            return -1;
        }
        lane_remember(self, bytes);
    }
    return 0;
}

/* lend(down, up, (upstream, up_id, next, limit), (tokens, when, rate, burst), seen) */
static PyObject *lane_lend(Lane *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *upstream, *numbers[3];
    if (expect("lend", 5, count) < 0) {
        return NULL;
    }
    if (self->down != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the lane is lent already");
        return NULL;
    }
    if (!lanes_check(args[0]) || !lanes_check(args[1]) || !PyTuple_Check(args[2]) || !PyTuple_Check(args[3]) ||
        !PyDict_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "lend takes lanes, two tuples and a dictionary");
        return NULL;
    }
    if (!PyArg_ParseTuple(args[2], "OOOO", &upstream, &numbers[0], &numbers[1], &numbers[2]) ||
        kernel_u32(numbers[0], "up_id", &self->up_id) < 0 || kernel_u32(numbers[1], "next", &self->next) < 0 ||
        kernel_u32(numbers[2], "limit", &self->limit) < 0 ||
        !PyArg_ParseTuple(args[3], "dddd", &self->tokens, &self->when, &self->rate, &self->burst) ||
        remember_all(self, args[4]) < 0) {
        return NULL;
    }
    Lanes *down = (Lanes *)args[0], *up = (Lanes *)args[1];
    if (lanes_add(down, self->down_id, self) < 0) {
        return NULL;
    }
    if (lanes_add(up, self->up_id, self) < 0) {
        lanes_remove(down, self->down_id, self);
        return NULL;
    }
    self->down = (Lanes *)Py_NewRef((PyObject *)down);
    self->up = (Lanes *)Py_NewRef((PyObject *)up);
    self->upstream = Py_NewRef(upstream);
    Py_RETURN_NONE;
}

static void put_job(task *place, const task *job)
{
    Course *gone = place->course;
    *place = *job;
    Py_XINCREF((PyObject *)job->course);
    Py_XDECREF(gone);
}

/* Take shares for a job, too. Before a newer one stays what shares were for, which old miners do not leave at once. */
static void take_on(Lane *self, const task *job)
{
    static const task none = {.course = NULL};
    if (job->age) {
        put_job(&self->other, job);
        return;
    }
    if (self->newest.course != NULL && self->newest.job_id != job->job_id) {
        self->newest.age++;
        self->other.age++;
        if (self->newest.is_used || self->other.course == NULL) {
            put_job(&self->other, &self->newest);
        } else if (self->other.age > MOST_AGE) {
            put_job(&self->other, &none);
        }
    }
    put_job(&self->newest, job);
}

/* assign(job_id, origin, course, (front, skip, rolled), age) */
static PyObject *lane_assign(Lane *self, PyObject *const *args, Py_ssize_t count)
{
    uint32_t skip, rolled;
    task job = {.course = NULL};
    PyObject *front, *numbers[2];
    if (expect("assign", 5, count) < 0) {
        return NULL;
    }
    if (!PyTuple_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "assign takes a tuple");
        return NULL;
    }
    if (kernel_u32(args[0], "job_id", &job.job_id) < 0 || kernel_u32(args[1], "origin", &job.origin) < 0 ||
        kernel_u32(args[4], "age", &job.age) < 0 ||
        !PyArg_ParseTuple(args[3], "SOO", &front, &numbers[0], &numbers[1]) ||
        kernel_u32(numbers[0], "skip", &skip) < 0 || kernel_u32(numbers[1], "rolled", &rolled) < 0) {
        return NULL;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(front);
    if (!course_check(args[2]) || size > MAX_EXTRANONCE || skip > size || rolled > MAX_EXTRANONCE ||
        size - skip + rolled > MAX_EXTRANONCE) {
        PyErr_SetString(PyExc_ValueError, "no course, or more bytes than an extranonce has");
        return NULL;
    }
    job.course = (Course *)args[2];
    job.front_size = (uint8_t)size;
    job.skip = (uint8_t)skip;
    job.rolled = (uint8_t)rolled;
    memcpy(job.front, PyBytes_AS_STRING(front), size);
    take_on(self, &job);
    Py_RETURN_NONE;
}

static PyObject *lane_has(Lane *self, PyObject *job_id)
{
    uint32_t number;
    return kernel_u32(job_id, "job_id", &number) < 0 ? NULL : PyBool_FromLong(lane_find_job(self, number) != NULL);
}

static PyObject *lane_turn(Lane *self, PyObject *Py_UNUSED(ignored))
{
    forget_jobs(self);
    forget_seen(self);
    Py_RETURN_NONE;
}

static PyObject *one_waiting(const Lane *self, const waiting *share, uint32_t place)
{
    return Py_BuildValue("(kdky#Oy#)", (unsigned long)(uint32_t)(self->next - self->waiting + place), share->since,
                         (unsigned long)share->sequence, (const char *)share->hash, (Py_ssize_t)SHA256_SIZE,
                         share->course->target, (const char *)share->payload, (Py_ssize_t)share->size);
}

static PyObject *all_waiting(const Lane *self)
{
    PyObject *list = PyList_New(0);
    uint32_t place = 0;
    for (const waiting *share = self->first; list != NULL && share != NULL; share = share->next) {
        PyObject *told = one_waiting(self, share, place++);
        if (told == NULL || PyList_Append(list, told) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(told);
    }
    return list;
}

static PyObject *all_seen(const Lane *self)
{
    PyObject *seen = PyDict_New();
    for (uint32_t i = 0; seen != NULL && i < self->seen; i++) {
        PyObject *hash = PyBytes_FromStringAndSize((const char *)self->hashes + (size_t)i * SHA256_SIZE, SHA256_SIZE);
        if (hash == NULL || PyDict_SetItem(seen, hash, Py_None) < 0) {
            Py_CLEAR(seen);
        }
        Py_XDECREF(hash);
    }
    return seen;
}

static PyObject *lane_give_back(Lane *self, PyObject *Py_UNUSED(ignored))
{
    if (self->down == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the lane is not lent");
        return NULL;
    }
    PyObject *shares = all_waiting(self), *seen = shares == NULL ? NULL : all_seen(self);
    PyObject *told = NULL;
    if (seen != NULL) {
        told = Py_BuildValue("(kOO(dd))", (unsigned long)self->next, shares, seen, self->tokens, self->when);
    }
    Py_XDECREF(shares);
    Py_XDECREF(seen);
    if (told == NULL) {
        return NULL;
    }
    forget_seen(self);
    lane_take_out(self);
    return told;
}

static PyObject *lane_journal(Lane *self, PyObject *Py_UNUSED(ignored))
{
    if (self->found_at == 0.0 && self->journal_size == 0) {
        Py_RETURN_NONE;
    }
    PyObject *credits = PyTuple_New(self->journal_size);
    for (Py_ssize_t i = 0; credits != NULL && i < self->journal_size; i++) {
        PyObject *each = Py_BuildValue("(dd)", self->journal[i].hashes, self->journal[i].at);
        if (each == NULL) {
            Py_CLEAR(credits);
        } else {
            PyTuple_SET_ITEM(credits, i, each);
        }
    }
    if (credits == NULL) {
        return NULL;
    }
    PyObject *told = Py_BuildValue("(Ndy#)", credits, self->found_at, (const char *)self->best, (Py_ssize_t)SHA256_SIZE);
    if (told != NULL) {
        self->journal_size = 0;
        self->found_at = 0.0;
    }
    return told;
}

static PyObject *lane_is_lent(Lane *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->down != NULL);
}

static PyMethodDef lane_methods[] = {
    {"lend", (PyCFunction)(void (*)(void))lane_lend, METH_FASTCALL,
     "lend(down, up, (upstream, up_id, next, limit), (tokens, when, rate, burst), seen)"},
    {"assign", (PyCFunction)(void (*)(void))lane_assign, METH_FASTCALL,
     "assign(job_id, origin, course, (front, skip, rolled), age)"},
    {"has", (PyCFunction)lane_has, METH_O, "has(job_id) -> whether shares for it pass here"},
    {"turn", (PyCFunction)lane_turn, METH_NOARGS, "turn(): the tip has changed"},
    {"give_back", (PyCFunction)lane_give_back, METH_NOARGS,
     "give_back() -> (next, [(number, since, sequence, hash, target, payload), ...], seen, (tokens, when))"},
    {"journal", (PyCFunction)lane_journal, METH_NOARGS, "journal() -> (((hashes, at), ...), found_at, best), or None"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lane_properties[] = {
    {"is_lent", (getter)lane_is_lent, NULL, "whether its shares pass here", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lane_slots[] = {
    {Py_tp_doc, "Lane(owner, channel_id): a channel whose plain shares pass without Python while it is lent."},
    {Py_tp_new, (void *)lane_new},
    {Py_tp_dealloc, (void *)lane_dealloc},
    {Py_tp_traverse, (void *)lane_traverse},
    {Py_tp_clear, (void *)lane_clear},
    {Py_tp_methods, lane_methods},
    {Py_tp_getset, lane_properties},
    {0, NULL},
};

PyType_Spec lane_spec = {
    .name = "hashpool_kernel.Lane",
    .basicsize = sizeof(Lane),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lane_slots,
};
