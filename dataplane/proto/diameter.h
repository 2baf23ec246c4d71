/* diameter.h - what the SCTP dissector knows of Diameter: is this message one, and who reads it. */
#ifndef DATAPLANE_PROTO_DIAMETER_H
#define DATAPLANE_PROTO_DIAMETER_H

#include "../l7.h"

bool diameter_is(const uint8_t *data, size_t size);
extern const struct dissector dissector_diameter;

#endif
