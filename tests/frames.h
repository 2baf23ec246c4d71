/* frames.h - frames for tests, made from words: "eth vlan:100 ip4 udp:4789 vxlan:42 eth ip4 tcp".
 *
 * Words are put together from the last to the first, so lengths and types come out right. The
 * innermost IP header has 10.0.0.1 -> 10.0.0.2 (fd00::1 -> fd00::2), the innermost TCP or UDP 1234
 * -> 80; outer ones others. Each word may have a number behind a colon. One thread; tests only. */
#ifndef TESTS_FRAMES_H
#define TESTS_FRAMES_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct frame {
    uint8_t space[4096];
    size_t at;          /* of the first byte */
    uint16_t ethertype; /* of what is at `at` */
    uint8_t ip_protocol;
    unsigned n_ip, n_l4; /* headers put so far */
    bool reverse;        /* from server to client */
};

static inline const uint8_t *frame_data(const struct frame *f)
{
    return f->space + f->at;
}

static inline size_t frame_size(const struct frame *f)
{
    return sizeof(f->space) - f->at;
}

static inline uint8_t *frame_put(struct frame *f, size_t size)
{
    f->at -= size;
    return memset(f->space + f->at, 0, size);
}

static inline void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static inline void frame_ip4(struct frame *f, unsigned n_options)
{
    size_t size = frame_size(f) + 20 + n_options;
    uint8_t *ip = frame_put(f, 20 + n_options);
    uint32_t network = f->n_ip++ ? 0xc0000200 : 0x0a000000;

    ip[0] = (uint8_t)(0x45 + n_options / 4);
    put16(ip + 2, (unsigned)size);
    ip[8] = 64;
    ip[9] = f->ip_protocol;
    put32(ip + 12, network + (f->reverse ? 2 : 1));
    put32(ip + 16, network + (f->reverse ? 1 : 2));
    f->ethertype = 0x0800;
    f->ip_protocol = 4;
}

static inline void frame_ip6(struct frame *f)
{
    size_t size = frame_size(f);
    uint8_t *ip = frame_put(f, 40);

    ip[0] = 0x60;
    put16(ip + 4, (unsigned)size);
    ip[6] = f->ip_protocol;
    ip[7] = 64;
    ip[8] = ip[24] = 0xfd;
    ip[9] = ip[25] = (uint8_t)f->n_ip++;
    ip[23] = f->reverse ? 2 : 1;
    ip[39] = f->reverse ? 1 : 2;
    f->ethertype = 0x86dd;
    f->ip_protocol = 41;
}

static inline void frame_ports(struct frame *f, uint8_t *l4, unsigned port, uint8_t protocol)
{
    unsigned client = f->n_l4 ? 50000 : 1234, server = port ? port : 80;

    put16(l4, f->reverse ? server : client);
    put16(l4 + 2, f->reverse ? client : server);
    f->n_l4++;
    f->ip_protocol = protocol;
}

/* What has a type of what is behind it in front of it. */
static inline bool frame_link(struct frame *f, const char *word, unsigned number)
{
    uint8_t *h;

    if (!strcmp(word, "eth")) {
        put16(frame_put(f, 14) + 12, f->ethertype);
        f->ethertype = 0x6558;
        f->ip_protocol = 97;
    } else if (!strcmp(word, "vlan") || !strcmp(word, "qinq")) {
        h = frame_put(f, 4);
        put16(h, number | 0x6000);
        put16(h + 2, f->ethertype);
        f->ethertype = word[0] == 'v' ? 0x8100 : 0x88a8;
    } else if (!strcmp(word, "snap")) {
        size_t size = frame_size(f) + 8;
        h = frame_put(f, 8);
        memcpy(h, "\xaa\xaa\x03", 3);
        put16(h + 6, f->ethertype);
        f->ethertype = (uint16_t)size;
    } else if (!strcmp(word, "mpls")) {
        put32(frame_put(f, 4), number << 12 | (f->ethertype == 0x8847 ? 0 : 0x100));
        f->ethertype = 0x8847;
    } else if (!strcmp(word, "control")) {
        frame_put(f, 4);
        f->ethertype = 0;
    } else if (!strcmp(word, "pppoe")) {
        size_t size = frame_size(f) + 2;
        h = frame_put(f, 8);
        h[0] = 0x11;
        put16(h + 2, number);
        put16(h + 4, (unsigned)size);
        put16(h + 6, f->ethertype == 0x0800 ? 0x21 : 0x57);
        f->ethertype = 0x8864;
    } else if (!strcmp(word, "sll")) {
        put16(frame_put(f, 16) + 14, f->ethertype);
    } else if (!strcmp(word, "sll2")) {
        put16(frame_put(f, 20), f->ethertype);
    } else if (!strcmp(word, "null")) {
        frame_put(f, 4)[0] = f->ethertype == 0x0800 ? 2 : 30;
    } else if (!strcmp(word, "loop")) {
        frame_put(f, 4)[3] = f->ethertype == 0x0800 ? 2 : 28;
    } else if (!strcmp(word, "ppp")) {
        h = frame_put(f, 4);
        put16(h, 0xff03);
        put16(h + 2, f->ethertype == 0x0800 ? 0x21 : 0x57);
    } else if (!strcmp(word, "chdlc")) {
        h = frame_put(f, 4);
        h[0] = 0x0f;
        put16(h + 2, f->ethertype);
    } else if (!strcmp(word, "wifi")) {
        h = frame_put(f, 26); /* QoS data */
        h[0] = 0x88;
    } else if (!strcmp(word, "radiotap")) {
        h = frame_put(f, 9);
        h[2] = 9;
        h[4] = 2; /* flags */
    } else if (!strcmp(word, "nflog")) {
        size_t size = frame_size(f) + 4;
        h = frame_put(f, 16);
        h[0] = 2;
        memcpy(h + 4, "\x08\x00\x0a\x00", 4);
        h[12] = (uint8_t)size;
        h[13] = (uint8_t)(size >> 8);
        h[14] = 9;
    } else {
        return false;
    }
    return true;
}

