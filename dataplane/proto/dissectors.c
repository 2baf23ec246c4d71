/* dissectors.c - the table behind dissectors.def. */
#include "../l7.h"

#define DISSECTOR(name) extern const struct dissector dissector_##name;
#include "dissectors.def"
#undef DISSECTOR

const struct dissector *const l7_dissectors[] = {
#define DISSECTOR(name) &dissector_##name,
#include "dissectors.def"
#undef DISSECTOR
    NULL,
};

const unsigned l7_n_dissectors = sizeof(l7_dissectors) / sizeof(l7_dissectors[0]) - 1;
