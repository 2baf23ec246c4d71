/* tap.h - CUnit with TAP output: `./check` adds up the lines of all test programs.
 *
 * A test program: a table of tests, and tap_main(). A test that cannot run here calls tap_skip()
 * with the reason and returns; every skip is listed by ./check. */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <CUnit/CUnit.h>

struct tap_test {
    const char *name; /* says what must hold */
    void (*run)(void);
};

/* argv: names of tests to run; none: all. -> exit status */
int tap_main(int argc, char **argv, const char *suite, const struct tap_test *tests);
void tap_skip(const char *reason);
/* A note shown with the result: seeds, figures. */
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* ../shared beside the checkout, or null (then skip). */
const char *tap_shared(void);

#endif
