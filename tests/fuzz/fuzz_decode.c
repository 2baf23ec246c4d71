/* Whatever the bytes of a frame are: decode() stays within them, and what it says holds together.
 * The first byte chooses the link type. */
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/decode.h"
#include "../../kfl-jit/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t linktypes[] = {LINKTYPE_ETHERNET,
                                         LINKTYPE_RAW,
                                         LINKTYPE_LINUX_SLL,
                                         LINKTYPE_LINUX_SLL2,
                                         LINKTYPE_NULL,
                                         LINKTYPE_PPP,
                                         LINKTYPE_IEEE802_11,
                                         LINKTYPE_IEEE802_11_RADIOTAP,
                                         LINKTYPE_NFLOG,
                                         LINKTYPE_PPP_ETHER,
                                         LINKTYPE_TOKEN_RING,
                                         LINKTYPE_PFLOG,
                                         LINKTYPE_PPI,
                                         LINKTYPE_IEEE802_11_AVS,
                                         LINKTYPE_ATM_RFC1483,
                                         LINKTYPE_C_HDLC,
                                         LINKTYPE_FDDI,
                                         LINKTYPE_ENC,
                                         LINKTYPE_IEEE802_11_PRISM};
    struct packet packet = {0};
    uint8_t *frame;

    if (size < 2)
        return 0;
    frame = malloc(size - 2); /* exactly: nothing behind it may be read */
    memcpy(frame, data + 2, size - 2);
    packet.data = frame;
    packet.caplen = (uint32_t)(size - 2);
    packet.origlen = packet.caplen + data[1];
    packet.linktype = linktypes[data[0] % (sizeof(linktypes) / sizeof(linktypes[0]))];
    decode(&packet, 7);
    if (!(packet.flags & PACKET_NO_IP)) {
        ensure(packet.l3 < packet.l4 && packet.l4 <= packet.payload);
        ensure(packet.payload + packet.payload_size <= packet.caplen);
        ensure(packet.payload_size <= packet.payload_origsize);
        ensure(!packet.tcp_flags || packet.payload >= packet.l4 + 20);
        ensure(packet.sender < 2 && packet.key.distinguish == 0);
    }
    free(frame);
    return 0;
}
