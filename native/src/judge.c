/* Bench and judge: plain shares judged as protocols.mining.plain_share says. */

#include "judge.h"
#include "target.h"
#include "transport.h"
#include "words.h"

#include <structmember.h>

enum {
    GENERATION = 1 << 15, /* as protocols.mining.share has it */
    EXTRANONCE_SIZE = 16,
    MAX_PREFIX = 32,
    FIXED_SIZE = 25, /* six numbers and the extranonce's size */
    PAYLOAD_SIZE = FIXED_SIZE + EXTRANONCE_SIZE,
};

static const uint8_t share_header[] = {0x00, 0x80, 0x1b};

/* An attribute by name, and its place in objects whose class has a slot for it, else 0. */
typedef struct {
    PyObject *name;
    Py_ssize_t slot;
} attribute;

typedef struct {
    PyObject_HEAD
    PyObject *member, *pace, *seen, *prover, *target, *work, *key;
    attribute tokens, when, rate, burst, recent, older;
    uint8_t prefix[MAX_PREFIX];
    size_t prefix_size;
    uint8_t target_bytes[SHA256_SIZE], block_target[SHA256_SIZE];
    uint32_t min_ntime, version, fixed;
    uint64_t whole, threshold;
} Bench;

static int bench_traverse(Bench *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->member);
    Py_VISIT(self->pace);
    Py_VISIT(self->seen);
    return 0;
}

static int bench_clear(Bench *self)
{
    Py_CLEAR(self->member);
    Py_CLEAR(self->pace);
    Py_CLEAR(self->seen);
    return 0;
}

static void bench_dealloc(Bench *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    bench_clear(self);
    Py_XDECREF(self->prover);
    Py_XDECREF(self->target);
    Py_XDECREF(self->work);
    Py_XDECREF(self->key);
    Py_XDECREF(self->tokens.name);
    Py_XDECREF(self->when.name);
    Py_XDECREF(self->rate.name);
    Py_XDECREF(self->burst.name);
    Py_XDECREF(self->recent.name);
    Py_XDECREF(self->older.name);
    type->tp_free(self);
    Py_DECREF(type);
}

static int keep_number(PyObject *number, uint64_t *kept)
{
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (value == (unsigned long long)-1 && PyErr_Occurred()) {
        return -1;
    }
    *kept = value;
    return 0;
}

static int keep_name(attribute *kept, const char *name, PyObject *object)
{
    kept->name = PyUnicode_InternFromString(name);
    if (kept->name == NULL) {
        return -1;
    }
    PyObject *found = PyObject_GetAttr((PyObject *)Py_TYPE(object), kept->name);
    if (found == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        /* The class has no such attribute; the object may have it all the same. */
        PyErr_Clear();
        return 0;
    }
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        const PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX && member->flags == 0 && PyType_IsSubtype(Py_TYPE(object), PyDescr_TYPE(found))) {
            kept->slot = member->offset;
        }
    }
    Py_DECREF(found);
    return 0;
}

static int keep_names(Bench *self)
{
    if (keep_name(&self->tokens, "tokens", self->pace) < 0 || keep_name(&self->when, "when", self->pace) < 0 ||
        keep_name(&self->rate, "rate", self->pace) < 0 || keep_name(&self->burst, "burst", self->pace) < 0 ||
        keep_name(&self->recent, "recent", self->seen) < 0 || keep_name(&self->older, "older", self->seen) < 0) {
        return -1;
    }
    return 0;
}

/* Whether it is a Prover of this module, whose inside we know. */
static int is_prover(PyTypeObject *bench, PyObject *prover)
{
    PyObject *module = PyType_GetModule(bench);
    PyObject *type = module == NULL ? NULL : PyObject_GetAttrString(module, "Prover");
    if (type == NULL) {
        return -1;
    }
    int is = Py_IS_TYPE(prover, (PyTypeObject *)type);
    Py_DECREF(type);
    if (!is) {
        PyErr_SetString(PyExc_TypeError, "prover is no Prover of this kernel");
    }
    return is ? 0 : -1;
}

