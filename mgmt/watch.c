#include "watch.h"

#include "client.h"

enum { SECOND_MS = 1000, SCREEN_SIZE = 1 << 16 };

int watch(const struct cli *cli, bool again, int (*look)(const struct cli *cli))
{
    bool replaces = again && !cli->json && client_is_terminal();
    int status;

    if (replaces)
        setvbuf(stdout, NULL, _IOFBF, SCREEN_SIZE); /* a look comes whole */
    for (;;) {
        if (replaces)
            fputs("\033[H\033[J", stdout);
        status = look(cli);
        if (fflush(stdout) && !status)
            status = CLI_FAILED; /* nobody reads any more */
        if (status || !again)
            return status;
        client_wait_ms(SECOND_MS);
    }
}
