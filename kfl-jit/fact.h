/* fact.h - the facts of one half of an entry, as a dissector writes them.
 *
 * A tape is a run of nodes in one buffer, position independent, so a half that has to wait for its
 * answer is kept by one memcpy, and one that is not asked about costs nothing:
 *
 *     [field METHOD, string "GET"] [field STATUS, int 500] [field HEADERS, map [key "Host", ...] ]
 *
 * A dissector asks fact_wanted() where extracting costs something, and simply calls fact_*()
 * where it does not: what the demand does not name is not written. Members that are not written
 * have the empty value of their row in fields.def when they are asked for ("" 0 false [] {} null),
 * so nobody writes empties. Depth and size are bounded: what does not fit is left out whole and
 * `cut` is set.
 *
 * Texts may hold any byte; a byte that is not part of valid UTF-8 is written as U+FFFD.
 *
 * A tape belongs to one thread. */
#ifndef KFL_FACT_H
#define KFL_FACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "field.h"

enum fact_type {
    FACT_NULL,
    FACT_BOOL,
    FACT_INT,
    FACT_FLOAT,
    FACT_STRING,
    FACT_ARRAY,  /* children without keys */
    FACT_OBJECT, /* children are fields of fields.def */
    FACT_MAP,    /* children have keys of their own */
};

/* One node. Behind it: the key, padded to 8; then the value: 8 bytes of int or float, the bytes
 * of a string, or the children; padded to 8. */
struct fact {
    uint32_t size;       /* of the whole node with all its children, in bytes, a multiple of 8 */
    uint16_t field;      /* enum kfl_field, or KFL_FIELD_NONE for elements and members of maps */
    uint8_t type;        /* enum fact_type */
    uint8_t bool_value;  /* of FACT_BOOL */
    uint32_t key_size;   /* bytes of the key, 0 without */
    uint32_t value_size; /* bytes of a string; of children together */
};
_Static_assert(sizeof(struct fact) == 16, "nodes are 8 byte aligned runs");

enum { FACT_DEPTH_MAX = 32 };

/* Which fields someone reads; for maps, which keys. Filled by the plan, read by dissectors.
 * It is closed: what contains a wanted field is at least 1, what is inside a wanted whole is 2, so
 * a row's own number says whether to write it. */
struct kfl_demand {
    bool all;
    uint8_t field[KFL_FIELD_COUNT]; /* 0 nobody; 1 some members or keys of it; 2 all of it */
    uint32_t protos;                /* protocols in whose entries something is read or whose
                                       entries have to be told apart */
    uint64_t key_sizes[KFL_FIELD_COUNT]; /* bit n: some key that is wanted of this map has n bytes;
                                            bit 63: n and more */
    uint32_t n_keys;                     /* of maps wanted by key */
    struct kfl_demand_key {
        uint16_t field;
        uint16_t size;
        const char *key;
    } * keys;
};
extern const struct kfl_demand kfl_demand_all, kfl_demand_none;

struct fact_tape {
    uint8_t *base;     /* caller's buffer, 8 byte aligned */
    uint32_t size;     /* bytes written */
    uint32_t capacity; /* bytes of the buffer */
    const struct kfl_demand *demand;
    uint32_t open[FACT_DEPTH_MAX]; /* offsets of nodes that are not ended */
    uint32_t depth;
    uint32_t skip;     /* begun inside something unwanted or too deep: ends to wait for */
    const char *key;   /* of the next node, set by fact_key() */
    uint32_t key_size;
    bool cut;          /* something did not fit */
};

void fact_tape_init(struct fact_tape *tape, void *buffer, uint32_t capacity,
                    const struct kfl_demand *demand);
void fact_tape_reset(struct fact_tape *tape);

/* Does anyone read this field (or something below it)? */
static inline bool fact_wanted(const struct fact_tape *tape, enum kfl_field field)
{
    return tape->demand->all || tape->demand->field[field] != 0;
}
/* Are members of this map wanted by their keys, not all of them, or none? */
static inline bool fact_by_key(const struct kfl_demand *demand, enum kfl_field field)
{
    return !demand->all && demand->field[field] == 1;
}
/* Can this member be wanted, by the size of its key? Before work is put into the key. */
static inline bool fact_wanted_key_size(const struct fact_tape *tape, enum kfl_field field,
                                        size_t key_size)
{
    if (!fact_by_key(tape->demand, field))
        return fact_wanted(tape, field);
    return tape->demand->key_sizes[field] >> (key_size < 63 ? key_size : 63) & 1;
}
/* Does anyone read this member of this map? `key` as FIELDS.md spells it (canonical header name). */
bool fact_wanted_key(const struct fact_tape *tape, enum kfl_field field, const char *key,
                     size_t key_size);

/* Values of fields. Inside an object of an array, `field` is that member's row
 * (KFL_FIELD_DNS_QUESTION_NAME ...). */
void fact_null(struct fact_tape *tape, enum kfl_field field);
void fact_bool(struct fact_tape *tape, enum kfl_field field, bool value);
void fact_int(struct fact_tape *tape, enum kfl_field field, int64_t value);
void fact_float(struct fact_tape *tape, enum kfl_field field, double value);
void fact_string(struct fact_tape *tape, enum kfl_field field, const void *text, size_t size);
void fact_text(struct fact_tape *tape, enum kfl_field field, const char *text); /* C string */
void fact_base64(struct fact_tape *tape, enum kfl_field field, const void *bytes, size_t size);
void fact_hex(struct fact_tape *tape, enum kfl_field field, const void *bytes, size_t size);

/* Containers: begin, children, fact_end(). Elements of an array and members of a map are written
 * with KFL_FIELD_NONE; members of a map have fact_key() called before each. */
void fact_array(struct fact_tape *tape, enum kfl_field field);
void fact_object(struct fact_tape *tape, enum kfl_field field);
void fact_map(struct fact_tape *tape, enum kfl_field field);
void fact_end(struct fact_tape *tape);
void fact_key(struct fact_tape *tape, const char *key, size_t size);

/* Members of the open map that may come again: joined with `,` (headers, cookies), or collected
 * into an array (query parameters, attributes); only those that are wanted, which the caller has
 * asked. Up to 512 of one map; the rest is left out (cut).
 * Where fact_key() gives one key twice, the last one counts. */
void fact_member_joined(struct fact_tape *tape, const char *key, size_t key_size, const void *text,
                        size_t size);
void fact_member_collected(struct fact_tape *tape, const char *key, size_t key_size,
                           const void *text, size_t size);

/* Reading: first and next node of a run, and the parts of one. */
#define FACT_EACH(node, base, bytes)                                                               \
    for (const struct fact *node = (const void *)(base),                                           \
                           *node##_end = (const void *)((const uint8_t *)(base) + (bytes));        \
         node < node##_end; node = (const void *)((const uint8_t *)node + node->size))

static inline const char *fact_key_of(const struct fact *node)
{
    return (const char *)(node + 1);
}

static inline const void *fact_value_of(const struct fact *node)
{
    return (const uint8_t *)(node + 1) + ((node->key_size + 7u) & ~7u);
}

static inline int64_t fact_int_of(const struct fact *node)
{
    return *(const int64_t *)fact_value_of(node);
}

static inline double fact_float_of(const struct fact *node)
{
    return *(const double *)fact_value_of(node);
}

#endif
