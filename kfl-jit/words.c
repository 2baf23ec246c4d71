/* words.c - the tables behind protos.def and fields.def. */
#include "entry.h"
#include "field.h"
#include "plan.h"
#include "proto.h"

const struct kfl_proto_info kfl_proto_info[KFL_PROTO_COUNT] = {
#define KFL_PROTO(id, name, abbr, version, layer4) [KFL_PROTO_##id] = {name, abbr, version, layer4},
#include "protos.def"
#undef KFL_PROTO
};

const struct kfl_field_info kfl_field_info[KFL_FIELD_COUNT] = {
#define KFL_FIELD(id, path, protos, type, stage, help, example) \
    [KFL_FIELD_##id] = {path, protos, type, stage, help, example},
#include "fields.def"
#undef KFL_FIELD
};

const char *const kfl_tunnel_name[KFL_TUNNEL_COUNT] = {
    "",     "vxlan", "geneve", "gre",  "nvgre", "erspan",
    "ipip", "6in4",  "gtpu",   "mpls", "pppoe", "teredo",
};

uint32_t kfl_protos_of_l4(enum kfl_l4 l4)
{
    uint32_t protos = 0;

    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++)
        if (kfl_proto_info[i].layer4 & l4)
            protos |= UINT32_C(1) << i;
    return protos;
}

const struct kfl_demand kfl_demand_all = {.all = true, .protos = UINT32_MAX};
const struct kfl_demand kfl_demand_none;
