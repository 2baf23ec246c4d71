#include "counters.h"

const char *const counter_name[COUNTER_COUNT] = {
#define COUNTER(id, help) #id,
#include "counters.def"
#undef COUNTER
};

const char *const counter_help[COUNTER_COUNT] = {
#define COUNTER(id, help) help,
#include "counters.def"
#undef COUNTER
};
