/* crypto.h - the door to libcrypto: certificates as facts, and the keys of QUIC's Initial packets.
 * Any thread. The library allocates: only what a statement demands is asked of it. */
#ifndef DATAPLANE_PROTO_CRYPTO_H
#define DATAPLANE_PROTO_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kfl-jit/fact.h"

/* The members of response.certificate from an X.509 certificate (DER). Nothing when it is none. */
void crypto_certificate(struct fact_tape *tape, const uint8_t *der, size_t size);

enum { CRYPTO_KEY_SIZE = 16, CRYPTO_IV_SIZE = 12, CRYPTO_TAG_SIZE = 16 };

struct crypto_quic_keys {
    uint8_t key[CRYPTO_KEY_SIZE], iv[CRYPTO_IV_SIZE], hp[CRYPTO_KEY_SIZE];
};

/* RFC 9001, 5.2: the client's Initial keys from its first destination connection id. False: of a
 * version that derives them in no known way. */
bool crypto_quic_initial_keys(uint32_t version, const uint8_t *dcid, size_t dcid_size,
                              struct crypto_quic_keys *ret_keys);
/* RFC 9001, 5.4.3: the mask of header protection for a 16 byte sample. */
bool crypto_quic_mask(const uint8_t hp[static CRYPTO_KEY_SIZE], const uint8_t sample[static 16],
                      uint8_t ret_mask[static 16]);
/* AES-128-GCM: size counts the tag at the end. -> false when it is not authentic. */
bool crypto_quic_open(const struct crypto_quic_keys *keys, uint64_t packet_number,
                      const uint8_t *header, size_t header_size, const uint8_t *sealed, size_t size,
                      uint8_t *ret_plain);

#endif
