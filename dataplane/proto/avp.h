/* avp.h - lists of attribute-value pairs, as RADIUS and Diameter have them, written as a map.
 *
 * Numbers become ints, groups become maps, everything else text (octets in hex); what comes again
 * in the same group becomes an array. Nesting and counts are bounded; what is beyond is left out.
 * The dissector supplies the function that splits a group into pairs. */
#ifndef DATAPLANE_PROTO_AVP_H
#define DATAPLANE_PROTO_AVP_H

#include <stdint.h>

#include "../../kfl-jit/fact.h"

enum { AVP_MAX = 256, AVP_DEPTH_MAX = 8, AVP_NAME_SIZE = 40 };

enum avp_type {
    AVP_OCTETS, /* hex */
    AVP_TEXT,
    AVP_INT,     /* signed, of its own size: 1, 2, 4 or 8 bytes */
    AVP_UINT,    /* unsigned, likewise */
    AVP_ADDRESS, /* IPv4 or IPv6 by size */
    AVP_PREFIX,  /* RFC 3162: reserved, length, bytes of an IPv6 prefix */
    AVP_GROUP,
};

struct avp {
    uint64_t id;              /* equal for pairs of one kind */
    const char *name;         /* or null: `text` */
    char text[AVP_NAME_SIZE]; /* of a kind without a name */
    enum avp_type type;
    const uint8_t *data;
    uint32_t size;
};

/* Splits a group. -> number of pairs, at most `max`. */
typedef unsigned avp_split(const uint8_t *data, uint32_t size, struct avp *ret_avps, unsigned max);

void avp_write(struct fact_tape *tape, enum kfl_field field, avp_split *split, const uint8_t *data,
               uint32_t size);

#endif
