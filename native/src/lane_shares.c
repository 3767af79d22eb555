/* Plain shares of a downstream connection go up. */

#include "lane.h"

static const uint8_t share_type[] = {0x00, 0x80, 0x1b};

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

/* Room for all that a share for this job takes; NULL with an exception set. */
static waiting *make_room(Lane *lane, const task *job)
{
    waiting *share = PyMem_Malloc(sizeof *share);
    if (share == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    share->size = (uint32_t)(FIXED_SIZE + job->front_size - job->skip + job->rolled);
    if (lane_make_room(lane) < 0 || lanes_make_room(lane->up, FRAME_HEADER + share->size) < 0) {
        PyMem_Free(share);
        return NULL;
    }
    return share;
}

/* The share waits for its verdict, and its frame in the outbox of the other side. */
static void send_up(Lane *lane, waiting *share, const task *job, const uint8_t *payload, const uint8_t *extranonce,
                    const uint8_t *hash, double now)
{
    Lanes *up = lane->up;
    uint32_t behind = share->size - FIXED_SIZE;
    uint8_t *frame = lanes_extend(up, FRAME_HEADER + share->size);
    store32(share->payload, lane->up_id);
    store32(share->payload + 4, lane->next);
    store32(share->payload + 8, job->origin);
    memcpy(share->payload + 12, payload + 12, 12);
    share->payload[24] = (uint8_t)behind;
    memcpy(share->payload + FIXED_SIZE, extranonce + job->skip, behind);
    memcpy(frame, share_type, sizeof share_type);
    frame[3] = (uint8_t)share->size;
    frame[4] = frame[5] = 0;
    memcpy(frame + FRAME_HEADER, share->payload, share->size);
    share->next = NULL;
    share->lane = lane;
    share->course = (Course *)Py_NewRef((PyObject *)job->course);
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

enum verdict lanes_pass(passing *at, const uint8_t *header, const uint8_t *payload, size_t size)
{
    if (size < FIXED_SIZE || memcmp(header, share_type, sizeof share_type) != 0) {
        return OTHER;
    }
    Lane *lane = lanes_find(at->self, load32(payload));
    task *job = lane == NULL ? NULL : lane_find_job(lane, load32(payload + 8));
    if (job == NULL || payload[24] != job->rolled || size != (size_t)FIXED_SIZE + job->rolled) {
        return OTHER;
    }
    const Course *course = job->course;
    uint32_t nonce = load32(payload + 12), ntime = load32(payload + 16), version = load32(payload + 20);
    if (ntime < course->min_ntime || ntime > at->clock || ((version ^ course->version) & course->fixed)) {
        return OTHER;
    }
    uint8_t extranonce[2 * MAX_EXTRANONCE], proved[PROVED_SIZE], hash[SHA256_SIZE];
    memcpy(extranonce, job->front, job->front_size);
    memcpy(extranonce + job->front_size, payload + FIXED_SIZE, job->rolled);
    prover_header(course->prover, extranonce, (size_t)job->front_size + job->rolled, version, ntime, nonce, proved,
                  hash);
    if (!is_up_to(hash, course->target_bytes) || lane->waiting >= lane->limit || lane->seen >= GENERATION ||
        lane_has_seen(lane, hash) || !sides_touch(&at->others, lane->up)) {
        return OTHER;
    }
    waiting *share = make_room(lane, job);
    if (share == NULL) {
        PyErr_WriteUnraisable((PyObject *)at->self);
        return OTHER;
    }
    if (!has_token(lane, at->now)) {
        PyMem_Free(share);
        return OTHER;
    }
    lane_remember(lane, hash);
    send_up(lane, share, job, payload, extranonce, hash, at->now);
    job->is_used = true;
    keep_best(lane->best, hash, lane->found_at == 0.0);
    lane->found_at = at->now;
    at->is_better |= keep_best(at->self->best, hash, false);
    at->count++;
    return DONE;
}
