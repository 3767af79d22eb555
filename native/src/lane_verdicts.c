/* An upstream's successes settle shares, and come down. */

#include "lane.h"

static const uint8_t success_header[FRAME_HEADER] = {0x00, 0x80, 0x1c, SUCCESS_SIZE, 0x00, 0x00};

static int answer(Lane *lane, Lanes *down)
{
    uint8_t *frame = lanes_extend(down, FRAME_HEADER + SUCCESS_SIZE);
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

enum verdict lanes_settle(passing *at, const uint8_t *header, const uint8_t *payload, size_t size)
{
    if (size != SUCCESS_SIZE || memcmp(header, success_header, FRAME_HEADER) != 0) {
        return OTHER;
    }
    Lane *lane = lanes_find(at->self, load32(payload));
    uint32_t last = load32(payload + 4), count = load32(payload + 8);
    if (lane == NULL || count == 0 || count > lane->waiting || last != lane->next - lane->waiting + count - 1 ||
        count > (uint32_t)(JOURNAL - lane->journal_size) || !sides_touch(&at->others, lane->down)) {
        return OTHER;
    }
    bool was_full = lane->journal_size >= JOURNAL_FULL;
    for (uint32_t i = 0; i < count; i++) {
        if (accept_first(lane, lane->down, at->now) < 0) {
            return FAILED;
        }
    }
    if (!was_full && lane->journal_size >= JOURNAL_FULL &&
        append(&lane->down->full, Py_NewRef(lane->owner)) < 0) {
        return FAILED;
    }
    at->count += (Py_ssize_t)count;
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

int lanes_say_rest(passing *at)
{
    int result = 0;
    for (int i = 0; i < at->others.count; i++) {
        if (say_rest(at->others.lanes[i]) < 0) {
            result = -1;
        }
    }
    return result;
}
