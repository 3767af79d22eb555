/* The lanes of a connection by their channel ids: open addressing, at most half full. */

#include "lane.h"

Lane *lanes_find(const Lanes *self, uint32_t id)
{
    if (self->slots == NULL) {
        return NULL;
    }
    for (uint32_t at = id & self->mask; self->slots[at].lane != NULL; at = (at + 1) & self->mask) {
        if (self->slots[at].id == id) {
            return self->slots[at].lane;
        }
    }
    return NULL;
}

static void put(Lanes *self, uint32_t id, Lane *lane)
{
    uint32_t at = id & self->mask;
    while (self->slots[at].lane != NULL) {
        at = (at + 1) & self->mask;
    }
    self->slots[at] = (lane_slot){id, lane};
}

static int grow(Lanes *self)
{
    lane_slot *before = self->slots;
    size_t size = before == NULL ? 0 : (size_t)self->mask + 1;
    size_t wanted = size ? 2 * size : 4;
    lane_slot *slots = PyMem_Calloc(wanted, sizeof *slots);
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->slots = slots;
    self->mask = (uint32_t)(wanted - 1);
    for (size_t i = 0; i < size; i++) {
        if (before[i].lane != NULL) {
            put(self, before[i].id, before[i].lane);
        }
    }
    PyMem_Free(before);
    return 0;
}

int lanes_add(Lanes *self, uint32_t id, Lane *lane)
{
    if (lanes_find(self, id) != NULL) {
        PyErr_Format(PyExc_ValueError, "channel %lu has a lane", (unsigned long)id);
        return -1;
    }
    if ((self->slots == NULL || 2 * (self->count + 1) > self->mask) && grow(self) < 0) {
        return -1;
    }
    put(self, id, (Lane *)Py_NewRef((PyObject *)lane));
    self->count++;
    return 0;
}

void lanes_remove(Lanes *self, uint32_t id, const Lane *lane)
{
    if (self->slots == NULL) {
        return;
    }
    uint32_t gap = id & self->mask;
    while (self->slots[gap].lane != NULL && self->slots[gap].id != id) {
        gap = (gap + 1) & self->mask;
    }
    Lane *found = self->slots[gap].lane;
    if (found == NULL || found != lane) {
        return;
    }
    /* What lies behind moves up, where that is on its way. */
    for (uint32_t at = (gap + 1) & self->mask; self->slots[at].lane != NULL; at = (at + 1) & self->mask) {
        uint32_t home = self->slots[at].id & self->mask;
        if (((at - home) & self->mask) >= ((at - gap) & self->mask)) {
            self->slots[gap] = self->slots[at];
            gap = at;
        }
    }
    self->slots[gap] = (lane_slot){0, NULL};
    self->count--;
    Py_DECREF(found);
}
