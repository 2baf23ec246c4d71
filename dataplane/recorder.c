#include "recorder.h"

#include "pcapng_block.h"
#include "stream.h"

bool recorder_packet(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     unsigned sender, struct pcapng_packet *packet)
{
    uint32_t size = pcapng_packet_size(packet->caplen, 0);
    bool taken = false;

    if (!recorder->wants_packets)
        return true;
    packet->flags =
        stream_side(stream, sender) == KFL_CLIENT ? PCAPNG_FLAGS_INBOUND : PCAPNG_FLAGS_OUTBOUND;
    for (; slots; slots &= slots - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(slots);
        uint8_t *at = recorder->ops->reserve(recorder, slot, size, (uint16_t)packet->interface);

        if (!at)
            continue;
        pcapng_packet_block(at, packet);
        recorder->ops->commit(recorder, slot, stream, packet->ts_ns, packet->origlen,
                              (uint16_t)packet->interface);
        taken = true;
    }
    return taken;
}
