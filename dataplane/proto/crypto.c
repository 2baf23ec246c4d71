#include "crypto.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

enum { HASH_SIZE = 32, QUIC_V2 = 0x6b3343cf };

/* ---- certificates ---- */
static void name_fact(struct fact_tape *tape, enum kfl_field field, const X509_NAME *name, BIO *bio)
{
    char *text;
    long size;

    (void)BIO_reset(bio);
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    size = BIO_get_mem_data(bio, &text);
    if (size > 0)
        fact_string(tape, field, text, (size_t)size);
}

static void time_fact(struct fact_tape *tape, enum kfl_field field, const ASN1_TIME *when)
{
    struct tm tm;

    if (when && ASN1_TIME_to_tm(when, &tm) == 1)
        fact_int(tape, field, (int64_t)timegm(&tm) * 1000);
}

static void san_facts(struct fact_tape *tape, X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char text[INET6_ADDRSTRLEN];

    fact_array(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE_SANS);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_STRING *value;

        switch (name->type) {
        case GEN_DNS:
        case GEN_EMAIL:
        case GEN_URI:
            value = name->d.ia5;
            fact_string(tape, KFL_FIELD_NONE, ASN1_STRING_get0_data(value),
                        (size_t)ASN1_STRING_length(value));
            break;
        case GEN_IPADD:
            value = name->d.iPAddress;
            if (ASN1_STRING_length(value) != 4 && ASN1_STRING_length(value) != 16)
                break;
            inet_ntop(ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6,
                      ASN1_STRING_get0_data(value), text, sizeof(text));
            fact_text(tape, KFL_FIELD_NONE, text);
            break;
        default:
            break;
        }
    }
    fact_end(tape);
    GENERAL_NAMES_free(names);
}

void crypto_certificate(struct fact_tape *tape, const uint8_t *der, size_t size)
{
    X509 *certificate = d2i_X509(NULL, &der, (long)size);
    BIO *bio = BIO_new(BIO_s_mem());
    const ASN1_INTEGER *serial;

    if (certificate && bio) {
        fact_object(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE);
        name_fact(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE_SUBJECT,
                  X509_get_subject_name(certificate), bio);
        name_fact(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE_ISSUER,
                  X509_get_issuer_name(certificate), bio);
        san_facts(tape, certificate);
        time_fact(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE_NOT_BEFORE,
                  X509_get0_notBefore(certificate));
        time_fact(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE_NOT_AFTER,
                  X509_get0_notAfter(certificate));
        serial = X509_get0_serialNumber(certificate);
        fact_hex(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE_SERIAL, ASN1_STRING_get0_data(serial),
                 (size_t)ASN1_STRING_length(serial));
        fact_end(tape);
    }
    BIO_free(bio);
    X509_free(certificate);
}

/* ---- QUIC ---- */
/* From which version to which; of drafts (0xff0000NN) and Google's T050, T051 before version 1. */
static const struct {
    uint32_t first, last;
    uint8_t salt[20];
} salts[] = {
    {0x00000001, 0x00000001, {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                              0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}},
    {QUIC_V2, QUIC_V2, {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
                        0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9}},
    {0xff000015, 0xff000016, {0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a,
                              0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd, 0x7a, 0x02, 0x64, 0x4a}},
    {0xff000017, 0xff00001c, {0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7,
                              0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02}},
    {0xff00001d, 0xff000020, {0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97,
                              0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99}},
    {0x54303530, 0x54303530, {0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80,
                              0x30, 0x4c, 0x43, 0xa2, 0x36, 0x7c, 0x60, 0x48, 0x83, 0x10}},
    {0x54303531, 0x54303531, {0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50,
                              0x6c, 0x19, 0x12, 0x4f, 0xc8, 0xcc, 0xda, 0x6e, 0x03, 0x3d}},
};