static PyObject *bench_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *member, *pace, *seen, *prover, *prefix, *min_ntime, *version, *fixed, *target, *block_target, *whole, *threshold,
        *work, *key;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Bench takes no keywords");
        return NULL;
    }
    PyObject *fields;
    if (!PyArg_ParseTuple(args, "O!:Bench", &PyTuple_Type, &fields) ||
        !PyArg_ParseTuple(fields, "OOOOO!OOOO!O!OOOO:Bench", &member, &pace, &seen, &prover, &PyBytes_Type, &prefix, &min_ntime,
                          &version, &fixed, &PyLong_Type, &target, &PyLong_Type, &block_target, &whole, &threshold,
                          &work, &key) ||
        is_prover(type, prover) < 0) {
        return NULL;
    }
    if (PyBytes_GET_SIZE(prefix) > MAX_PREFIX) {
        PyErr_SetString(PyExc_ValueError, "an extranonce prefix has up to 32 bytes");
        return NULL;
    }
    Bench *self = (Bench *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->member = Py_NewRef(member);
    self->pace = Py_NewRef(pace);
    self->seen = Py_NewRef(seen);
    self->prover = Py_NewRef(prover);
    self->target = Py_NewRef(target);
    self->work = Py_NewRef(work);
    self->key = Py_NewRef(key);
    self->prefix_size = (size_t)PyBytes_GET_SIZE(prefix);
    memcpy(self->prefix, PyBytes_AS_STRING(prefix), self->prefix_size);
    if (keep_names(self) < 0 || kernel_u32(min_ntime, "min_ntime", &self->min_ntime) < 0 ||
        kernel_u32(version, "version", &self->version) < 0 || kernel_u32(fixed, "fixed", &self->fixed) < 0 ||
        target_read(target, self->target_bytes) < 0 || target_read(block_target, self->block_target) < 0 ||
        keep_number(whole, &self->whole) < 0 || keep_number(threshold, &self->threshold) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* Where an object has the attribute, if that is in a slot and there is something in it. */
static PyObject **slot_in(PyObject *object, const attribute *of)
{
    PyObject **slot = of->slot ? (PyObject **)((char *)object + of->slot) : NULL;
    return slot != NULL && *slot != NULL ? slot : NULL;
}

static PyObject *get(PyObject *object, const attribute *of)
{
    PyObject **slot = slot_in(object, of);
    return slot == NULL ? PyObject_GetAttr(object, of->name) : Py_NewRef(*slot);
}

static int get_double(PyObject *object, const attribute *of, double *value)
{
    PyObject *found = get(object, of);
    if (found == NULL) {
        return -1;
    }
    *value = PyFloat_AsDouble(found);
    Py_DECREF(found);
    return *value == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int set_double(PyObject *object, const attribute *of, double value)
{
    PyObject *made = PyFloat_FromDouble(value);
    if (made == NULL) {
        return -1;
    }
    PyObject **slot = slot_in(object, of);
    if (slot != NULL) {
        PyObject *before = *slot;
        *slot = made;
        Py_DECREF(before);
        return 0;
    }
    int result = PyObject_SetAttr(object, of->name, made);
    Py_DECREF(made);
    return result;
}

/* Whether there is a token, which is taken; -1 with an exception set. */
static int take_token(const Bench *bench, double moment)
{
    double tokens, when;
    if (get_double(bench->pace, &bench->tokens, &tokens) < 0 ||
        get_double(bench->pace, &bench->when, &when) < 0) {
        return -1;
    }
    if (moment > when) {
        double rate, burst;
        if (get_double(bench->pace, &bench->rate, &rate) < 0 ||
            get_double(bench->pace, &bench->burst, &burst) < 0 ||
            set_double(bench->pace, &bench->when, moment) < 0) {
            return -1;
        }
        tokens += (moment - when) * rate;
        if (tokens > burst) {
            tokens = burst;
        }
    }
    int is_there = tokens >= 1;
    return set_double(bench->pace, &bench->tokens, is_there ? tokens - 1 : tokens) < 0 ? -1 : is_there;
}

static uint64_t low_bits(const uint8_t hash[SHA256_SIZE])
{
    return (uint64_t)load32(hash) | (uint64_t)load32(hash + 4) << 32;
}

static int append(PyObject *list, PyObject *item)
{
    int result = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    return result;
}

/* Whether a hash is new, and then where to remember it, a new reference; -1 with an exception set. */
static int find_place(const Bench *bench, PyObject *hash, PyObject **place)
{
    PyObject *recent = get(bench->seen, &bench->recent);
    PyObject *older = recent == NULL ? NULL : get(bench->seen, &bench->older);
    int is_new = -1;
    if (older == NULL) {
    } else if (!PyDict_CheckExact(recent) || !PyDict_CheckExact(older)) {
        PyErr_SetString(PyExc_TypeError, "what was seen is kept in dictionaries");
    } else if (PyDict_GET_SIZE(recent) >= GENERATION) {
        is_new = 0;
    } else {
        int known = PyDict_Contains(recent, hash);
        if (known == 0) {
            known = PyDict_Contains(older, hash);
        }
        is_new = known < 0 ? -1 : !known;
    }
    *place = is_new > 0 ? Py_NewRef(recent) : NULL;
    Py_XDECREF(recent);
    Py_XDECREF(older);
    return is_new;
}

/* What judging works with. */
typedef struct {
    PyObject *known, *judged, *entries, *low;
    double now, moment;
} session;

/* A tuple of these new references, which are its own from now on; NULL with an exception set if one of them is. */
static PyObject *tuple_of(PyObject *const *items, Py_ssize_t size)
{
    PyObject *tuple = PyTuple_New(size);
    int is_whole = tuple != NULL;
    for (Py_ssize_t i = 0; i < size; i++) {
        is_whole = is_whole && items[i] != NULL;
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, i, items[i]);
        } else {
            Py_XDECREF(items[i]);
        }
    }
    if (!is_whole) {
        Py_CLEAR(tuple);
    }
    return tuple;
}

/* Add to both lists, and remember the hash: all of it, or nothing and -1 with an exception set. */
static int keep(const session *at, PyObject *entry, PyObject *good, PyObject *place, PyObject *hash, PyObject *key)
{
    Py_ssize_t entries = PyList_GET_SIZE(at->entries), judged = PyList_GET_SIZE(at->judged);
    if (PyList_Append(at->entries, entry) == 0 && PyList_Append(at->judged, good) == 0 &&
        PyDict_SetItem(place, hash, key) == 0) {
        return 0;
    }
    PyObject *kind, *reason, *trace;
    PyErr_Fetch(&kind, &reason, &trace);
    PyList_SetSlice(at->entries, entries, PyList_GET_SIZE(at->entries), NULL);
    PyList_SetSlice(at->judged, judged, PyList_GET_SIZE(at->judged), NULL);
    PyErr_Restore(kind, reason, trace);
    return -1;
}

/* A good share: an entry for the ledger, and the verdict that goes with it. */
static int keep_good(const Bench *bench, uint32_t sequence, const uint8_t *header, PyObject *hash, PyObject *place,
                     uint64_t amount, const session *at)
{
    PyObject *entry = tuple_of((PyObject *[]){Py_NewRef(hash),
                                              PyBytes_FromStringAndSize((const char *)header, PROVED_SIZE),
                                              Py_NewRef(bench->target), PyLong_FromUnsignedLongLong(amount),
                                              Py_NewRef(bench->key), Py_NewRef(Py_False)},
                               6);
    if (entry == NULL) {
        return -1;
    }
    PyObject *good = tuple_of((PyObject *[]){Py_NewRef(bench->member), PyLong_FromUnsignedLong(sequence),
                                             Py_NewRef(hash), Py_NewRef(bench->work), Py_NewRef(Py_False),
                                             Py_NewRef(entry)},
                              6);
    int result = good == NULL ? -1 : keep(at, entry, good, place, hash, bench->key);
    Py_DECREF(entry);
    Py_XDECREF(good);
    return result;
}

enum verdict { FAILED = -1, OTHER, DONE };

static enum verdict judge_by(const session *at, const Bench *bench, const uint8_t *payload)
{
    uint32_t channel = load32(payload), sequence = load32(payload + 4);
    uint32_t nonce = load32(payload + 12), ntime = load32(payload + 16), version = load32(payload + 20);
    if (ntime < bench->min_ntime || ntime > at->now || ((version ^ bench->version) & bench->fixed)) {
        return OTHER;
    }
    int has_token = take_token(bench, at->moment);
    if (has_token <= 0) {
        return has_token < 0 ? FAILED : OTHER;
    }
    uint8_t extranonce[MAX_PREFIX + EXTRANONCE_SIZE], header[PROVED_SIZE], hash[SHA256_SIZE];
    memcpy(extranonce, bench->prefix, bench->prefix_size);
    memcpy(extranonce + bench->prefix_size, payload + FIXED_SIZE, EXTRANONCE_SIZE);
    prover_header(bench->prover, extranonce, bench->prefix_size + EXTRANONCE_SIZE, version, ntime, nonce, header, hash);
    if (is_up_to(hash, bench->block_target)) {
        return OTHER;
    }
    if (!is_up_to(hash, bench->target_bytes)) {
        return append(at->low, Py_BuildValue("(kk)", (unsigned long)channel, (unsigned long)sequence)) < 0 ? FAILED : DONE;
    }
    uint64_t amount = bench->whole + (low_bits(hash) < bench->threshold);
    if (amount == 0) {
        return OTHER;
    }
    PyObject *hash_object = PyBytes_FromStringAndSize((const char *)hash, SHA256_SIZE);
    PyObject *place = NULL;
    int result = hash_object == NULL ? -1 : find_place(bench, hash_object, &place);
    enum verdict verdict = result < 0 ? FAILED : result ? DONE : OTHER;
    if (verdict == DONE && keep_good(bench, sequence, header, hash_object, place, amount, at) < 0) {
        verdict = FAILED;
    }
    Py_XDECREF(place);
    Py_XDECREF(hash_object);
    return verdict;
}

static enum verdict judge_share(const session *at, const uint8_t *payload)
{
    if (payload[24] != EXTRANONCE_SIZE) {
        return OTHER;
    }
    PyObject *name = PyLong_FromUnsignedLongLong((unsigned long long)load32(payload) << 32 | load32(payload + 8));
    if (name == NULL) {
        return FAILED;
    }
    PyObject *found = PyDict_GetItemWithError(at->known, name);
    Py_DECREF(name);
    if (found == NULL) {
        return PyErr_Occurred() ? FAILED : OTHER;
    }
    if (Py_TYPE(found)->tp_dealloc != (destructor)bench_dealloc) {
        PyErr_SetString(PyExc_TypeError, "what is known is no Bench of this kernel");
        return FAILED;
    }
    /* The pace may be any object, and run code that forgets the bench. */
    Py_INCREF(found);
    enum verdict verdict = judge_by(at, (const Bench *)found, payload);
    Py_DECREF(found);
    return verdict;
}

/* Judge one frame after the other: the place of the first that is left, or -1 with an exception set. */
static Py_ssize_t judge_frames(const session *at, PyObject *frames, Py_ssize_t place)
{
    for (; place < PySequence_Fast_GET_SIZE(frames); place++) {
        PyObject *frame = PySequence_Fast_GET_ITEM(frames, place);
        if (!PyTuple_CheckExact(frame) || PyTuple_GET_SIZE(frame) != 2) {
            break;
        }
        PyObject *header = PyTuple_GET_ITEM(frame, 0), *payload = PyTuple_GET_ITEM(frame, 1);
        if (!PyBytes_CheckExact(header) || !PyBytes_CheckExact(payload) ||
            PyBytes_GET_SIZE(header) != FRAME_HEADER || PyBytes_GET_SIZE(payload) != PAYLOAD_SIZE ||
            memcmp(PyBytes_AS_STRING(header), share_header, sizeof share_header) != 0) {
            break;
        }
        Py_INCREF(payload);
        enum verdict verdict = judge_share(at, (const uint8_t *)PyBytes_AS_STRING(payload));
        Py_DECREF(payload);
        if (verdict != DONE) {
            return verdict == FAILED ? -1 : place;
        }
    }
    return place;
}

/* The arguments that judge and take have the same. */
static int read_session(session *at, PyObject *known, PyObject *when, PyObject *found)
{
    if (!PyDict_CheckExact(known) || !PyTuple_CheckExact(when) || PyTuple_GET_SIZE(when) != 2 ||
        !PyTuple_CheckExact(found) || PyTuple_GET_SIZE(found) != 3) {
        PyErr_SetString(PyExc_TypeError, "known is a dictionary, then come (now, moment) and (judged, entries, low)");
        return -1;
    }
    at->known = known;
    at->judged = PyTuple_GET_ITEM(found, 0);
    at->entries = PyTuple_GET_ITEM(found, 1);
    at->low = PyTuple_GET_ITEM(found, 2);
    if (!PyList_CheckExact(at->judged) || !PyList_CheckExact(at->entries) || !PyList_CheckExact(at->low)) {
        PyErr_SetString(PyExc_TypeError, "judged, entries and low are lists");
        return -1;
    }
    at->now = PyFloat_AsDouble(PyTuple_GET_ITEM(when, 0));
    at->moment = PyFloat_AsDouble(PyTuple_GET_ITEM(when, 1));
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *kernel_judge(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    session at;
    if (count != 5) {
        return PyErr_Format(PyExc_TypeError, "judge takes 5 arguments, %zd were given", count);
    }
    if (read_session(&at, args[0], args[3], args[4]) < 0) {
        return NULL;
    }
    Py_ssize_t place = PyLong_AsSsize_t(args[2]);
    if (place < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "start is a place in the frames");
        }
        return NULL;
    }
    PyObject *frames = PySequence_Fast(args[1], "frames are no sequence");
    if (frames == NULL) {
        return NULL;
    }
    place = judge_frames(&at, frames, place);
    Py_DECREF(frames);
    return place < 0 ? NULL : PyLong_FromSsize_t(place);
}

