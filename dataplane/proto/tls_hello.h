/* tls_hello.h - what a ClientHello says, for TLS over TCP and for QUIC alike. RFC 8446, 6066, 7301.
 */
#ifndef DATAPLANE_PROTO_TLS_HELLO_H
#define DATAPLANE_PROTO_TLS_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kfl-jit/fact.h"

struct tls_hello_fields { /* 0: not written */
    enum kfl_field version, sni, alpn, suites;
};

/* body: behind the handshake header; what is cut off is not there. -> highest version offered */
uint16_t tls_client_hello(struct fact_tape *tape, const struct tls_hello_fields *fields,
                          const uint8_t *body, size_t size);

/* The one that old clients send so that SSL 2.0 servers understand it, too: RFC 5246 appendix E.2.
 * -> its size with its head of two bytes, 0: it is none. `message`: behind that head, whole. */
enum { TLS_HELLO_V2_HEAD = 11 }; /* bytes that tell */
uint32_t tls_is_hello_v2(const uint8_t *data, size_t size);
uint16_t tls_client_hello_v2(struct fact_tape *tape, const struct tls_hello_fields *fields,
                             const uint8_t *message, size_t size);

/* "TLS 1.3", and as protocol.version has it: "1.3". Constant texts, "" unknown. */
const char *tls_version_name(uint16_t version);
const char *tls_version_number(uint16_t version);
/* The suite's registered name, or 0x1a2b in the buffer. */
const char *tls_suite_name(uint16_t suite, char buffer[static 8]);
/* Values that clients make up to keep servers tolerant, RFC 8701. */
bool tls_is_grease(uint16_t value);

#endif
