/* tapedeck.c - the program `tapedeck`: everything a person or a script does. */
#include "command.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