/* Frames of which the first ones are judged. */
static PyObject *take_many(const session *at, PyObject *cipher, PyObject *data)
{
    PyObject *frames = transport_check(cipher) ? transport_receive((Transport *)cipher, data)
                                               : PyObject_CallMethod(cipher, "receive", "O", data);
    if (frames != NULL && !PyList_CheckExact(frames)) {
        PyErr_SetString(PyExc_TypeError, "a cipher receives a list of frames");
        Py_CLEAR(frames);
    }
    Py_ssize_t place = frames == NULL ? -1 : judge_frames(at, frames, 0);
    if (place < 0 || PyList_SetSlice(frames, 0, place, NULL) < 0) {
        Py_XDECREF(frames);
        return NULL;
    }
    return frames;
}

PyObject *kernel_take(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    session at;
    if (count != 5) {
        return PyErr_Format(PyExc_TypeError, "take takes 5 arguments, %zd were given", count);
    }
    if (read_session(&at, args[2], args[3], args[4]) < 0) {
        return NULL;
    }
    uint8_t header[FRAME_HEADER], payload[PAYLOAD_SIZE];
    if (!transport_check(args[0]) ||
        !transport_open_lone((Transport *)args[0], args[1], header, payload, PAYLOAD_SIZE)) {
        return take_many(&at, args[0], args[1]);
    }
    enum verdict verdict = memcmp(header, share_header, sizeof share_header) == 0 ? judge_share(&at, payload) : OTHER;
    if (verdict != OTHER) {
        return verdict == FAILED ? NULL : PyList_New(0);
    }
    return Py_BuildValue("[(y#y#)]", (const char *)header, (Py_ssize_t)FRAME_HEADER, (const char *)payload,
                         (Py_ssize_t)PAYLOAD_SIZE);
}

static PyType_Slot bench_slots[] = {
    {Py_tp_doc, "Bench((member, pace, seen, prover, prefix, min_ntime, version, fixed, target, block_target, whole, threshold,"
                " work, key)): what plain shares for one job of one channel are judged by."},
    {Py_tp_new, (void *)bench_new},
    {Py_tp_dealloc, (void *)bench_dealloc},
    {Py_tp_traverse, (void *)bench_traverse},
    {Py_tp_clear, (void *)bench_clear},
    {0, NULL},
};

PyType_Spec bench_spec = {
    .name = "hashpool_kernel.Bench",
    .basicsize = sizeof(Bench),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = bench_slots,
};
