/* style.h - a little colour for people: on a terminal that takes it, and not when NO_COLOR is set.
 *
 *     printf("%sfailed%s", style_begin(STYLE_BAD, stdout), style_end(stdout));
 *
 * One thread. */
#ifndef MGMT_STYLE_H
#define MGMT_STYLE_H

#include <stdio.h>

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_COUNT };

const char *style_begin(enum style style, FILE *out); /* "" where there are no colours */
const char *style_end(FILE *out);
/* Of a word like recording, failed, refused. */
enum style style_of_state(const char *state);

#endif
