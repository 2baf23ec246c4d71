/* prepared.h - texts of prepared statements, by name or number: what an EXECUTE executes.
 *
 * A bounded cache per stream; the entry used longest ago makes room. Texts are kept in l7's pools
 * and cut like all texts. Part of a dissector's state, zeroed to begin with. */
#ifndef DATAPLANE_PROTO_PREPARED_H
#define DATAPLANE_PROTO_PREPARED_H

#include "../l7.h"

enum { PREPARED_MAX = 16 };

struct prepared {
    struct {
        uint64_t name; /* hash or number */
        uint32_t used; /* turn it was used last; 0: free */
        struct l7_text text;
    } statements[PREPARED_MAX];
    uint32_t turn;
};

uint64_t prepared_hash(const void *name, size_t size);
/* Takes the text over (and zeroes the caller's). */
void prepared_put(struct l7 *l7, struct prepared *prepared, uint64_t name, struct l7_text *text);
const struct l7_text *prepared_get(struct prepared *prepared, uint64_t name); /* null: unknown */
void prepared_remove(struct l7 *l7, struct prepared *prepared, uint64_t name);
void prepared_done(struct l7 *l7, struct prepared *prepared);

#endif
