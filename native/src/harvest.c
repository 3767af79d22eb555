/* What looks have found and read: kept until somebody was told, however often that fails for want of memory. */

#include "hub.h"

#include "target.h"

#include <string.h>

enum { RUN_KEPT = 1 << 16 };

int harvest_room(Hub *self, size_t size)
{
    if (self->run_size + size > self->run_room) {
        size_t room = self->run_room ? 2 * self->run_room : 1024;
        uint8_t *grown = PyMem_Realloc(self->run, room);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->run = grown;
        self->run_room = room;
    }
    return 0;
}

void harvest_add(Hub *self, const waiting *share, const uint8_t hash[SHA256_SIZE], double now)
{
    memcpy(self->run + self->run_size, share->frame, share->size);
    self->run_size += share->size;
    self->run_frames++;
    self->found++;
    self->found_at = now;
    if (self->found == 1 || !is_up_to(self->best, hash)) {
        memcpy(self->best, hash, SHA256_SIZE);
    }
}

int harvest_leave(Hub *self, PyObject *owner, const char *data, Py_ssize_t size)
{
    PyObject *item = Py_BuildValue("(Oy#)", owner, data, size);
    int result = item == NULL ? -1 : PyList_Append(self->left, item);
    Py_XDECREF(item);
    if (result < 0) {
        self->speaker = Py_NewRef(owner);
        self->unread = data;
        self->unread_size = size;
    }
    return result;
}

int harvest_begin(Hub *self)
{
    if (self->left == NULL && (self->left = PyList_New(0)) == NULL) {
        return -1;
    }
    PyObject *owner = self->speaker;
    if (owner == NULL) {
        return 0;
    }
    self->speaker = NULL;
    int result = harvest_leave(self, owner, self->unread, self->unread_size);
    Py_DECREF(owner);
    return result;
}

PyObject *hub_frame(const Hub *self, const uint8_t *frame)
{
    const uint8_t *payload = frame + FRAME_HEADER;
    return Py_BuildValue("(Oy#)", PyTuple_GET_ITEM(self->headers, (Py_ssize_t)payload[SHARE_FIXED - 1]),
                         (const char *)payload, (Py_ssize_t)(SHARE_FIXED + payload[SHARE_FIXED - 1]));
}

static void empty_run(Hub *self)
{
    self->run_size = self->run_frames = 0;
    if (self->run_room > RUN_KEPT) {
        PyMem_Free(self->run);
        self->run = NULL;
        self->run_room = 0;
    }
}

bool harvest_send(Hub *self, Outlet *outlet)
{
    if (self->run_frames && outlet != NULL && outlet_is_free(outlet) &&
        outlet_send(outlet, self->run, self->run_size, self->run_frames)) {
        empty_run(self);
    }
    return self->run_frames == 0 && (self->left == NULL || PyList_GET_SIZE(self->left) == 0);
}

/* Frames that have not left. */
static PyObject *list_run(const Hub *self)
{
    PyObject *frames = PyList_New((Py_ssize_t)self->run_frames);
    const uint8_t *frame = self->run;
    for (size_t i = 0; frames != NULL && i < self->run_frames; i++) {
        PyObject *each = hub_frame(self, frame);
        if (each == NULL) {
            Py_CLEAR(frames);
        } else {
            PyList_SET_ITEM(frames, (Py_ssize_t)i, each);
            frame += FRAME_HEADER + SHARE_FIXED + frame[FRAME_HEADER + SHARE_FIXED - 1];
        }
    }
    return frames;
}

PyObject *harvest_found(Hub *self)
{
    PyObject *told = Py_BuildValue("(kdy#)", self->found, self->found_at, (const char *)self->best,
                                   (Py_ssize_t)SHA256_SIZE);
    if (told != NULL) {
        self->found = 0;
        memset(self->best, 0, sizeof self->best);
    }
    return told;
}

PyObject *harvest_tell(Hub *self)
{
    PyObject *frames = list_run(self);
    PyObject *told = frames == NULL ? NULL : Py_BuildValue("(OO)", frames, self->left);
    Py_XDECREF(frames);
    if (told != NULL) {
        empty_run(self);
        Py_CLEAR(self->left);
    }
    return told;
}
