/* field.h - the words a statement can ask about. The rows are in fields.def.
 *
 * A path that several protocols have (`request.method`, `response.status`) has a row for each,
 * with a number of its own, because type, stage and meaning may differ. Any thread; constants. */
#ifndef KFL_FIELD_H
#define KFL_FIELD_H

#include <stdint.h>

#include "proto.h"

enum kfl_stage {
    KFL_STAGE_PACKET,     /* P */
    KFL_STAGE_CONNECTION, /* C */
    KFL_STAGE_REQUEST,    /* Q */
    KFL_STAGE_RESPONSE,   /* R */
    KFL_STAGE_END,        /* E */
};

enum kfl_type {
    KFL_TYPE_NULL, /* null, or an object whose members are rows of their own */
    KFL_TYPE_BOOL,
    KFL_TYPE_INT,
    KFL_TYPE_FLOAT,
    KFL_TYPE_STRING,
    KFL_TYPE_STRINGS, /* string[] */
    KFL_TYPE_INTS,    /* int[] */
    KFL_TYPE_ARRAY,   /* of objects whose members are rows: `path[].member` */
    KFL_TYPE_OBJECT,  /* always there; its members are rows */
    KFL_TYPE_MAP,     /* free keys */
};

/* The enum comes from fields.def: KFL_FIELD_<id>. */
enum kfl_field {
    KFL_FIELD_NONE,
#define KFL_FIELD(id, path, protos, type, stage, help, example) KFL_FIELD_##id,
#include "fields.def"
#undef KFL_FIELD
    KFL_FIELD_COUNT
};

struct kfl_field_info {
    const char *path;    /* `request.questions[].name` */
    uint32_t protos;     /* set of protocols whose entries have it; 0: every entry */
    enum kfl_type type;
    enum kfl_stage stage;
    const char *help;    /* meaning, unit */
    const char *example; /* JSON */
};

extern const struct kfl_field_info kfl_field_info[KFL_FIELD_COUNT];

#endif