static inline bool frame_tunnel(struct frame *f, const char *word, unsigned number)
{
    uint8_t *h;

    if (!strcmp(word, "gre") || !strcmp(word, "grekey")) {
        h = frame_put(f, number ? 8 : 4);
        put16(h, number ? 0x2000 : 0);
        put16(h + 2, f->ethertype);
        if (number)
            put32(h + 4, number);
        f->ip_protocol = 47;
    } else if (!strcmp(word, "erspan1")) {
        put16(frame_put(f, 4) + 2, 0x88be);
        f->ip_protocol = 47;
    } else if (!strcmp(word, "erspan2")) {
        h = frame_put(f, 16);
        put16(h, 0x1000);
        put16(h + 2, 0x88be);
        h[8] = 0x10;
        put16(h + 10, number);
        f->ip_protocol = 47;
    } else if (!strcmp(word, "erspan3")) {
        h = frame_put(f, 28);
        put16(h, 0x1000);
        put16(h + 2, 0x22eb);
        h[8] = 0x20;
        put16(h + 10, number);
        h[19] = 1; /* with platform part */
        f->ip_protocol = 47;
    } else if (!strcmp(word, "vxlan")) {
        h = frame_put(f, 8);
        h[0] = 8;
        put32(h + 4, number << 8);
    } else if (!strcmp(word, "geneve")) {
        h = frame_put(f, 16);
        h[0] = 2;
        put16(h + 2, f->ethertype);
        put32(h + 4, number << 8);
    } else if (!strcmp(word, "gtp")) {
        size_t size = frame_size(f);
        h = frame_put(f, 16);
        h[0] = 0x34;
        h[1] = 255;
        put16(h + 2, (unsigned)size + 8);
        put32(h + 4, number);
        h[11] = 0x85;
        h[12] = 1;
    } else if (!strcmp(word, "teredo")) {
        memcpy(frame_put(f, 8), "\0\0\1\2\3\4\5\6", 8);
    } else {
        return false;
    }
    return true;
}

static inline bool frame_ip(struct frame *f, const char *word, unsigned number)
{
    size_t size = frame_size(f);
    uint8_t *h;

    if (!strcmp(word, "ip4")) {
        frame_ip4(f, number);
    } else if (!strcmp(word, "ip6")) {
        frame_ip6(f);
    } else if (!strcmp(word, "ext")) { /* an extension header of this number */
        h = frame_put(f, 16);
        h[0] = f->ip_protocol;
        h[1] = number == 51 ? 2 : 1;
        if (number == 44) { /* 8 bytes: an atomic fragment */
            f->at += 8;
            f->space[f->at] = f->ip_protocol;
            memset(f->space + f->at + 1, 0, 7);
        }
        f->ip_protocol = (uint8_t)number;
    } else if (!strcmp(word, "tcp")) {
        h = frame_put(f, 20);
        frame_ports(f, h, number, 6);
        h[12] = 0x50;
        h[13] = 0x10;
    } else if (!strcmp(word, "udp")) {
        h = frame_put(f, 8);
        frame_ports(f, h, number, 17);
        put16(h + 4, (unsigned)size + 8);
    } else if (!strcmp(word, "sctp")) {
        frame_ports(f, frame_put(f, 12), number, 132);
    } else if (!strcmp(word, "icmp")) {
        frame_put(f, 8)[0] = 8;
        f->ip_protocol = number ? 58 : 1;
    } else if (!strcmp(word, "data")) {
        memset(frame_put(f, number), 'x', number);
    } else {
        return false;
    }
    return true;
}

static inline void frame_make(struct frame *f, const char *words, bool reverse)
{
    char text[256], *word;

    memset(f, 0, sizeof(*f));
    f->at = sizeof(f->space);
    f->reverse = reverse;
    snprintf(text, sizeof(text), "%s", words);
    while ((word = strrchr(text, ' ')) || *text) {
        char *this = word ? word + 1 : text, *colon = strchr(this, ':');
        unsigned number = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;

        if (colon)
            *colon = 0;
        if (!frame_link(f, this, number) && !frame_tunnel(f, this, number) &&
            !frame_ip(f, this, number)) {
            fprintf(stderr, "frames.h: no such word: %s\n", this);
            abort();
        }
        if (!word)
            break;
        *word = 0;
    }
}

#endif