/* RFC 5869 with SHA-256; one block is enough for all that QUIC takes from it. */
static bool expand(const uint8_t secret[static HASH_SIZE], const char *label, uint8_t *ret,
                   size_t size)
{
    uint8_t info[64], block[HASH_SIZE];
    size_t label_size = strlen(label), n = 0;
    unsigned block_size = sizeof(block);

    info[n++] = 0;
    info[n++] = (uint8_t)size;
    info[n++] = (uint8_t)(6 + label_size);
    memcpy(info + n, "tls13 ", 6);
    n += 6;
    memcpy(info + n, label, label_size);
    n += label_size;
    info[n++] = 0;
    info[n++] = 1;
    if (!HMAC(EVP_sha256(), secret, HASH_SIZE, info, n, block, &block_size))
        return false;
    memcpy(ret, block, size);
    return true;
}

/* Facebook's versions are drafts by another name. */
static uint32_t draft_of(uint32_t version)
{
    switch (version) {
    case 0xfaceb001:
        return 0xff000016;
    case 0xfaceb002:
    case 0xfaceb00e:
        return 0xff00001b;
    default:
        return version;
    }
}

bool crypto_quic_initial_keys(uint32_t version, const uint8_t *dcid, size_t dcid_size,
                              struct crypto_quic_keys *ret_keys)
{
    uint8_t initial[HASH_SIZE], client[HASH_SIZE];
    unsigned size = HASH_SIZE;
    const uint8_t *salt = NULL;
    bool v2 = version == QUIC_V2;

    version = draft_of(version);
    for (size_t i = 0; i < sizeof(salts) / sizeof(*salts); i++)
        if (salts[i].first <= version && version <= salts[i].last)
            salt = salts[i].salt;
    return salt && HMAC(EVP_sha256(), salt, 20, dcid, dcid_size, initial, &size) &&
           expand(initial, "client in", client, HASH_SIZE) &&
           expand(client, v2 ? "quicv2 key" : "quic key", ret_keys->key, CRYPTO_KEY_SIZE) &&
           expand(client, v2 ? "quicv2 iv" : "quic iv", ret_keys->iv, CRYPTO_IV_SIZE) &&
           expand(client, v2 ? "quicv2 hp" : "quic hp", ret_keys->hp, CRYPTO_KEY_SIZE);
}

bool crypto_quic_mask(const uint8_t hp[static CRYPTO_KEY_SIZE], const uint8_t sample[static 16],
                      uint8_t ret_mask[static 16])
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int size = 0;
    bool done = context && EVP_EncryptInit_ex(context, EVP_aes_128_ecb(), NULL, hp, NULL) &&
                EVP_CIPHER_CTX_set_padding(context, 0) &&
                EVP_EncryptUpdate(context, ret_mask, &size, sample, 16) && size == 16;

    EVP_CIPHER_CTX_free(context);
    return done;
}

bool crypto_quic_open(const struct crypto_quic_keys *keys, uint64_t packet_number,
                      const uint8_t *header, size_t header_size, const uint8_t *sealed, size_t size,
                      uint8_t *ret_plain)
{
    EVP_CIPHER_CTX *context;
    uint8_t nonce[CRYPTO_IV_SIZE], tag[CRYPTO_TAG_SIZE];
    int n = 0;
    bool done;

    if (size < CRYPTO_TAG_SIZE)
        return false;
    memcpy(nonce, keys->iv, sizeof(nonce));
    for (unsigned i = 0; i < 8; i++)
        nonce[CRYPTO_IV_SIZE - 1 - i] ^= (uint8_t)(packet_number >> 8 * i);
    size -= CRYPTO_TAG_SIZE;
    memcpy(tag, sealed + size, sizeof(tag));
    context = EVP_CIPHER_CTX_new();
    done = context && EVP_DecryptInit_ex(context, EVP_aes_128_gcm(), NULL, keys->key, nonce) &&
           EVP_DecryptUpdate(context, NULL, &n, header, (int)header_size) &&
           EVP_DecryptUpdate(context, ret_plain, &n, sealed, (int)size) &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, CRYPTO_TAG_SIZE, tag) &&
           EVP_DecryptFinal_ex(context, ret_plain + n, &n) > 0;
    EVP_CIPHER_CTX_free(context);
    return done;
}
