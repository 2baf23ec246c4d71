/* facts.h - the members that every entry has, as values, and whether they are known yet.
 *
 * A value is asked of a stream alone (entry null: what holds for all its entries to come), or of
 * one of its entries. While the orientation of a stream is not known, the caller asks both ways
 * round, with a turned copy of the stream. Members of request and response are not here: they
 * are on the tapes (fact.h).
 *
 * Any thread; nothing is allocated. Constants and texts point into what was given, or into the
 * caller's struct facts_value. */
#ifndef KFL_FACTS_H
#define KFL_FACTS_H

#include "kfl.h"

enum facts_kind {
    FACTS_UNKNOWN, /* there, but not known yet */
    FACTS_MISSING, /* may be missing, not known yet */
    FACTS_ABSENT,  /* missing */
    FACTS_VALUE,
    FACTS_AT_LEAST, /* an int that can only grow */
    FACTS_ARRAY,    /* of strings */
    FACTS_GROWING,  /* an array of strings that can only grow */
};

enum { FACTS_ARRAY_MAX = 32, FACTS_TEXT_MAX = 320 };

struct facts_value {
    enum facts_kind kind;
    struct kfl_value value;
    uint32_t n;                           /* elements */
    const char *element[FACTS_ARRAY_MAX]; /* terminated */
    char text[FACTS_TEXT_MAX];
};

struct facts {
    const struct kfl_stream *stream;
    const struct kfl_entry *entry; /* null: the stream, before any entry */
    enum kfl_proto proto;          /* of the entry */
};

/* field: a row of every entry (no protocols of its own), but not request or response. */
void facts_get(const struct facts *facts, enum kfl_field field, struct facts_value *ret_value);

/* The same for most of the ints among them that an entry tells: true, with the value, if it is one
 * of them and is known. */
static inline bool facts_int(const struct facts *facts, enum kfl_field field, int64_t *ret_value);

/* Does a stream tell it, before any entry is there? */
bool facts_of_stream(enum kfl_field field);
/* Can its value still change when an entry's response comes? */
bool facts_of_response(enum kfl_field field);

/* The empty value of a row's type. Arrays and maps are empty ones. */
struct kfl_value facts_empty(enum kfl_type type);

/* From the end of the request to the beginning of the response; 0 when one is missing. */
static inline uint64_t facts_elapsed_ns(const struct kfl_entry *entry)
{
    const struct kfl_half *request = entry->request, *response = entry->response;

    return request && response && response->first_ns > request->last_ns
               ? response->first_ns - request->last_ns
               : 0;
}

static inline bool facts_int(const struct facts *facts, enum kfl_field field, int64_t *ret_value)
{
    const struct kfl_entry *entry = facts->entry;
    int64_t value;

    if (!entry)
        return false;
    switch (field) {
    case KFL_FIELD_INDEX: /* others may become entries before this one does */
        value = entry->index;
        break;
    case KFL_FIELD_REQUEST_SIZE:
        *ret_value = entry->request ? entry->request->wire_size : 0;
        return true;
    case KFL_FIELD_ELAPSED_TIME: /* 812 us are 1 ms */
        value = (int64_t)((facts_elapsed_ns(entry) + 500000) / 1000000);
        break;
    case KFL_FIELD_ELAPSED_TIME_US:
        value = (int64_t)(facts_elapsed_ns(entry) / 1000);
        break;
    case KFL_FIELD_RESPONSE_SIZE:
        value = entry->response ? entry->response->wire_size : 0;
        break;
    case KFL_FIELD_SIZE:
        value = (int64_t)(entry->request ? entry->request->wire_size : 0) +
                (entry->response ? entry->response->wire_size : 0);
        break;
    default:
        return false;
    }
    if (entry->response_open) /* these wait for the response */
        return false;
    *ret_value = value;
    return true;
}

#endif
