#include "avp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* A group being written. Pairs of all open groups share one array; `done` marks those written. */
struct frame {
    unsigned first, end, at;
    uint64_t collected; /* id of the array that is open */
    bool collecting;
};

struct writer {
    struct fact_tape *tape;
    avp_split *split;
    struct avp avps[AVP_MAX];
    bool done[AVP_MAX];
    struct frame frames[AVP_DEPTH_MAX];
    unsigned depth;
};

static void enter(struct writer *w, const uint8_t *data, uint32_t size);
static const struct avp *next(struct writer *w, struct frame *frame);
static void scalar(struct fact_tape *tape, const struct avp *avp);

void avp_write(struct fact_tape *tape, enum kfl_field field, avp_split *split, const uint8_t *data,
               uint32_t size)
{
    struct writer w;

    if (!fact_wanted(tape, field))
        return;
    w.tape = tape;
    w.split = split;
    w.depth = 0;
    fact_map(tape, field);
    enter(&w, data, size);
    while (w.depth) {
        const struct avp *avp = next(&w, &w.frames[w.depth - 1]);

        if (!avp) {
            w.depth--;
            fact_end(tape);
        } else if (avp->type != AVP_GROUP) {
            scalar(tape, avp);
        } else if (w.depth < AVP_DEPTH_MAX) {
            fact_map(tape, KFL_FIELD_NONE);
            enter(&w, avp->data, avp->size);
        } else {
            fact_hex(tape, KFL_FIELD_NONE, avp->data, avp->size);
        }
    }
}

static void enter(struct writer *w, const uint8_t *data, uint32_t size)
{
    unsigned first = w->depth ? w->frames[w->depth - 1].end : 0;
    unsigned n = w->split(data, size, w->avps + first, AVP_MAX - first);

    memset(w->done + first, 0, n * sizeof(*w->done));
    w->frames[w->depth++] = (struct frame){.first = first, .end = first + n, .at = first};
}

/* The next pair to write, with its key or inside its array; null at the end of the group. */
static const struct avp *next(struct writer *w, struct frame *frame)
{
    if (frame->collecting) {
        for (unsigned i = frame->at; i < frame->end; i++)
            if (!w->done[i] && w->avps[i].id == frame->collected) {
                w->done[i] = true;
                return &w->avps[i];
            }
        frame->collecting = false;
        fact_end(w->tape);
    }
    for (; frame->at < frame->end; frame->at++) {
        const struct avp *avp = &w->avps[frame->at];
        const char *name = avp->name ? avp->name : avp->text;

        if (w->done[frame->at])
            continue;
        w->done[frame->at] = true;
        fact_key(w->tape, name, strlen(name));
        for (unsigned i = frame->at + 1; i < frame->end && !frame->collecting; i++)
            frame->collecting = w->avps[i].id == avp->id;
        if (frame->collecting) {
            frame->collected = avp->id;
            fact_array(w->tape, KFL_FIELD_NONE);
        }
        return avp;
    }
    return NULL;
}

static void scalar(struct fact_tape *tape, const struct avp *avp)
{
    uint64_t value = 0;
    char text[INET6_ADDRSTRLEN + 8];

    switch (avp->type) {
    case AVP_INT:
    case AVP_UINT:
        if (!avp->size || avp->size > 8)
            break;
        if (avp->type == AVP_INT && avp->data[0] & 0x80)
            value = UINT64_MAX;
        for (unsigned i = 0; i < avp->size; i++)
            value = value << 8 | avp->data[i];
        fact_int(tape, KFL_FIELD_NONE, (int64_t)value);
        return;
    case AVP_ADDRESS:
        if (avp->size != 4 && avp->size != 16)
            break;
        inet_ntop(avp->size == 4 ? AF_INET : AF_INET6, avp->data, text, sizeof(text));
        fact_text(tape, KFL_FIELD_NONE, text);
        return;
    case AVP_PREFIX: {
        uint8_t address[16] = {0};

        if (avp->size < 2 || avp->size > 18 || avp->data[1] > 128)
            break;
        memcpy(address, avp->data + 2, avp->size - 2);
        inet_ntop(AF_INET6, address, text, sizeof(text));
        snprintf(text + strlen(text), 5, "/%u", avp->data[1]);
        fact_text(tape, KFL_FIELD_NONE, text);
        return;
    }
    case AVP_TEXT:
        fact_string(tape, KFL_FIELD_NONE, avp->data, avp->size);
        return;
    case AVP_OCTETS:
    case AVP_GROUP:
        break;
    }
    fact_hex(tape, KFL_FIELD_NONE, avp->data, avp->size);
}
