/* decode_dump FILE: a line for each packet with what decode() made of it: protocol, source, port,
 * destination, port, payload size on the wire, tunnel, its id, marks. "-": no stream. */
#include <arpa/inet.h>
#include <stdio.h>

#include "../dataplane/decode.h"
#include "../dataplane/source.h"
#include "../kfl-jit/entry.h"

static void print(const struct packet *p)
{
    char text[2][INET6_ADDRSTRLEN];
    unsigned from = p->sender, to = !from;

    if (p->flags & PACKET_NO_IP) {
        printf("-\n");
        return;
    }
    for (int i = 0; i < 2; i++)
        inet_ntop(p->ip_version == 4 ? AF_INET : AF_INET6,
                  p->key.addr[i] + (p->ip_version == 4 ? 12 : 0), text[i], sizeof(text[i]));
    printf("%u %s %u %s %u %u %s %u %s%s%s%s\n", p->key.ip_protocol, text[from], p->key.port[from],
           text[to], p->key.port[to], p->payload_origsize,
           p->tunnel ? kfl_tunnel_name[p->tunnel] : "none", p->tunnel_id,
           p->flags & PACKET_FRAGMENT ? "F" : "-", p->flags & PACKET_NO_PORTS ? "N" : "-",
           p->flags & PACKET_MALFORMED ? "M" : "-", p->flags & PACKET_TRUNCATED ? "T" : "-");
}

int main(int argc, char **argv)
{
    struct source_config config = {.type = "file", .interface = argc > 1 ? argv[1] : "-"};
    char error_text[SOURCE_ERROR_SIZE];
    struct packet burst[PACKET_BURST];
    struct source *source;
    int n;

    if (source_open(&config, 0, &source, error_text)) {
        fprintf(stderr, "%s\n", error_text);
        return 1;
    }
    while ((n = source_base(source)->ops->rx(source, 0, burst, PACKET_BURST)) >= 0) {
        decode_burst(burst, (unsigned)n, 0x1234567890abcdef);
        for (int i = 0; i < n; i++)
            print(&burst[i]);
        source_base(source)->ops->release(source, 0, burst, (unsigned)n);
    }
    source_close(source);
    return 0;
}
