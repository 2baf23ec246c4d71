#include "format.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

size_t format_ip(const uint8_t addr[static 16], unsigned version, char text[static FORMAT_IP_SIZE])
{
    size_t n = 0;

    if (version == 6) {
        inet_ntop(AF_INET6, addr, text, FORMAT_IP_SIZE);
        return strlen(text);
    }
    for (unsigned i = 12; i < 16; i++) {
        n += format_port(addr[i], text + n);
        text[n++] = i < 15 ? '.' : 0;
    }
    return n - 1;
}

size_t format_mac(const uint8_t mac[static 6], char text[static FORMAT_MAC_SIZE])
{
    static const char hex[] = "0123456789abcdef";

    for (unsigned i = 0; i < 6; i++) {
        text[3 * i] = hex[mac[i] >> 4];
        text[3 * i + 1] = hex[mac[i] & 15];
        text[3 * i + 2] = i < 5 ? ':' : 0;
    }
    return FORMAT_MAC_SIZE - 1;
}

size_t format_port(uint16_t port, char text[static FORMAT_PORT_SIZE])
{
    char digits[5];
    size_t n = 0;

    do
        digits[n++] = (char)('0' + port % 10);
    while (port /= 10);
    for (size_t i = 0; i < n; i++)
        text[i] = digits[n - 1 - i];
    text[n] = 0;
    return n;
}

size_t format_time(uint64_t ns, char text[static FORMAT_TIME_SIZE])
{
    uint64_t seconds = ns / 1000000000, days = seconds / 86400;
    uint64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    unsigned day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    unsigned month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    unsigned year = (unsigned)(yoe + era * 400 + (month <= 2)), time = (unsigned)(seconds % 86400);

    return (size_t)snprintf(text, FORMAT_TIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ",
                            year % 10000, month, day % 32, time / 3600, time / 60 % 60, time % 60,
                            (unsigned)(ns % 1000000000));
}
